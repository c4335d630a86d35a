"""Any way to call a model, and batches of any form: what goes in is what the model's forward asks for."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import leaky
from leaky.errors import InputError

N = 30
X = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.zeros(N)


@dataclasses.dataclass
class Record:
    x: Tensor
    label: Tensor | None = None


class Graph:
    """A batch of the kind of torch_geometric's: keys and attributes, iterable over its items."""

    def __init__(self, **parts: Tensor) -> None:
        self.__dict__.update(parts)

    def keys(self) -> list[str]:
        return list(self.__dict__)

    def __getitem__(self, key: str) -> Tensor:
        return self.__dict__[key]  # type: ignore[no-any-return]

    def __iter__(self) -> Any:
        return iter(self.__dict__.items())

    def to_dict(self) -> dict[str, Tensor]:
        return dict(self.__dict__)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(6, 5), nn.ReLU()


class OneArgument(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.layer(x))  # type: ignore[no-any-return]


class WithLabels(Net):
    def forward(self, x: Tensor, label: Tensor | None = None) -> Any:
        assert label is not None
        return {"logits": self.act(self.layer(x))}


class TwoArguments(Net):
    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.act(self.layer(x) * weight[:, None])  # type: ignore[no-any-return]


class Whole(Net):
    def forward(self, batch: Any) -> Any:
        x = batch["x"] if isinstance(batch, (dict, Graph)) else batch.x
        return Record(self.act(self.layer(x)))


class Anything(Net):
    def forward(self, *inputs: Any) -> Tensor:
        value = inputs[0]["x"] if isinstance(inputs[0], dict) else inputs[0]
        return self.act(self.layer(value))  # type: ignore[no-any-return]


class Texts(Net):
    def forward(self, texts: list[str]) -> Tensor:
        rows = torch.stack([torch.full((6,), float(len(text))) for text in texts])
        return self.act(self.layer(rows))  # type: ignore[no-any-return]


class Bags(Net):
    def forward(self, texts: list[str]) -> Tensor:
        words = [torch.tensor([len(word) for word in text.split()]) for text in texts]
        starts = torch.tensor([0, *map(len, words[:-1])]).cumsum(0)
        table = torch.arange(54.0).sin().view(9, 6)
        bags = nn.functional.embedding_bag(torch.cat(words), table, starts)
        return self.act(self.layer(bags))  # type: ignore[no-any-return]


class Views(Net):
    def forward(self, views: list[Tensor]) -> Tensor:
        assert len(views) == 3
        return self.act(self.layer(torch.stack(views).mean(0)))  # type: ignore[no-any-return]


Transition = collections.namedtuple("Transition", "obs action")
EDGES = torch.randint(0, N, (2, 90), generator=torch.Generator().manual_seed(1))
WAYS: dict[str, tuple[type[Net], Any]] = {
    "a tensor": (OneArgument, [X]),
    "(input, label)": (OneArgument, [(X, LABELS)]),
    "names with one that the model does not ask for": (OneArgument, [{"x": X, "label": LABELS}]),
    "names with labels that it does ask for": (WithLabels, [{"x": X, "label": LABELS}]),
    "a mapping as one argument": (Whole, [{"x": X}]),
    "a mapping as one argument, with a label beside": (Whole, [({"x": X}, LABELS)]),
    "a mapping to a model of any arguments": (Anything, [{"x": X}]),
    "a mapping as the data": (OneArgument, {"x": X}),
    "a dataclass by its fields": (OneArgument, [Record(X, LABELS)]),
    "a dataclass as one argument": (Whole, [Record(X)]),
    "a namedtuple whose first field is the input": (OneArgument, [Transition(X, LABELS)]),
    "two inputs and a label": (TwoArguments, [(X, torch.ones(N), LABELS)]),
    "two inputs in a tuple": (TwoArguments, [((X, torch.ones(N)), LABELS)]),
    "a graph as one argument": (Whole, [Graph(x=X, edge_index=EDGES)]),
    "a graph by its keys": (OneArgument, [Graph(x=X, edge_index=EDGES)]),
    "a graph as the data": (Whole, Graph(x=X, edge_index=EDGES)),
    "a data set": (OneArgument, torch.utils.data.TensorDataset(X, LABELS)),
    "a list of tensors as one argument": (Views, [[X, X + 1, X + 2]]),
    "a list of tensors and a label": (Views, [([X, X + 1, X + 2], LABELS)]),
    "texts": (Texts, [["a" * (i % 7) for i in range(N)]]),
    "texts as bags of words": (Bags, [[" ".join("abc" * (i % 2) + "d" for _ in range(1 + i % 3)) for i in range(N)]]),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_goes_in_as_the_model_asks(way: str) -> None:
    torch.manual_seed(0)
    kind, data = WAYS[way]
    record = leaky.observe(kind(), data)
    assert [(site.name, site.units, site.samples) for site in record.sites] == [("act", 5, N)]
    assert record.samples == N
    assert record.sites[0].is_output


def test_forward_says_how_to_call_and_what_comes_back() -> None:
    class Odd(Net):
        def forward(self, how: str, *, scale: float, x: Tensor) -> Tensor:
            return self.act(self.layer(x) * scale)  # type: ignore[no-any-return]

    model, batches = Odd(), [(LABELS, X)]
    with pytest.raises((InputError, TypeError)):
        leaky.observe(model, batches)
    record = leaky.observe(model, batches, forward=lambda m, batch: m("so", scale=2.0, x=batch[1]))
    assert [(site.name, site.units, site.samples) for site in record.sites] == [("act", 5, N)]


def test_a_name_that_is_missing_is_said() -> None:
    with pytest.raises(InputError, match=r"TwoArguments\.forward takes: weight is missing among x, label"):
        leaky.observe(TwoArguments(), [{"x": X, "label": LABELS}])


class Messages(Net):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.layer(x)
        return self.act(torch.zeros_like(h).index_add(0, edge_index[1], h[edge_index[0]]))  # type: ignore[no-any-return]


class Adjacent(Net):
    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return self.act(adjacency @ self.layer(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("model", "batch"),
    [(Messages(), {"x": X, "edge_index": EDGES}), (Adjacent(), {"x": X, "adjacency": torch.eye(N)})],
    ids=["edges", "adjacency"],
)
def test_what_belongs_together_is_never_cut(model: nn.Module, batch: dict[str, Tensor]) -> None:
    assert leaky.observe(model, [batch], max_samples=10).samples == N
    assert leaky.analyse(model, [batch]).layers


def test_plain_batches_are_cut() -> None:
    record = leaky.observe(TwoArguments(), [((X, torch.ones(N)), LABELS)], max_samples=10)
    assert record.samples == 10


class Forces(nn.Module):
    """Differentiates inside its forward pass, as potentials do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_(True)
        energy = self.last(self.act(self.first(x)))
        (force,) = torch.autograd.grad(energy.sum(), x, create_graph=self.training)
        return energy, force


def test_a_model_that_differentiates_inside_its_forward_pass() -> None:
    model = Forces()
    for mode in ("eval", "train"):
        record = leaky.observe(model, X, mode=mode)
        assert [(site.units, site.samples) for site in record.sites] == [(5, N)]
    assert leaky.analyse(Forces(), X).layers
    with pytest.raises(InputError, match="create_graph"):
        leaky.observe(model, [(X,)], loss=lambda output, batch: output[0].sum())


def test_the_gradient_is_the_loss_s_and_not_the_one_that_the_model_took() -> None:
    torch.manual_seed(0)
    model = Forces()
    record = leaky.observe(model, [(X,)], mode="train", loss=lambda output, batch: 3 * output[0].sum())
    found = record.sites[0].statistics.gradient
    assert found is not None
    expected = 3 * model.last.weight.detach()[0].abs() * N
    assert torch.allclose(torch.as_tensor(found.absolute_sums.sum(0)), expected.double(), rtol=1e-6)


def test_an_exported_program_is_opened() -> None:
    program = torch.export.export(OneArgument(), (X,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    assert [site.units for site in leaky.observe(program, X).sites] == [5]


def _nested(layout: torch.layout) -> Tensor:
    return torch.nested.nested_tensor([torch.randn(length, 6) for length in (2, 5, 3, 4)], layout=layout)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_counts_its_entries_and_no_padding(layout: torch.layout) -> None:
    torch.manual_seed(0)
    model, data = OneArgument(), _nested(layout)
    z = torch.cat([model.layer(row) for row in data.unbind()])
    record = leaky.observe(model, [data])
    (site,) = record.sites
    assert (site.units, site.samples) == (5, 4)
    assert site.statistics.counts.sum(0).tolist() == [len(z)] * 5
    assert site.statistics.sums.sum(0) == pytest.approx(z.double().sum(0).tolist(), rel=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantised_models_and_weights_of_inference_mode_are_examined() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2)).eval()
    dynamic = torch.ao.quantization.quantize_dynamic(plain, {nn.Linear})
    stubs = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
    static = nn.Sequential(stubs[0], plain, stubs[1]).eval()
    static.qconfig = torch.ao.quantization.get_default_qconfig("fbgemm")  # type: ignore[assignment]
    torch.ao.quantization.prepare(static, inplace=True)
    static(X)
    torch.ao.quantization.convert(static, inplace=True)
    for model in (dynamic, static):
        record = leaky.observe(model, X)
        assert [(site.units, site.samples) for site in record.sites] == [(5, N)]
        assert record.not_examined == ()
    with torch.inference_mode():
        frozen = OneArgument()
    assert leaky.observe(frozen, X).sites[0].samples == N


MASKS: dict[str, Callable[[Tensor], dict[str, Tensor]]] = {
    "attention_mask": lambda real: {"attention_mask": real.long()},
    "src_key_padding_mask": lambda real: {"src_key_padding_mask": ~real},
    "additive": lambda real: {"key_padding_mask": torch.zeros(real.shape).masked_fill(~real, -torch.inf)},
}


class Pooled(nn.Module):
    def __init__(self, folded: bool) -> None:
        super().__init__()
        self.embed, self.layer, self.folded = nn.Embedding(50, 8), nn.Linear(8, 6), folded

    def forward(self, ids: Tensor, **masks: Tensor) -> Tensor:
        x = self.embed(ids)
        h = torch.relu(self.layer(x.reshape(-1, 8) if self.folded else x))
        return h.reshape(len(ids), -1, 6).mean(1)


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("name", MASKS)
def test_padding_enters_no_figure(name: str, folded: bool) -> None:
    torch.manual_seed(0)
    model = Pooled(folded)
    real = torch.arange(7) < torch.randint(0, 8, (N, 1))
    ids = torch.randint(1, 50, (N, 7)) * real
    z = model.layer(model.embed(ids))
    fired = ((z > 0) & real[..., None]).any(1).sum(0)
    batch = {"ids": ids, **MASKS[name](real)}
    (site,) = leaky.observe(model, [batch]).sites
    assert site.samples == int(real.any(1).sum())
    assert site.statistics.fired.tolist() == fired.tolist()
    assert site.statistics.counts.sum(0).tolist() == [int(real.sum())] * 6
    (unmasked,) = leaky.observe(model, [batch], mask=False).sites
    assert unmasked.samples == N
    (given,) = leaky.observe(model, [{"ids": ids}], mask=lambda batch: batch["ids"] > 0).sites
    assert given.statistics.fired.tolist() == fired.tolist()


def test_a_mask_that_cannot_be() -> None:
    with pytest.raises(InputError, match="'nothing' is none of ids"):
        leaky.observe(Pooled(False), [{"ids": torch.ones(3, 4, dtype=torch.long)}], mask="nothing")
    with pytest.raises(InputError, match=r"\(samples, positions\), 3 samples here, not \(4,\)"):
        leaky.observe(Pooled(False), [{"ids": torch.ones(3, 4, dtype=torch.long)}], mask=lambda batch: torch.ones(4))

"""A check's later batches without the tracer: the record is the one that tracing every batch gives, whatever comes.

The oracle is the same observation inside a function mode of the user's, where every batch is traced.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from tests.observation import architectures, networks
from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode

import leaky
from leaky.structure.trace import Tracer


def assert_equal(one: Any, other: Any, where: str = "record") -> None:
    """Whole numbers and words equal, others to 1e-8."""
    if dataclasses.is_dataclass(one):
        assert type(one) is type(other), where
        for field in dataclasses.fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, (tuple, list)):
        assert len(one) == len(other), where
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_equal(left, right, f"{where}[{place}]")
    elif isinstance(one, np.ndarray) and one.dtype.kind == "f":
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-12, err_msg=where)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-8, nan_ok=True), where
    else:
        assert one == other, where


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """An entry for every pass that the tracer follows."""
    passes: list[int] = []
    follow = Tracer.following

    @contextmanager
    def counted(self: Tracer, *args: Any, **options: Any) -> Iterator[Tracer]:
        passes.append(len(passes))
        with follow(self, *args, **options) as tracer:
            yield tracer

    monkeypatch.setattr(Tracer, "following", counted)
    return passes


Batches = Callable[[], Iterable[Any]]


def both(make: Callable[[], nn.Module], batches: Batches, traced: list[int], **options: Any) -> tuple[int, int]:
    """Compare the two records of fresh models; how many passes were traced in the first, and in the second."""
    counts = []
    records = []
    for mode in (nullcontext(), BaseTorchFunctionMode()):
        torch.manual_seed(0)
        model = make()
        traced.clear()
        with mode:
            records.append(leaky.observe(model, batches(), seed=3, **options))
        counts.append(len(traced))
    assert_equal(*(dataclasses.replace(record, notes=tuple(sorted(record.notes))) for record in records))
    return counts[0], counts[1]


def batches_of(*shapes: tuple[int, ...], count: int = 5, last: int | None = 4) -> Batches:
    """As many batches of inputs of these shapes, the last one of fewer samples."""

    def made() -> list[Any]:
        generator = torch.Generator().manual_seed(1)
        found: list[Any] = []
        for i in range(count):
            size = last if last is not None and i == count - 1 else 9
            parts = tuple(torch.randn(size, *shape, generator=generator) for shape in shapes)
            found.append(parts if len(parts) > 1 else parts[0])
        return found

    return made


RIDDEN: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "a residual network": (networks.ResNet, ((3, 8, 8),)),
    "one without norms": (lambda: networks.ResNet(norm=False), ((3, 8, 8),)),
    "every spelling": (networks.Functional, ((6,),)),
    "one module behind many layers": (networks.Shared, ((6,),)),
    "two towers": (networks.Siamese, ((6,), (6,))),
    "a cell over time": (networks.Cell, ((5, 6),)),
    "attention": (lambda: networks.FeedForward(True), ((4, 8),)),
    "smooth ones": (networks.Swishes, ((6,),)),
    "concatenated": (networks.Concatenated, ((3, 12),)),
    "squeeze and excite": (architectures.SqueezeExcite, ((3, 8, 8),)),
    "U-Net": (architectures.UNet, ((3, 8, 8),)),
    "ConvNeXt": (architectures.ConvNeXt, ((8, 8, 8),)),
    "MLP-Mixer": (architectures.Mixer, ((5, 8),)),
    "queries": (architectures.Queries, ((4, 8),)),
    "a gate": (architectures.Gated, ((6,),)),
    "points": (architectures.PointNet, ((7, 3),)),
    "einsum": (architectures.Einsum, ((6,),)),
    "autocast": (architectures.Autocast, ((3, 8, 8),)),
    "pixel shuffle": (architectures.PixelShuffle, ((3, 8, 8),)),
    "weight norm": (architectures.WeightNorm, ((3, 9),)),
    "concatenated rectifiers": (architectures.ConcatenatedReLU, ((6,),)),
}


CHOOSING = ("attention", "squeeze and excite", "queries")
"""Those with gates or attention, which are counted on further batches."""


@pytest.mark.parametrize("name", RIDDEN)
def test_the_record_is_that_of_tracing_and_one_pass_a_form_is_traced(name: str, traced: list[int]) -> None:
    make, shapes = RIDDEN[name]
    ridden, whole = both(make, batches_of(*shapes, count=7), traced)
    counted = 1 if name in CHOOSING else 0  # the fourth
    assert ridden == whole - 5 + counted  # the first and the shorter last one alone


TRACED: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "scripted": (networks.Scripted, ((6,),)),
    "experts": (architectures.Experts, ((6,),)),
    "folded": (networks.Folded, ((4, 6),)),
    "windows": (architectures.Windows, ((3, 8, 8),)),
    "stacked networks": (architectures.Ensemble, ((6,),)),
    "recurrent": (lambda: architectures.Recurrent(nn.RNN), ((4, 6),)),
}


@pytest.mark.parametrize("name", TRACED)
def test_what_only_a_tracer_sees_comes_out_the_same(name: str, traced: list[int]) -> None:
    make, shapes = TRACED[name]
    both(make, batches_of(*shapes), traced)


@pytest.mark.parametrize(
    "layer", [nn.ReLU(), nn.GELU(), nn.SiLU(inplace=True), nn.Hardswish(), nn.PReLU(8), nn.RReLU()]
)
def test_each_activation(layer: nn.Module, traced: list[int]) -> None:
    ridden, whole = both(lambda: nn.Sequential(nn.Linear(6, 8), layer, nn.Linear(8, 2)), batches_of((6,)), traced)
    assert (ridden, whole) == (2, 5)


def test_numbers_that_are_not_finite_and_units_that_fall_silent_later(traced: list[int]) -> None:
    def batches() -> list[Tensor]:
        found: list[Tensor] = list(batches_of((6,), last=None)())
        found[2][3] = float("nan")
        found[3][1, 2] = float("inf")
        return [*found[:4], found[4] * 0 - 9, found[4].double().float()]

    ridden, whole = both(lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU()), batches, traced)
    assert (ridden, whole) == (1, 6)


class Straying(nn.Module):
    """Takes another way where a list outside of it says so."""

    def __init__(self, how: str, say: list[bool]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.slope, self.how, self.say = 0.1, how, say

    def forward(self, x: Tensor) -> Tensor:
        h = F.leaky_relu(F.dropout(self.a(x), 0.3, True), self.slope)
        if not self.say[0]:
            return F.relu(self.b(h))
        ways: dict[str, Callable[[], Tensor]] = {
            "another parameter": lambda: F.relu(self.c(h)),
            "another function": lambda: F.elu(self.b(h)),
            "a call more": lambda: F.relu(F.relu(self.b(h)) - 0.1),
            "a call fewer": lambda: self.b(h),
            "another constant": lambda: F.relu(self.b(F.dropout(h, 0.5, True))),
            "another shape": lambda: F.relu(self.b(h[:5])),
            "random numbers of Python's": lambda: F.relu(self.b(h) * random.random()),
            "random numbers of NumPy's": lambda: F.relu(self.b(h) * float(np.random.rand())),
        }
        return ways[self.how]()


WAYS = (
    "another parameter",
    "another function",
    "a call more",
    "a call fewer",
    "another constant",
    "another shape",
    "random numbers of Python's",
    "random numbers of NumPy's",
)


@pytest.mark.parametrize("how", WAYS)
def test_a_pass_that_strays_is_forgotten_and_traced_with_the_same_random_numbers(how: str, traced: list[int]) -> None:
    say = [False]

    def batches() -> Iterator[Tensor]:
        for i, batch in enumerate(batches_of((6,), count=8, last=None)()):
            say[0] = i in (3, 4)
            yield batch

    ridden, whole = both(lambda: Straying(how, say), batches, traced)
    assert whole == 8
    assert 3 <= ridden < whole, "the first, the two that stray, and what follows them"


def test_a_model_that_never_goes_the_same_way_is_soon_traced_alone(traced: list[int]) -> None:
    say = [False]

    def batches() -> Iterator[Tensor]:
        for i, batch in enumerate(batches_of((6,), count=12, last=None)()):
            say[0] = i % 2 == 1
            yield batch

    assert both(lambda: Straying("another parameter", say), batches, traced)[0] == 12


class Telling(nn.Module):
    """Decides by a number of its data, which it gets in some way."""

    def __init__(self, number: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.a(x))
        return F.relu((self.b if self.number(x) else self.c)(h))


NUMBERS: dict[str, Callable[[Tensor], Any]] = {
    "bool": lambda x: bool(x.sum() > 0),
    "item": lambda x: x.sum().item() > 0,
    "tolist": lambda x: x.tolist()[0][0] > 0,
    "numpy": lambda x: x.detach().numpy().sum() > 0,
    "array": lambda x: np.asarray(x).sum() > 0,
    "equal": lambda x: torch.equal(x > 0, x.abs() > 0.1),
    "a shape": lambda x: len((x[:, 0] > 0).nonzero()) > 4,
    "a loop": lambda x: sum(float(row.sum()) for row in x) > 0,
}


@pytest.mark.parametrize("how", NUMBERS)
def test_a_model_that_decides_by_its_data_is_traced(how: str, traced: list[int]) -> None:
    ridden, whole = both(lambda: Telling(NUMBERS[how]), batches_of((6,), count=8, last=None), traced)
    assert whole == 8
    assert ridden == 8 or how == "a shape"


class Held:
    number = 0.0


class Moving(nn.Module):
    """Changes itself in some way whenever it runs."""

    def __init__(self, change: Callable[[Moving], None]) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
        self.register_buffer("count", torch.zeros(()))
        self.calls, self.seen, self.own = 0, [], torch.zeros(())
        self.python, self.numpy = random.Random(0), np.random.default_rng(0)
        self.torch, self.held = torch.Generator().manual_seed(0), Held()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        self.change(self)
        return self.b(F.relu(self.a(x) - self.count - self.calls - len(self.seen) - self.own - self.held.number))


CHANGES: dict[str, Callable[[Moving], None]] = {
    "a buffer": lambda m: m.count.add_(0.1),
    "a buffer past autograd": lambda m: m.count.data.add_(0.1),
    "another buffer": lambda m: setattr(m, "count", m.count + 0.1),
    "a weight": lambda m: m.a.weight.data.mul_(0.9),
    "an attribute": lambda m: setattr(m, "calls", m.calls + 1),
    "a tensor of its own": lambda m: m.own.add_(0.1),
    "a list": lambda m: m.seen.append(0),
    "an object's attribute": lambda m: setattr(m.held, "number", m.held.number + 0.1),
    "a generator of Python's": lambda m: setattr(m.held, "number", m.python.random()),
    "a generator of NumPy's": lambda m: m.own.fill_(float(m.numpy.random())),
    "a generator of torch's": lambda m: m.own.copy_(torch.rand((), generator=m.torch)),
    "random numbers": lambda m: setattr(m.a, "bias", m.a.bias) if random.random() < 0.5 else None,
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_model_that_changes_itself_is_traced(how: str, traced: list[int]) -> None:
    # `calls` and `seen` are the model's own and are not put back, so that each pass must run just once
    assert both(lambda: Moving(CHANGES[how]), batches_of((6,), last=None), traced) == (5, 5)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_either_mode_gives_the_record_of_tracing(mode: str, traced: list[int]) -> None:
    layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.4), nn.Flatten(), nn.Linear(288, 3)]
    both(lambda: nn.Sequential(*layers), batches_of((3, 8, 8)), traced, mode=mode)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(20, 8)
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        h = self.b(F.relu(self.a(self.e(input_ids))))
        return h if attention_mask is None else h * attention_mask[:, :, None]


def test_padding_in_a_later_batch_is_seen(traced: list[int]) -> None:
    def batches() -> list[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(2)
        found = [{"input_ids": torch.randint(2, 20, (9, 5), generator=generator)} for _ in range(6)]
        mask = torch.ones(9, 5, dtype=torch.long)
        mask[:, 3:] = 0
        found[3]["attention_mask"] = mask
        found[4]["attention_mask"] = torch.ones(9, 5, dtype=torch.long)
        return found

    assert both(Tokens, batches, traced)[0] < 6


class Hiding(nn.Module):
    """Takes a second input for a mask, whatever its values are."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.relu(self.b(F.relu(self.a(x)) * weight[:, :, None]))


def test_an_input_that_turns_out_to_be_a_mask_is_seen(traced: list[int]) -> None:
    def batches() -> list[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(2)
        found = [(torch.randn(9, 5, 6, generator=generator), torch.rand(9, 5, generator=generator)) for _ in range(6)]
        return [(x, (w > 0.4).float() if i in (2, 4) else w) for i, (x, w) in enumerate(found)]

    ridden, whole = both(Hiding, batches, traced)
    assert ridden < whole


def test_every_operator_and_argument_comes_out_of_a_ridden_pass_bit_for_bit() -> None:
    model = networks.ResNet().eval()
    batches = list(batches_of((3, 8, 8), last=None)())
    with torch.no_grad():
        wanted = [model(batch) for batch in batches]
    heard: list[Tensor] = []
    handle = model.register_forward_hook(lambda module, args, output: heard.append(output.clone()))
    leaky.observe(model, batches)
    handle.remove()
    assert len(heard) == len(wanted)
    assert all(torch.equal(one, other) for one, other in zip(heard, wanted, strict=True))


def test_what_the_model_raises_on_a_later_batch_passes_through() -> None:
    class Choosy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 8)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.a(x))
            if calls.pop() == 1:
                raise ValueError("no more")
            return h

    calls = [1, 0, 0]
    model = Choosy()
    with pytest.raises(ValueError, match="no more"):
        leaky.observe(model, list(batches_of((6,))()))
    assert torch._C._len_torch_function_stack() == 0
    assert not model._forward_hooks


def test_an_output_that_is_the_input_written_over_is_taken_as_the_model_gave_it(traced: list[int]) -> None:
    class Over(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.a(x))
            x.mul_(2)
            x.add_(h)
            return x

    assert both(Over, batches_of((6,), last=None), traced) == (1, 5)

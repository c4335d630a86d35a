"""Masks in every form of data: what the model computed must be what it computes with the mask where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import leaky

N, T, D = 24, 7, 8
G = torch.Generator().manual_seed(3)
X = torch.randn(N, T, D, generator=G)
Y = torch.randint(0, 3, (N,), generator=G)
GONE = torch.arange(T) >= torch.randint(2, T + 1, (N, 1), generator=G)
LATER = torch.ones(T, T, dtype=torch.bool).triu(1)


class Attending(nn.Module):
    """Self-attention of torch's, then a layer of six rectifiers and a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.wide, self.out = nn.MultiheadAttention(D, 2, batch_first=True), nn.Linear(D, 6), nn.Linear(6, 3)

    def ran(self, x: Tensor, **masks: Any) -> Tensor:
        h = self.mix(x, x, x, need_weights=False, **masks)[0]
        return self.out(torch.relu(self.wide(h)).mean(1))  # type: ignore[no-any-return]


class Needs(Attending):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.ran(x, key_padding_mask=mask)


class May(Attending):
    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        return self.ran(x, key_padding_mask=key_padding_mask)


class Causal(Attending):
    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        return self.ran(x, attn_mask=attn_mask)


class Both(Attending):
    def forward(self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None) -> Tensor:
        return self.ran(src, attn_mask=mask, key_padding_mask=src_key_padding_mask)


VALUES: dict[str, Callable[[Tensor], Tensor]] = {
    "truth": lambda gone: gone,
    "infinite": lambda gone: torch.zeros(gone.shape).masked_fill(gone, -torch.inf),
    "hundred": lambda gone: torch.zeros(gone.shape).masked_fill(gone, -100.0),
}
FORMS: dict[str, Callable[[Tensor, str], Any]] = {
    "tuple": lambda m, name: (X, m),
    "tuple and targets": lambda m, name: (X, m, Y),
    "batch": lambda m, name: [(X, m)],
    "batch and targets": lambda m, name: [(X, m, Y)],
    "inputs apart": lambda m, name: ((X, m), Y),
    "inputs apart in a batch": lambda m, name: [((X, m), Y)],
    "names": lambda m, name: {"x": X, name: m},
    "names apart": lambda m, name: ({"x": X, name: m}, Y),
    "arrays": lambda m, name: (X.numpy(), m.numpy()),
    "loader": lambda m, name: DataLoader(TensorDataset(X, m, Y), N),
}


def computed(record: leaky.Record) -> float:
    return record.outputs[0].squares


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [Needs, May])
def test_a_padding_mask_reaches_the_attention(kind: type[Attending], form: str, values: str) -> None:
    torch.manual_seed(0)
    model, mask = kind().eval(), VALUES[values](GONE)
    record = leaky.observe(model, FORMS[form](mask, "mask" if kind is Needs else "key_padding_mask"))
    with torch.no_grad():
        expected, without = (float(model.ran(X, key_padding_mask=m).square().sum()) for m in (mask, None))
    assert computed(record) == pytest.approx(expected, rel=1e-5)
    assert abs(expected - without) > 1e-3 * expected
    assert record.sites[0].samples == N
    real = torch.relu(model.wide(model.mix(X, X, X, key_padding_mask=mask)[0]))[~GONE]
    assert record.sites[0].statistics.counts.sum(0).tolist() == [len(real)] * 6


@pytest.mark.parametrize("data", [(X, Y, GONE), [(X, Y, GONE)]])
def test_a_mask_behind_the_targets_is_an_input_and_they_are_none(data: Any) -> None:
    torch.manual_seed(0)
    model = May().eval()
    record = leaky.observe(model, data, loss=nn.CrossEntropyLoss())
    assert computed(record) == pytest.approx(float(model(X, GONE).square().sum().detach()), rel=1e-5)
    assert record.terms[0].target.entries == N


@pytest.mark.parametrize("shape", [(T, T), (2 * N, T, T)])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("form", ["tuple", "batch", "tuple and targets", "inputs apart"])
def test_a_mask_over_pairs_of_positions(form: str, values: str, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model, mask = Causal().eval(), VALUES[values](LATER.expand(shape))
    record = leaky.observe(model, FORMS[form](mask, ""))
    assert computed(record) == pytest.approx(float(model(X, mask).square().sum().detach()), rel=1e-5)
    assert record.inputs[0].samples == N


@pytest.mark.parametrize(("mask", "name"), [(GONE, "src_key_padding_mask"), (LATER, "mask")])
def test_of_two_masks_each_is_known_by_how_it_lies(mask: Tensor, name: str) -> None:
    torch.manual_seed(0)
    model = Both().eval()
    expected = float(model(X, **{name: mask}).square().sum().detach())
    assert computed(leaky.observe(model, [(X, mask)])) == pytest.approx(expected, rel=1e-5)


def test_targets_of_every_position_are_no_mask() -> None:
    torch.manual_seed(0)
    model = May().eval()
    labels = torch.randint(0, 2, (N, T), generator=G)
    assert leaky.observe(model, [(X, labels)]).inputs[0].name == "input"
    assert len(leaky.observe(model, [(X, labels.float())]).inputs) == 1


def test_a_mask_is_asked_for_by_the_name_of_its_argument() -> None:
    torch.manual_seed(0)
    model = May().eval()
    (site,) = leaky.observe(model, (X, GONE), mask="key_padding_mask").sites
    assert site.statistics.counts.sum(0).tolist() == [int((~GONE).sum())] * 6


def test_a_mask_that_lies_across_goes_with_sequences_that_come_first() -> None:
    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix, self.out = nn.MultiheadAttention(D, 2), nn.Linear(D, 3)

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            return self.out(torch.relu(self.mix(x, x, x, key_padding_mask=mask)[0]).mean(0))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model, steps = First().eval(), X.transpose(0, 1)
    record = leaky.observe(model, (steps, GONE))
    assert record.samples == N
    assert computed(record) == pytest.approx(float(model(steps, GONE).square().sum().detach()), rel=1e-5)

"""The user's own way to call the model serves repair, pruning, initialisation and calibration as it does `check`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import leaky
from leaky.errors import InputError

X = torch.randn(700, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(700) % 3
BATCHES = [(LABELS[i : i + 100], X[i : i + 100]) for i in range(0, 700, 100)]


class Odd(nn.Module):
    """Wants a word and a keyword; the input is second in a batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.last = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)
        with torch.no_grad():
            self.first.bias[:2] = -50.0

    def forward(self, how: str, *, scale: float, x: Tensor) -> Tensor:
        return self.last(self.act(self.first(x) * scale))  # type: ignore[no-any-return]


def call(model: nn.Module, batch: Any) -> Any:
    return model("so", scale=1.0, x=batch[1])


def plain(model: Odd) -> nn.Sequential:
    """The same network, called as any other."""
    return nn.Sequential(model.first, model.act, model.last)


def test_a_plan_is_the_plain_network_s_and_applies() -> None:
    model = Odd()
    plan = leaky.repair(model, BATCHES, forward=call)
    same = leaky.repair(plain(Odd()), [x for _, x in BATCHES])
    assert [t.name for t in plan.treatments] == [t.name for t in same.treatments]
    assert [a.units for a in plan.actions] == [a.units for a in same.actions]
    plan.apply()
    with pytest.raises((InputError, TypeError)):
        leaky.repair(Odd(), BATCHES)


def test_with_a_checkup_as_well() -> None:
    model = Odd()
    checkup = leaky.check(model, BATCHES, forward=call)
    assert checkup.verdicts["act"].dead == (0, 1)
    assert leaky.repair(model, checkup, BATCHES, forward=call).treatments


def test_pruning_gives_the_same_outputs() -> None:
    model = Odd()
    smaller = leaky.prune(model, BATCHES, forward=call)
    assert smaller.removed == {"act": (0, 1)}
    assert torch.allclose(call(smaller.model, BATCHES[0]), call(model, BATCHES[0]), atol=1e-5)


def test_initialisation_and_calibration_are_the_plain_network_s() -> None:
    model, same = Odd(), Odd()
    leaky.initialize(model, BATCHES, seed=1, forward=call)
    leaky.initialize(plain(same), X, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    leaky.calibrate(model, BATCHES, forward=call)
    leaky.calibrate(plain(same), X[:100])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    layers = leaky.analyse(model, BATCHES, forward=call).layers.values()
    assert [layer.production.weight for layer in layers] == ["first.weight", "last.weight"]


def test_a_forward_that_cannot_be() -> None:
    with pytest.raises(InputError, match="forward must be a function of the model and a batch, not str"):
        leaky.initialize(Odd(), BATCHES, forward="so")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="forward must come with a batch"):
        leaky.initialize(Odd(), forward=call)

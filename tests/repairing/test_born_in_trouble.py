"""Networks that have not learned yet: what every one of their build begins with is no damage to be undone unseen."""

from __future__ import annotations

import copy
import warnings
from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import leaky

DIGITS = load_digits()
X = torch.tensor(DIGITS.data / 16.0, dtype=torch.float32)[:1000]
Y = torch.tensor(DIGITS.target)[:1000]


def deep(seed: int, layers: int = 30, width: int = 32) -> nn.Sequential:
    """Plain layers with He's initialisation: at such a depth a quarter of the units are silent, and outputs alike."""
    torch.manual_seed(seed)
    widths = [64, *[width] * layers]
    parts = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.ReLU())]
    for part in parts:
        if isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            nn.init.zeros_(part.bias)
    return nn.Sequential(*parts, nn.Linear(width, 10))


def accuracy(model: nn.Module) -> float:
    with torch.no_grad():
        return float((model(X[700:]).argmax(1) == Y[700:]).float().mean())


@pytest.mark.parametrize("seed", range(3))
def test_a_metric_at_chance_approves_nothing_of_a_fresh_network(seed: int) -> None:
    model = deep(seed)
    before = copy.deepcopy(model.state_dict())
    plan = leaky.repair(model, leaky.check(model, X[:700]), X[:700])
    assert plan.treatments
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        record = plan.apply(validate=accuracy)
    assert record.verdict == "left"
    assert "train=" in str(record)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_units_that_a_new_network_would_have_are_damage_and_are_brought_back() -> None:
    model = deep(0, layers=3)
    with torch.no_grad():
        for part in model:
            if isinstance(part, nn.Linear) and part.out_features == 32:
                part.bias[:24] -= 20.0
    record = leaky.repair(model, leaky.check(model, X[:700]), X[:700]).apply(validate=accuracy)
    assert record.verdict in ("kept", "not judged")
    after = leaky.check(model, X[:700])
    assert sum(len(verdicts.dead) for verdicts in after.verdicts.values()) < 24

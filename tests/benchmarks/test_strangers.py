"""The comparison of benchmarks.strangers on networks written out here, and that it can tell a difference."""

from __future__ import annotations

import pytest
import torch
from benchmarks.strangers import spelled, written_out
from benchmarks.strangers.__main__ import summary
from benchmarks.strangers.comparing import compared, difference
from benchmarks.strangers.counter import counted
from benchmarks.strangers.stranger import Stranger
from torch import nn


@pytest.mark.parametrize(
    "stranger", [*written_out.strangers(), *spelled.strangers()], ids=lambda stranger: stranger.name
)
def test_leaky_and_the_count_agree(stranger: Stranger) -> None:
    result = compared(stranger)
    assert result["equal"], result
    assert result["unchanged"]
    assert result["sites"] >= 1
    assert result["silent"] < result["units"]


def test_the_count_is_what_a_hand_would_count() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 1), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.LeakyReLU(0.1))
    with torch.no_grad():
        model[0].bias[1], model[3].bias[2] = -100.0, -100.0
    batches = [torch.randn(5, 1, 2, 2) for _ in range(2)]
    calls = counted(model, model, batches, None).calls
    assert [(call.activation, call.units) for call in calls] == [("ReLU", 3), ("LeakyReLU", 4)]
    z = model[0](torch.cat(batches))
    by_hand = [(z > 0).any(3).any(2).any(0), (model[:4](torch.cat(batches)) > 0).any(0)]
    for call, expected in zip(calls, by_hand, strict=True):
        assert call.fired is not None
        assert call.fired.tolist() == expected.tolist()
    assert not by_hand[0][1]
    assert not by_hand[1][2]


def test_a_difference_is_told_from_none() -> None:
    three, four = ("ReLU", 3, (1,)), ("ReLU", 4, ())
    assert difference([three, four], [(four, 1), (three, 1)]) == ([], [])
    assert difference([three, four], [(three, 1)]) == ([four], [])
    assert difference([three], [(("ReLU", 3, ()), 1)]) == ([three], [("ReLU", 3, ())])
    twice = [("ReLU", 3, (1, 2)), ("ReLU", 3, (0, 1))]
    assert difference(twice, [(("ReLU", 3, (1,)), 2)]) == ([], [])
    assert difference(twice, [(("ReLU", 3, (0, 1)), 2)])[1]


def test_the_summary_counts_each_kind() -> None:
    equal = {"equal": True, "listed": 0, "unchanged": True, "time_ratio": 2.0}
    results = {
        "a": equal,
        "b": equal | {"equal": False, "listed": 1},
        "c": equal | {"equal": False},
        "d": {"missing": "x"},
    }
    words = summary(results)
    assert "3 models: 1 equal, 1 with something listed, 1 wrong; 0 changed" in words
    assert words.endswith("1 missing")

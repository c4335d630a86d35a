"""A fast part of the comparison bit by bit."""

from __future__ import annotations

import pytest
import torch
from benchmarks.identity import BATCH, Circumstance, differences, same_bits

FAST = [
    Circumstance("MLP", "AdamW", "aot_eager", "autocast bfloat16"),
    Circumstance("ResNet with BatchNorm and dropout", "SGD", "aot_eager", "float32"),
    Circumstance("transformer block", "AdamW", "eager", "autocast bfloat16"),
    Circumstance("GRU", "SGD", "eager", "float32"),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("circumstance", FAST, ids=lambda each: f"{each.network}, {each.backend}")
def test_a_watched_training_is_the_same_bits(circumstance: Circumstance) -> None:
    found = differences(circumstance, 7)
    assert found["differs"] == []
    assert set(found["samples"].values()) == {7 * BATCH}
    assert not found["notes"]
    assert bool(found["graphs"]) == (circumstance.backend != "eager")


def test_bits_are_compared_and_not_values() -> None:
    zero, nan = torch.zeros(2), torch.full((2,), torch.nan)
    assert same_bits(nan, nan.clone())
    assert not same_bits(zero, -zero)
    assert not same_bits(zero, zero.double())

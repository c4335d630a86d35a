"""A fast part of the comparison bit by bit; what is compiled in a process of its own.

What else runs in a process may keep torch from compiling there, in silence: open modes, a stance, limits of its caches.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import astuple
from typing import Any

import pytest
import torch
from benchmarks.identity import BATCH, Circumstance, differences, same_bits

FAST = [
    Circumstance("MLP", "AdamW", "aot_eager", "autocast bfloat16"),
    Circumstance("ResNet with BatchNorm and dropout", "SGD", "aot_eager", "float32"),
    Circumstance("transformer block", "AdamW", "eager", "autocast bfloat16"),
    Circumstance("GRU", "SGD", "eager", "float32"),
]


ALONE = """
import json, sys, warnings
from benchmarks.identity import Circumstance, differences
warnings.simplefilter("ignore")
print(json.dumps(differences(Circumstance(*json.loads(sys.argv[1])), int(sys.argv[2]))))
"""


def told_by_a_process_of_its_own(circumstance: Circumstance, steps: int) -> Any:
    """What `differences` finds where nothing else has run."""
    command = [sys.executable, "-c", ALONE, json.dumps(astuple(circumstance)), str(steps)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("circumstance", FAST, ids=lambda each: f"{each.network}, {each.backend}")
def test_a_watched_training_is_the_same_bits(circumstance: Circumstance) -> None:
    compiled = circumstance.backend != "eager"
    found = (told_by_a_process_of_its_own if compiled else differences)(circumstance, 7)
    assert found["differs"] == []
    assert set(found["samples"].values()) == {7 * BATCH}
    assert not found["notes"]
    assert bool(found["graphs"]) == compiled


def test_bits_are_compared_and_not_values() -> None:
    zero, nan = torch.zeros(2), torch.full((2,), torch.nan)
    assert same_bits(nan, nan.clone())
    assert not same_bits(zero, -zero)
    assert not same_bits(zero, zero.double())

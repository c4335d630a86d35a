"""Every method on one set-up, seed by seed."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.repair.methods import METHODS, STEPS, TWINS
from benchmarks.repair.setups import Setup, patient

EVERYTHING = {**TWINS, **METHODS}


def run(setup: Setup, seeds: int, names: Iterable[str] = tuple(EVERYTHING)) -> dict[str, Any]:
    """Methods, and the twin, on one set-up, by seed."""
    torch.set_num_threads(1)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for seed in range(seeds):
        original, data = patient(setup, seed)
        for name, outcomes in found.items():
            subject = copy.deepcopy(original)  # model and optimizer together, so that they stay each other's
            torch.manual_seed(seed)
            outcomes.append(asdict(EVERYTHING[name](subject, data, seed)))
    return {**asdict(setup), "steps": STEPS, "outcomes": found}

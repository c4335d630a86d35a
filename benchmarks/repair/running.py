"""Every method on one set-up, seed by seed."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

import torch

from benchmarks.repair.methods import METHODS, STEPS, TWINS
from benchmarks.repair.setups import Setup, patient


def run(setup: Setup, seeds: int) -> dict[str, Any]:
    """Every method and the twin on one set-up, by seed."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in (*TWINS, *METHODS)}
    torch.set_num_threads(1)
    for seed in range(seeds):
        original, data = patient(setup, seed)
        for name, method in {**TWINS, **METHODS}.items():
            subject = copy.deepcopy(original)  # model and optimizer together, so that they stay each other's
            torch.manual_seed(seed)
            found[name].append(asdict(method(subject, data, seed)))
    return {**asdict(setup), "steps": STEPS, "outcomes": found}

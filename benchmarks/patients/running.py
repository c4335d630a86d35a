"""Every method on one kind, and the verdict on what came of it."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.patients.guests import GUESTS
from benchmarks.patients.kinds import KINDS
from benchmarks.patients.latecomers import LATECOMERS
from benchmarks.patients.methods import METHODS, OURS
from benchmarks.patients.newcomers import NEWCOMERS
from benchmarks.patients.strangers import STRANGERS
from benchmarks.patients.visitors import VISITORS

COLUMNS = ("twin", *METHODS, *(f"twin, {name}" for name in OURS))
"""What is run of a kind: the twin as it is, every method on the patient, and leaky's on the twin."""


def run(name: str, seeds: int, columns: Sequence[str] = COLUMNS) -> dict[str, Any]:
    """Some columns of one kind, by seed."""
    torch.set_num_threads(1)
    every = (*KINDS, *STRANGERS, *NEWCOMERS, *LATECOMERS, *GUESTS, *VISITORS)
    kind = next(kind for kind in every if kind.name == name)
    found: dict[str, list[Any]] = {column: [] for column in columns}
    for seed in range(seeds):
        sick, healthy = kind.pair(seed)
        for column, outcomes in found.items():
            subject = copy.deepcopy(healthy if column.startswith("twin") else sick)
            torch.manual_seed(seed)
            outcomes.append(asdict(METHODS.get(column.removeprefix("twin, "), METHODS["untouched"])(subject, seed)))
    return {"kind": name, "held_out": kind.held_out, "outcomes": found}


def no_worse(outcomes: dict[str, Any], method: str, than: str = "twin") -> bool:
    """Whether a method ended no worse than another."""
    difference = np.array([o["points"] for o in outcomes[than]]) - np.array([o["points"] for o in outcomes[method]])
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return bool(difference.mean() <= max(1.0, 2 * error))


def _not_as_good(results: list[dict[str, Any]], method: str, than: str) -> list[str]:
    """The kinds on which a method ended worse than another, of those on which both were run."""
    both = [r for r in results if {method, than} <= {*r["outcomes"]}]
    return [r["kind"] for r in both if not no_worse(r["outcomes"], method, than)]


def table(results: list[dict[str, Any]]) -> str:
    """Mean points of each method, which are cures, and the sums."""
    names = ["twin", *METHODS]
    lines = [f"{'kind':36}" + "".join(f"{name:>16}" for name in names)]
    for result in results:
        outcomes = result["outcomes"]
        cells = []
        for name in names:
            if name not in outcomes:
                cells.append("– ")
                continue
            mean = np.mean([o["points"] for o in outcomes[name]])
            cells.append(f"{mean:.1f}{' ' if name == 'twin' else '*' if no_worse(outcomes, name) else '.'}")
        mark = "held out: " if result["held_out"] else ""
        lines.append(f"{(mark + result['kind'])[:36]:36}" + "".join(f"{cell:>16}" for cell in cells))
    counts = [[no_worse(r["outcomes"], name) for r in results if name in r["outcomes"]] for name in names]
    lines.append(f"{'cured (*)':36}" + "".join(f"{f'{sum(c)}/{len(c)}':>16}" for c in counts))
    for name in OURS:
        worse = _not_as_good(results, name, "untouched")
        harmed = _not_as_good(results, f"twin, {name}", "twin")
        lines.append(f"{name}: worse than untouched {worse or 'none'}; twins harmed {harmed or 'none'}")
    spent = [o["spent"] for r in results for o in r["outcomes"].get("leaky.repair", ())]
    if spent:
        lines.append(f"steps spent on short trainings: {np.mean(spent):.0f} on average, {max(spent)} at most")
    return "\n".join(lines)

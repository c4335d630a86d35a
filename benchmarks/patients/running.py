"""Every method on one kind, and the verdict on what came of it."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.patients.kinds import KINDS
from benchmarks.patients.methods import METHODS, OURS


def run(name: str, seeds: int, methods: tuple[str, ...] = tuple(METHODS)) -> dict[str, Any]:
    """Every method on one kind, and leaky's on the twin, by seed."""
    torch.set_num_threads(1)
    kind = next(kind for kind in KINDS if kind.name == name)
    found: dict[str, list[Any]] = {"twin": [], **{m: [] for m in methods}, **{f"twin, {m}": [] for m in OURS}}
    for seed in range(seeds):
        sick, healthy = kind.pair(seed)
        for method, outcomes in found.items():
            subject = copy.deepcopy(healthy if method.startswith("twin") else sick)
            torch.manual_seed(seed)
            outcomes.append(asdict(METHODS.get(method.removeprefix("twin, "), METHODS["untouched"])(subject, seed)))
    return {"kind": name, "held_out": kind.held_out, "outcomes": found}


def no_worse(outcomes: dict[str, Any], method: str, than: str = "twin") -> bool:
    """Whether a method ended no worse than another."""
    difference = np.array([o["points"] for o in outcomes[than]]) - np.array([o["points"] for o in outcomes[method]])
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return bool(difference.mean() <= max(1.0, 2 * error))


def table(results: list[dict[str, Any]]) -> str:
    """Mean points of each method, which are cures, and the sums."""
    names = ["twin", *METHODS]
    lines = [f"{'kind':36}" + "".join(f"{name:>16}" for name in names)]
    for result in results:
        outcomes = result["outcomes"]
        cells = []
        for name in names:
            mean = np.mean([o["points"] for o in outcomes[name]])
            cells.append(f"{mean:.1f}{' ' if name == 'twin' else '*' if no_worse(outcomes, name) else '.'}")
        mark = "held out: " if result["held_out"] else ""
        lines.append(f"{(mark + result['kind'])[:36]:36}" + "".join(f"{cell:>16}" for cell in cells))
    counts = [sum(no_worse(r["outcomes"], name) for r in results) for name in names]
    lines.append(f"{'cured (*)':36}" + "".join(f"{f'{count}/{len(results)}':>16}" for count in counts))
    for name in OURS:
        worse = [r["kind"] for r in results if not no_worse(r["outcomes"], name, "untouched")]
        harmed = [r["kind"] for r in results if not no_worse(r["outcomes"], f"twin, {name}")]
        lines.append(f"{name}: worse than untouched {worse or 'none'}; twins harmed {harmed or 'none'}")
    spent = [o["spent"] for r in results for o in r["outcomes"]["leaky.repair"]]
    lines.append(f"steps spent on trials: {np.mean(spent):.0f} on average, {max(spent)} at most")
    return "\n".join(lines)

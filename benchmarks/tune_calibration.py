"""How often the verdict of a study is wrong: synthetic objectives whose best slope is known.

`python -m benchmarks.tune_calibration` runs every cell of a fixed grid of gap, noise and tail and writes
benchmarks/results/tune_calibration.json. In each cell: the share of studies whose best set misses the best slope at
some moment (the worst moment to stop), of those that call equal slopes different, of those whose answer (better by at
least …, equal within what matters) is wrong at some moment, of those that end undecided, and what fixed and adaptive
budgets cost for it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leaky.files import write_whole
from leaky.tuning.scheduling import Budget, next_trainings
from leaky.tuning.statistics.answering import BETTER, EQUAL, UNDECIDED, answer
from leaky.tuning.statistics.judging import Judgement, judge

ARMS = 8
SEEDS = 20
GAPS = (0.0, 0.5, 1.0, 2.0)
"""Best against second best, and so on down, in standard deviations of one slope's noise; 0: all are equal."""
NOISES = ("equal", "rising")
"""The same deviation for every slope, or one that rises threefold from the first slope to the last."""
WORTH = 2.0
"""The smallest difference that matters, in standard deviations of one slope's noise: below the gap of the best to the
simplest wherever there is one."""
TAILS = ("normal", "student_2", "diverging")
"""Normal; Student's t with 2 degrees of freedom, whose variance is infinite; normal with 5% failed trainings."""


@dataclass(frozen=True)
class Cell:
    """One cell of the grid."""

    gap: float
    noise: str
    tail: str


@dataclass(frozen=True)
class Outcome:
    """Shares of studies, and the mean best set and trainings of a study.

    Attributes:
        wrong: whose best set missed the best slope, or that called equal slopes different, at some moment.
        wrong_better, wrong_equal: whose answer was wrong at some moment: better by at least more than it is, or by
            anything where it is not; equal where the best is better than the simplest by more than `WORTH`.
        undecided: that ended so.
    """

    wrong: float
    best_set_size: float
    trainings: float
    wrong_better: float
    wrong_equal: float
    undecided: float


def cells() -> Iterator[Cell]:
    """The fixed grid."""
    return (Cell(*values) for values in itertools.product(GAPS, NOISES, TAILS))


def scores_of(cell: Cell, studies: int, seeds: int) -> NDArray[np.float64]:
    """Scores of shape (studies, ARMS, seeds); the last arm is the best, a common part of each seed is in all arms."""
    place = list(GAPS).index(cell.gap), NOISES.index(cell.noise), TAILS.index(cell.tail)
    random = np.random.default_rng([2026, *place])
    shape = (studies, ARMS, seeds)
    noise = random.standard_t(2, shape) if cell.tail == "student_2" else random.standard_normal(shape)
    if cell.noise == "rising":
        noise *= np.linspace(1.0, 3.0, ARMS)[:, None]
    scores = noise + cell.gap * np.arange(ARMS)[:, None] + 2.0 * random.standard_normal((studies, 1, seeds))
    if cell.tail == "diverging":
        scores[random.random(shape) < 0.05] = -np.inf
    return np.asarray(scores)


def run(scores: NDArray[np.float64], budget: Budget, gap: float) -> tuple[float, ...]:
    """One study, as the fields of an `Outcome`; the first arm is the simplest, the last the best."""
    seen = np.full((ARMS, budget.most_seeds), np.nan)
    judgement: Judgement | None = None
    wrong = better = equal = False
    while True:
        judgement = judge(seen, budget.fixed_seeds, judgement)
        now = answer(seen, judgement, 0, WORTH, budget.fixed_seeds)
        wrong |= len(judgement.best_set) < ARMS if gap == 0 else ARMS - 1 not in judgement.best_set
        better |= now.kind == BETTER and now.at_least > gap * (ARMS - 1)
        equal |= now.kind == EQUAL and gap * (ARMS - 1) > WORTH
        step = next_trainings(seen, judgement, budget, now)
        if not step.cells:
            trained = int((~np.isnan(seen)).sum())
            return wrong, len(judgement.best_set), trained, better, equal, now.kind == UNDECIDED
        seed = step.cells[0][1]
        for arm, place in step.cells:
            if place == seed or budget.mode == "fixed":
                seen[arm, place] = scores[arm, place]


def outcome(cell: Cell, studies: int, mode: str, seeds: int = SEEDS) -> Outcome:
    """All studies of a cell."""
    budget = Budget(seeds, mode)
    drawn = seeds if mode == "fixed" else ARMS * seeds // 2
    done = [run(scores, budget, cell.gap) for scores in scores_of(cell, studies, drawn)]
    return Outcome(*(float(np.mean([study[place] for study in done])) for place in range(6)))


def main() -> None:
    """Run the grid and write its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "tune_calibration.json"))
    arguments = parser.parse_args()
    began = time.perf_counter()
    limit = 0.05 + 2 * math.sqrt(0.05 * 0.95 / arguments.studies)
    rows = []
    for cell in cells():
        found = {mode: outcome(cell, arguments.studies, mode) for mode in ("fixed", "adaptive")}
        rows.append({**asdict(cell), **{mode: asdict(result) for mode, result in found.items()}})
        rows[-1]["within_limit"] = all(
            max(result.wrong, result.wrong_better, result.wrong_equal) <= limit for result in found.values()
        )
        print(json.dumps(rows[-1]), flush=True)
    share = sum(row["adaptive"]["trainings"] for row in rows) / sum(row["fixed"]["trainings"] for row in rows)
    result = {
        "studies_a_cell": arguments.studies,
        "arms": ARMS,
        "seeds": SEEDS,
        "worth": WORTH,
        "limit": limit,
        "cells_within_limit": sum(row["within_limit"] for row in rows),
        "cells": rows,
        "adaptive_share_of_fixed_trainings": share,
        "seconds": time.perf_counter() - began,
    }
    write_whole(arguments.out, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    print(f"{result['cells_within_limit']} of {len(rows)} cells within {limit:.4f}; trainings: {share:.0%} of fixed")


if __name__ == "__main__":
    main()

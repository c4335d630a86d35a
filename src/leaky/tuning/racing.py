"""Which training to run next, and when the evidence is in.

Pairs must stay whole: seeds are run in order, for all slopes that are still in the race, before the next seed begins.
What a slope that is out would have cost goes to more seeds for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaky.errors import InputError
from leaky.tuning.critical import FIRST_LOOK, sequential_boundary
from leaky.tuning.judging import FloatArray, Judgement, compare

MODES = ("adaptive", "fixed")
STRETCH = 4
"""An adaptive study gives the closest slopes at most so many times the seeds of a fixed one."""


@dataclass(frozen=True)
class Budget:
    """How much may be trained.

    Attributes:
        seeds: a slope, in a fixed study; the adaptive one may spend as many trainings in all, distributed by need.
        mode: one of `MODES`.
    """

    seeds: int
    mode: str = "adaptive"

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"seeds must be at least 1, not {self.seeds}")
        if self.mode not in MODES:
            raise InputError(f"budget must be one of {', '.join(map(repr, MODES))}, not {self.mode!r}")

    @property
    def fixed_seeds(self) -> int | None:
        """The one look of a fixed study; None where every number of seeds is looked at."""
        return self.seeds if self.mode == "fixed" else None

    @property
    def most_seeds(self) -> int:
        """Seeds that any slope can get."""
        return self.seeds if self.mode == "fixed" else STRETCH * self.seeds


@dataclass(frozen=True)
class Plan:
    """What to run next.

    Attributes:
        cells: (arm, seed's place) in order, those of unfinished trainings only; empty when the study is over.
        ended: why it is over; "" while it is not.
        left: trainings that are left at most, for the time left.
    """

    cells: tuple[tuple[int, int], ...]
    ended: str
    left: int


def plan(scores: FloatArray, judgement: Judgement, budget: Budget) -> Plan:
    """What to run next, from what is known.

    Args:
        scores: as in `judge`, of shape (arms, budget.most_seeds).
        judgement: of these scores.
        budget: what may be spent.
    """
    arms = len(scores)
    if budget.mode == "fixed":
        missing = [(arm, seed) for seed in range(budget.seeds) for arm in range(arms) if np.isnan(scores[arm, seed])]
        return Plan(tuple(missing), "" if missing else "every slope has its seeds", len(missing))
    alive, seeds = judgement.best_set, judgement.seeds
    spare = arms * budget.seeds - int((~np.isnan(scores)).sum())
    missing = [(arm, seed) for seed in range(seeds, budget.most_seeds) for arm in alive if np.isnan(scores[arm, seed])]
    reach = _reach(scores, alive, seeds, spare, budget)
    wanted = tuple(cell for cell in missing if cell[1] < reach)
    if arms > 1 and len(alive) == 1 and seeds >= min(budget.seeds, FIRST_LOOK):
        return Plan((), "one slope is better than all others", 0)
    if not wanted:
        return Plan((), "the budget is spent", 0)
    if seeds >= FIRST_LOOK and _futile(scores, alive, seeds, reach):
        return Plan((), f"{reach} seeds would hardly tell the slopes that are left apart", 0)
    return Plan(wanted, "", len(wanted))


def _reach(scores: FloatArray, alive: tuple[int, ...], seeds: int, spare: int, budget: Budget) -> int:
    """The number of seeds up to which all slopes in the race can be paid for."""
    reach, cost = seeds, 0
    while reach < budget.most_seeds:
        cost += int(np.isnan(scores[list(alive), reach]).sum())
        if cost > spare:
            break
        reach += 1
    return reach


def _futile(scores: FloatArray, alive: tuple[int, ...], seeds: int, reach: int) -> bool:
    """Whether no pair would be told apart at the end of the budget, were it just as far apart as it looks now."""
    limit = sequential_boundary(len(scores), reach)
    pairs = compare(scores, np.array(alive), seeds)
    return not bool((np.abs(pairs.difference) * np.sqrt(reach / seeds) > limit * pairs.error).any())

"""Chooses the next trainings of a study, and decides when it can stop.

Pairs must stay whole: seeds are run in order, for all slopes that are still in the race, before the next seed begins.
What a slope that is out would have cost goes to more seeds for the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from leaky.errors import InputError
from leaky.tuning.statistics.answering import BETTER, EQUAL, MOST_SEEDS, UNDECIDED, Answer
from leaky.tuning.statistics.boundaries import FIRST_LOOK, sequential_boundary
from leaky.tuning.statistics.judging import FloatArray, Judgement, compare, finite

MODES = ("adaptive", "fixed")
PATIENCE = 180.0
"""Seconds of training for which an adaptive study that has used its seeds goes on while it is undecided."""
HOPELESS = 4
"""A study is given up when an answer would take so many times the trainings that may still be had."""

GIVEN_UP = {
    BETTER: "going on would hardly tell apart the slopes that are left",
    UNDECIDED: "an answer would take far more trainings than may be had",
}
SPENT = {
    BETTER: "a slope is better than the simplest, and the seeds are spent",
    UNDECIDED: "the seeds are spent, and the time for more",
}


@dataclass(frozen=True)
class Budget:
    """The limits of a study: seeds, mode and patience.

    Attributes:
        seeds: a slope, in a fixed study; the adaptive one may spend as many trainings in all, distributed by need.
        mode: one of `MODES`.
        patience: seconds that all trainings of an adaptive study may take together after it has spent those and while
            it is undecided.
    """

    seeds: int
    mode: str = "adaptive"
    patience: float = 0.0

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise InputError(f"seeds must be at least 1, not {self.seeds}")
        if self.mode not in MODES:
            raise InputError(f"budget must be one of {', '.join(map(repr, MODES))}, not {self.mode!r}")
        if not 0 <= self.patience < math.inf:
            raise InputError(f"patience must be a finite number of seconds of at least 0, not {self.patience}")

    @property
    def fixed_seeds(self) -> int | None:
        """The one look of a fixed study; None where every number of seeds is looked at."""
        return self.seeds if self.mode == "fixed" else None

    @property
    def most_seeds(self) -> int:
        """Seeds that any slope can get."""
        return self.seeds if self.mode == "fixed" else max(self.seeds, MOST_SEEDS)


@dataclass(frozen=True)
class NextTrainings:
    """What to run next.

    Attributes:
        cells: (arm, seed's place) in order, those of unfinished trainings only; empty when the study is over.
        ended: why it is over; "" while it is not.
        left: trainings that are left at most, for the time left; fewer where an answer is likely before.
    """

    cells: tuple[tuple[int, int], ...]
    ended: str
    left: int


def next_trainings(
    scores: FloatArray, judgement: Judgement, budget: Budget, now: Answer, seconds: float = 0.0
) -> NextTrainings:
    """The cells to train next, or the reason why the study ends.

    Args:
        scores: as in `judge`, of shape (arms, budget.most_seeds).
        judgement: of these scores.
        budget: what may be spent.
        now: the answer that these scores give.
        seconds: that all trainings so far took together.
    """
    arms = len(scores)
    if budget.mode == "fixed":
        missing = [(arm, seed) for seed in range(budget.seeds) for arm in range(arms) if np.isnan(scores[arm, seed])]
        return NextTrainings(tuple(missing), "" if missing else "every slope has its seeds", len(missing))
    alive, seeds = judgement.best_set, judgement.seeds
    racing = (now.reference, *now.open) if now.open else ()
    if arms > 1 and len(alive) == 1 and not racing and seeds >= min(budget.seeds, FIRST_LOOK):
        return NextTrainings((), "one slope is better than all others", 0)
    if now.kind == EQUAL:
        return NextTrainings((), "no slope is better than the simplest by more than matters", 0)
    spare = max(0, arms * budget.seeds - int((~np.isnan(scores)).sum()))
    extension = _extension(scores, budget, seconds)
    if _hopeless(scores, judgement, now, spare + extension):
        return NextTrainings((), GIVEN_UP[now.kind], 0)
    # The seeds that the user asked for go to every slope in the race, what follows them to those that keep it open.
    wanted = _affordable(scores, tuple({*alive, *racing}), spare)
    if not wanted and racing:
        wanted = _affordable(scores, racing, extension)
    return NextTrainings(wanted, "" if wanted else SPENT[now.kind], min(len(wanted), now.more_trainings or len(wanted)))


def _affordable(scores: FloatArray, arms: tuple[int, ...], spare: int) -> tuple[tuple[int, int], ...]:
    """The unfinished trainings of these arms, seed by seed, up to the last seed that all of them can have."""
    wanted: list[tuple[int, int]] = []
    for seed in range(scores.shape[1]):
        missing = [(arm, seed) for arm in sorted(arms) if np.isnan(scores[arm, seed])]
        if len(wanted) + len(missing) > spare:
            break
        wanted += missing
    return tuple(wanted)


def _extension(scores: FloatArray, budget: Budget, seconds: float) -> int:
    """How many trainings beyond the seeds the remaining patience allows, at their mean duration so far."""
    done = int((~np.isnan(scores)).sum())
    if budget.patience == 0 or seconds >= budget.patience or not done:
        return 0
    each = seconds / done
    return int(min((budget.patience - seconds) / each, scores.size)) if each > 0 else scores.size


def _hopeless(scores: FloatArray, judgement: Judgement, now: Answer, spare: int) -> bool:
    """Whether the remaining trainings could hardly decide the study if the differences stayed as they are now.

    Never while it is undecided and the leader is ahead of the simplest slope by more than matters.
    """
    alive, seeds = judgement.best_set, judgement.seeds
    if seeds < FIRST_LOOK:
        return False
    if now.open:
        if now.more_trainings is None or _ahead(scores, judgement, now.reference, seeds) > now.worth:
            return False
        return now.more_trainings > HOPELESS * spare
    reach = min(seeds + spare // len(alive), MOST_SEEDS)
    limit = sequential_boundary(len(scores), reach)
    pairs = compare(scores, np.array(alive), seeds)
    return not bool((np.abs(pairs.difference) * np.sqrt(reach / seeds) > limit * pairs.error).any())


def _ahead(scores: FloatArray, judgement: Judgement, reference: int, seeds: int) -> float:
    values = finite(scores[:, :seeds])
    return float(values[judgement.ranking[0]].mean() - values[reference].mean())

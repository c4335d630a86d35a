"""Scores of slopes × seeds → which slopes are detectably worse than another, and by how much.

Every comparison is paired: two arms are only ever compared on seeds that both have finished, from the first seed on.
The same scores must give the same verdict in whatever order they came in, and a slope that is out must stay out when
more seeds come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from leaky.tuning.statistics.boundaries import FIRST_LOOK, fixed_boundary, held_up, sequential_boundary, studentised

FloatArray = NDArray[np.float64]

FAILED = -np.inf
"""The score of a training that diverged, raised or ran out of memory."""
POWER_QUANTILE = 0.8416
"""Φ⁻¹(.8): an effect is called detectable if it would have been detected in 80% of studies."""


@dataclass(frozen=True)
class Elimination:
    """An arm that is detectably worse than another, and the number of seeds after which that was known."""

    arm: int
    by: int
    seeds: int


@dataclass(frozen=True)
class Difference:
    """The mean paired difference arm − reference, with an interval that holds simultaneously for all pairs and looks.

    Attributes:
        seeds: that the pair has in common; below 2 the estimate has no interval.
        low, high: infinite where there are too few seeds.
    """

    arm: int
    reference: int
    seeds: int
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Judgement:
    """The arms that remain, their ranking and the eliminations, as the scores allow.

    Attributes:
        best_set: the arms that are not detectably worse than any other; the best one is in it, in 95% of studies.
        ranking: all arms, the best first: those of the best set by mean, then the others, the last to go first.
        eliminations: in the order in which they were known.
        seeds: complete seeds of the arms in the best set.
        smallest_detectable: the true difference that this many seeds would have detected in 80% of studies, between a
            typical pair of the best set; infinite where nothing could have been, None where the set has one arm.
    """

    best_set: tuple[int, ...]
    ranking: tuple[int, ...]
    eliminations: tuple[Elimination, ...]
    seeds: int
    smallest_detectable: float | None


def judge(scores: FloatArray, fixed_seeds: int | None = None) -> Judgement:
    """Compare all arms at every number of seeds so far, or once.

    Args:
        scores: the higher the better, shape (arms, seeds); NaN where a training has not finished, −inf where it failed.
        fixed_seeds: judge once, when every arm has finished so many seeds, and not before; None judges at every
            number of seeds with the boundary that allows for it.
    """
    arms = len(scores)
    complete = complete_seeds(scores)
    eliminations: list[Elimination] = []
    alive = np.ones(arms, bool)
    most = int(complete.max(initial=0))
    looks = range(FIRST_LOOK, most + 1) if fixed_seeds is None else [n for n in (fixed_seeds,) if complete.min() >= n]
    boundary = _boundary(arms, fixed_seeds)
    for seeds in looks:
        here = np.flatnonzero(alive & (complete >= seeds))
        if len(here) < 2:
            continue
        for loser, winner in _beaten(scores, here, seeds, boundary(seeds)):
            alive[loser] = False
            eliminations.append(Elimination(loser, winner, seeds))
    best_set = np.flatnonzero(alive)
    seeds = int(complete[best_set].min())
    return Judgement(
        tuple(best_set.tolist()),
        _ranking(scores, best_set, complete, eliminations),
        tuple(eliminations),
        seeds,
        _smallest_detectable(scores, best_set, seeds, boundary(seeds)),
    )


def difference(scores: FloatArray, arm: int, reference: int, fixed_seeds: int | None = None) -> Difference:
    """The difference arm − reference with its interval; arguments as in `judge`.

    An interval of a study that judges once is of no use before that moment and infinite until then.
    """
    complete = complete_seeds(scores)
    seeds = int(min(complete[arm], complete[reference]))
    if seeds == 0:
        return Difference(arm, reference, 0, np.nan, -np.inf, np.inf)
    if arm == reference:
        return Difference(arm, reference, seeds, 0.0, 0.0, 0.0)
    estimate, error = _pair(scores, arm, reference, seeds)
    over = fixed_seeds is None or complete.min() >= fixed_seeds
    limit = _boundary(len(scores), fixed_seeds)(seeds) if over else np.inf
    reach = limit * error if np.isfinite(limit) else np.inf
    return Difference(arm, reference, seeds, estimate, estimate - reach, estimate + reach)


def pair_error(scores: FloatArray, arm: int, reference: int, seeds: int) -> float:
    """The standard error of the mean difference of two arms over their first `seeds` seeds, as intervals use it."""
    return _pair(scores, arm, reference, seeds)[1]


def _pair(scores: FloatArray, arm: int, reference: int, seeds: int) -> tuple[float, float]:
    here = np.flatnonzero(complete_seeds(scores) >= seeds)
    pairs = compare(scores, here, seeds)
    rows = np.searchsorted(here, sorted((arm, reference)))
    place = int(np.flatnonzero((pairs.left == rows[0]) & (pairs.right == rows[1]))[0])
    return float(pairs.difference[place]) * (1.0 if arm < reference else -1.0), float(pairs.error[place])


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of some arms, as rows of what they were taken from: left < right, left − right, its standard error."""

    left: NDArray[np.intp]
    right: NDArray[np.intp]
    difference: FloatArray
    error: FloatArray


def compare(scores: FloatArray, here: NDArray[np.intp], seeds: int) -> Pairs:
    """The paired differences of the arms `here` over their first `seeds` seeds; no spread is known of one seed."""
    values = finite(scores[here][:, :seeds])
    left, right = _pairs(len(here))
    mean = values.mean(axis=1)
    if seeds < 2:
        return Pairs(left, right, mean[left] - mean[right], np.full(len(left), np.inf))
    error = np.sqrt(held_up(_pair_variance(values, left, right)) / seeds)
    return Pairs(left, right, mean[left] - mean[right], error)


def finite(scores: FloatArray) -> FloatArray:
    """Replace each failed training's score by the worst finished score minus the range of the finished ones.

    Args:
        scores: shape (arms, seeds), −inf where failed.
    """
    done = np.isfinite(scores)
    if done.all():
        return scores
    low, high = (scores[done].min(), scores[done].max()) if done.any() else (0.0, 0.0)
    return np.where(done, scores, low - ((high - low) or 1.0))


def complete_seeds(scores: FloatArray) -> NDArray[np.int64]:
    """Seeds finished by each arm without a gap, from the first on, shape (arms,)."""
    return np.asarray(np.cumprod(~np.isnan(scores), axis=1).sum(axis=1))


def _boundary(arms: int, fixed_seeds: int | None) -> Callable[[int], float]:
    def at(seeds: int) -> float:
        if arms < 2:
            return np.inf
        if fixed_seeds is None:
            return sequential_boundary(arms, seeds)
        return fixed_boundary(arms, seeds) if seeds == fixed_seeds else np.inf

    return at


@lru_cache
def _pairs(arms: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    left, right = np.triu_indices(arms, 1)
    return left, right


def _pair_variance(values: FloatArray, left: NDArray[np.intp], right: NDArray[np.intp]) -> FloatArray:
    """Sample variance of the paired differences, at least that of rounding to the resolution of the scores.

    Scores that are counts over a small validation set take few values, and three equal differences do not mean that
    there is no noise: rounding to a grid of q hides q²/12 of each score's variance.
    """
    distinct = np.unique(values)
    steps = np.diff(distinct)
    scale = np.abs(distinct).max()
    steps = steps[steps > 1e-9 * scale]
    hidden = 2 * steps.min() ** 2 / 12 if len(steps) else 0.0
    return np.asarray((values[left] - values[right]).var(axis=1, ddof=1) + hidden)


def _beaten(scores: FloatArray, here: NDArray[np.intp], seeds: int, limit: float) -> list[tuple[int, int]]:
    """Each arm that is detectably worse than another, paired with the arm that gives the strongest evidence."""
    pairs = compare(scores, here, seeds)
    t = studentised(pairs.difference, pairs.error)
    against: dict[int, tuple[float, int]] = {}
    for pair in np.flatnonzero(np.abs(t) > limit):
        left, right = int(pairs.left[pair]), int(pairs.right[pair])
        winner, loser = (left, right) if t[pair] > 0 else (right, left)
        against[loser] = max(against.get(loser, (0.0, 0)), (abs(float(t[pair])), winner))
    return [(int(here[loser]), int(here[winner])) for loser, (_, winner) in sorted(against.items())]


def _ranking(
    scores: FloatArray, best_set: NDArray[np.intp], complete: NDArray[np.int64], eliminations: list[Elimination]
) -> tuple[int, ...]:
    seeds = int(complete[best_set].min())
    values = finite(scores[best_set][:, :seeds]) if seeds else np.zeros((len(best_set), 1))
    order = [int(best_set[place]) for place in np.argsort(-values.mean(axis=1), kind="stable")]
    gone = sorted(eliminations, key=lambda out: (-out.seeds, -_mean(scores[out.arm], out.seeds)))
    return (*order, *(out.arm for out in gone))


def _mean(scores: FloatArray, seeds: int) -> float:
    return float(finite(scores[None, :seeds]).mean())


def _smallest_detectable(scores: FloatArray, best_set: NDArray[np.intp], seeds: int, limit: float) -> float | None:
    if len(best_set) < 2:
        return None
    if not np.isfinite(limit):
        return float("inf")
    return float((limit + POWER_QUANTILE) * np.median(compare(scores, best_set, seeds).error))

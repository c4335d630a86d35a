"""Scores of slopes × seeds → one of three answers: a slope is better, none is by more than matters, or not decided yet.

The question is whether leaving the simplest slope pays. "Equal" needs evidence of its own, an interval that lies within
what matters; a difference that was not detected is no such evidence. Nothing may be recommended while it is undecided.

All answers rest on intervals that hold for all pairs and all looks together, so that which slopes are trained on, and
when a user stops, may depend on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from leaky.tuning.statistics.boundaries import BLOCKS, fixed_boundary, sequential_boundary
from leaky.tuning.statistics.judging import Difference, FloatArray, Judgement, complete_seeds, difference, pair_error

BETTER, EQUAL, UNDECIDED = "better", "equal", "undecided"
MOST_SEEDS = BLOCKS[-1][1]
"""Seeds of a slope beyond which no boundary is known, so that nothing can be decided."""
_MANY = 1_000_000_000
"""Trainings beyond which a projection is only called more than these."""


@dataclass(frozen=True)
class Answer:
    """Whether some arm is better than the simplest one; arms are given by their index.

    Attributes:
        kind: `BETTER`, `EQUAL` or `UNDECIDED`.
        reference: the simplest arm.
        worth: the smallest difference that matters, in the unit of the score.
        arm: with "better" the arm to take: the best-ranked that is better than the reference; else None.
        at_least: by how much it is better, the lower end of its interval; 0 otherwise.
        at_most: by how much any other arm may still be better than the reference, the largest upper end.
        open: the arms of which it is not known whether they are better than the reference by more than `worth`; with
            "better" only the arm to take.
        more_trainings: of the reference and the open arms, about so many until it is known, were the differences and
            their spread what they look like now; 0 where it is known, None before a spread is.
    """

    kind: str
    reference: int
    worth: float
    arm: int | None
    at_least: float
    at_most: float
    open: tuple[int, ...]
    more_trainings: int | None


def answer(
    scores: FloatArray, judgement: Judgement, reference: int, worth: float, fixed_seeds: int | None = None
) -> Answer:
    """Decide between the three answers from the scores so far.

    Args:
        scores: as in `judge`.
        judgement: of these scores.
        reference: the place of the simplest arm.
        worth: the smallest difference that matters, more than 0.
        fixed_seeds: as in `judge`.
    """
    others = [arm for arm in range(len(scores)) if arm != reference]
    found = {arm: difference(scores, arm, reference, fixed_seeds) for arm in others}
    out = {each.arm: each for each in judgement.eliminations}
    if reference in out:  # known at an earlier look, and known since
        by, seeds = out[reference].by, out[reference].seeds
        earlier = difference(scores[:, :seeds], by, reference, fixed_seeds)
        found[by] = max(found[by], earlier, key=lambda each: each.low)
    # An arm that another one beat cannot be the best; whether it beats the reference is of no use to anybody.
    still = tuple(arm for arm in others if not found[arm].high <= worth and arm not in out)
    if not still:
        return Answer(EQUAL, reference, worth, None, 0.0, _highest(found), (), 0)
    better = [arm for arm in judgement.ranking if arm in found and found[arm].low > 0]
    if not better:
        more = _more_trainings(scores, reference, still, found, worth, fixed_seeds)
        return Answer(UNDECIDED, reference, worth, None, 0.0, _highest(found), still, more)
    arm = next((each for each in better if each in judgement.best_set), better[0])
    at_least = found[arm].low
    while arm in out:  # what beat it is better still
        arm = out[arm].by
    if at_least >= worth or arm not in still:
        return Answer(BETTER, reference, worth, arm, at_least, _highest(found), (), 0)
    more = _more_trainings(scores, reference, (arm,), found, worth, fixed_seeds)
    return Answer(BETTER, reference, worth, arm, at_least, _highest(found), (arm,), more)


def _highest(found: dict[int, Difference]) -> float:
    return max((each.high for each in found.values()), default=0.0)


def _more_trainings(
    scores: FloatArray,
    reference: int,
    still: tuple[int, ...],
    found: dict[int, Difference],
    worth: float,
    fixed_seeds: int | None,
) -> int | None:
    """About how many trainings decide: one arm shown to be better, or all of them shown not to be by more than matters.

    Where one is better already: until it is known whether by more than matters.
    A study of fixed budget that has ended undecided is projected as one of more seeds, with one look.
    """
    arms, done = len(scores), complete_seeds(scores)
    better, equal = [math.inf], []
    for arm in still:
        gap = found[arm]
        if gap.seeds < 2 or not math.isfinite(gap.estimate):
            return None
        spread = _spread(scores, arm, reference, gap.seeds)
        # A difference of almost nothing, or of almost what matters, would take for ever.
        beyond = worth if gap.low > 0 else 0.0
        better.append(_seeds_until(arms, gap.seeds, spread, gap.estimate - beyond, fixed_seeds))
        equal.append(_seeds_until(arms, gap.seeds, spread, worth - gap.estimate, fixed_seeds))
    seeds = min(min(better), max(equal))
    if not seeds < _MANY:
        return _MANY
    return int(sum(max(0, math.ceil(seeds) - done[arm]) for arm in (reference, *still))) or 1


def _spread(scores: FloatArray, arm: int, reference: int, seeds: int) -> float:
    """The deviation of one paired difference that the intervals are made of."""
    return pair_error(scores, arm, reference, seeds) * math.sqrt(seeds)


def _seeds_until(arms: int, seeds: int, spread: float, distance: float, fixed_seeds: int | None) -> float:
    """Seeds after which an interval's half width is `distance`, were the spread of a pair as it is now."""
    if distance <= 0:
        return math.inf
    for count in range(max(seeds + 1, 3), MOST_SEEDS + 1):
        limit = sequential_boundary(arms, count) if fixed_seeds is None else fixed_boundary(arms, min(count, 40))
        if limit * spread <= distance * math.sqrt(count):
            return float(count)
    limit = sequential_boundary(arms, MOST_SEEDS) if fixed_seeds is None else fixed_boundary(arms, 40)
    return max(float(MOST_SEEDS + 1), (limit * spread / distance) ** 2)


def worth_of(scores: FloatArray, higher_is_better: bool) -> tuple[float, str]:
    """The smallest difference that matters where nobody said it, and why: a choice, to be replaced by the user's own.

    A score that is better the higher and lies between 0 and 1 everywhere is taken for a share, of which one hundredth
    matters; of any other the fiftieth part of its typical size.

    Args:
        scores: as in `judge`, of either sign.
        higher_is_better: whether the user's score is better the higher.
    """
    done = scores[np.isfinite(scores)]
    if higher_is_better and (done.size == 0 or (done.min() >= 0 and done.max() <= 1)):
        return 0.01, "one hundredth of a score between 0 and 1"
    typical = float(np.median(np.abs(done))) if done.size else 0.0
    return (0.02 * typical or 0.01), "2% of a typical score"

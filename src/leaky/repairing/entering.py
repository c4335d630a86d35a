"""Which treatments of a race are worth a training, by what can be seen without one.

A training is dear, a look is not: the metric right after the change, the scores of networks with new weights, and
whether units came back. Must always let the model as it was run, for comparison, and the network that begins anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from leaky.repairing.operations.moments import out_of_date
from leaky.repairing.outcome import TreatmentResult
from leaky.repairing.plan import FORGOTTEN, Action, Plan, Treatment
from leaky.repairing.recipe import Recipe

AS_IT_WAS = Treatment("as it was", (), True)

THROWS_AWAY = "begun anew"
"""The treatment that leaves nothing of what was learned."""

GENTLE = 2
"""Treatments that are trained besides the model as it was and the one that begins anew."""

LUCKY = 4.0
"""Ranges above the best of new networks up to which one whose weights are of no usual size may stand by chance, or one
that loses by its training what it seemed to have: these differ more among each other than new ones do."""

LIFTED = 0.5
"""The part of the best lift of the metric from which on a treatment is worth a training beside the best."""


def with_moments(plan: Plan, optimizer: torch.optim.Optimizer | None) -> Plan:
    """The plan with the optimizer's memory begun anew in front of each treatment, where it is of other gradients.

    A plan that knows of it already, or that is to leave it alone, stays as it is.
    """
    if optimizer is None or plan.moments != "not looked at":
        return plan
    plan = replace(plan, moments="looked at")
    reason = out_of_date(optimizer)
    if reason is None:
        return plan
    forget = Action("forget moments", None, (), reason, changes=(f"the optimizer's state begins anew: {reason}",))
    others = (replace(treatment, actions=(forget, *treatment.actions)) for treatment in plan.treatments)
    return replace(plan, treatments=(Treatment(FORGOTTEN, (forget,), True), *others))


@dataclass(eq=False)
class Runner:
    """One treatment on its way.

    Attributes:
        before, after: the user's metric after the change, and now.
        score: the metric with more being better; −inf for what is no number.
        first: the score right after the change.
        last: the score before the last training.
        put_back: brings the model to where this runner stands.
        sound: whether, right after the change, the outputs are finite and fewer units are in trouble than before.
        usual: whether the outputs then tell inputs apart, and the pre-activations have a usual size.
        untrained: whether it is to be kept as it stood right after the change.
        held_up: whether it keeps weights of no usual size that have shown no more than new ones: see `Race`.
    """

    treatment: Treatment
    recipe: Recipe
    before: float
    after: float
    score: float
    first: float
    last: float
    trainings: int
    put_back: Callable[[], None]
    sound: bool = True
    usual: bool = True
    untrained: bool = False
    held_up: bool = False

    @property
    def expected(self) -> float:
        """Where it would be after another half of a training, as fast as it has learned in the last one."""
        gain = max(0.0, self.score - self.last) if math.isfinite(self.last) else 0.0
        return self.score + 0.5 * gain

    @property
    def result(self) -> TreatmentResult:
        """For the record."""
        return TreatmentResult(self.treatment.name, self.before, self.after, self.trainings)


def at_most_chance(chance: Sequence[float], ranges: float = 1.0) -> float:
    """The score up to which a network may have learned nothing: the best of new ones, and so many ranges above it."""
    low, high = _ends(chance)
    return high + ranges * (high - low) if math.isfinite(high) else -math.inf


def at_least_chance(chance: Sequence[float]) -> float:
    """The score below which a network is worse than one that has learned nothing: their worst, and the range below."""
    low, high = _ends(chance)
    return low - (high - low) if math.isfinite(high) else -math.inf


def _ends(chance: Sequence[float]) -> tuple[float, float]:
    finite = [score for score in chance if math.isfinite(score)]
    return min(finite, default=-math.inf), max(finite, default=-math.inf)


def entrants(runners: Sequence[Runner], chance: Sequence[float], tolerance: float, most: int) -> list[Runner]:
    """Those that are trained, gentlest first.

    Where some change alone lifts the metric above what it was and above chance, it shows where the recovery is: those
    that lift it nearly as much run. Where none does, the gentlest that bring units back run, with pre-activations of a
    usual size if some have that, and what moves nothing of the model; what destroys a function that is there, or leaves
    less than the model as it was and any new network have, does not.

    Args:
        runners: as they stand right after their change, the model as it was in front.
        chance: the scores of networks with new weights; none where they are not known.
        tolerance: differences of the score that do not matter.
        most: trainings at most.
    """
    control, *others = runners
    new = [runner for runner in others if runner.treatment.name == THROWS_AWAY]
    gentle = [runner for runner in others if runner not in new]
    level, worst = at_most_chance(chance), at_least_chance(chance)
    base = max(control.first, level)
    lifted = [runner for runner in gentle if runner.first > base + tolerance]
    if lifted:
        best = max(runner.first for runner in lifted)
        enough = best - LIFTED * (best - base) if math.isfinite(base) else -math.inf
        chosen = sorted((r for r in lifted if r.first >= enough), key=lambda runner: -runner.first)[:GENTLE]
    else:
        least = level if control.first > level else min(worst, control.first)
        able = [runner for runner in gentle if runner.sound and runner.first >= least]
        # What revives moves nothing yet: outputs that were the same for all inputs are so until it has trained.
        able = [runner for runner in able if runner.usual] or able
        scaled = [runner for runner in gentle if runner.treatment.name == "rescaled" and runner.sound]
        forgotten = [runner for runner in gentle if runner.treatment.name == FORGOTTEN]
        # Weights of no usual size: what leaves them so is no start, and chance says nothing of what scales them back.
        chosen = scaled or [*forgotten, *(runner for runner in able if runner not in forgotten)][:GENTLE]
    order = [runner for runner in runners if runner is control or runner in chosen or runner in new]
    return order[: max(2, most)]

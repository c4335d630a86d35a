"""A plan as a transaction: measured before and after, kept or rolled back to the last bit, whatever raises.

Where a metric and a piece of training are given, experiment decides between the ways there are; where only a metric is,
a comparison with new networks of the kind tells whether there is anything to lose; without, the outputs must not move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from leaky.checkup import Checkup, check
from leaky.errors import InputError
from leaky.interruptions import undone_unless_done
from leaky.repairing.doing import Doing
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.initialization import initialize
from leaky.repairing.plan import Action, Plan, RepairRecord, Trial
from leaky.repairing.planning import CONSTANT_OUTPUT, gone, variation
from leaky.repairing.recipe import Recipe
from leaky.repairing.snapshot import Snapshot
from leaky.repairing.trials import Way, best_of

_NEW_ONES = 3
"""New networks that one which has perhaps learned nothing is compared with."""


@dataclass(frozen=True)
class Limits:
    """What `Plan.apply` was told of when to keep a change."""

    tolerance: float
    max_change: float
    higher_is_better: bool

    def __post_init__(self) -> None:
        for name in ("tolerance", "max_change"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError(f"{name} must be a number of at least 0, not {value!r}")

    @property
    def sign(self) -> float:
        """What makes more of the metric better."""
        return 1.0 if self.higher_is_better else -1.0

    def score(self, metric: float) -> float:
        """More is better; −inf for what is no number."""
        return self.sign * metric if math.isfinite(metric) else -math.inf


@dataclass(frozen=True)
class _Measured:
    """The model at one moment."""

    outputs: list[Tensor]
    metric: float | None


class Transaction:
    def __init__(
        self,
        plan: Plan,
        validate: Callable[[nn.Module], float] | None,
        train: Callable[[nn.Module], object] | None,
        limits: Limits,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        self._plan = plan
        self._validate = validate
        self._train = train
        self._limits = limits
        self._optimizer = optimizer

    def run(self) -> RepairRecord:
        """Do, measure, keep or roll back."""
        plan = self._plan
        if not plan.actions and (plan.suspicion is None or self._validate is None):
            return self._untouched(self._nothing())
        snapshot = Snapshot(plan.model, self._optimizer)
        modes = {name: module.training for name, module in plan.model.named_modules()}

        def act() -> RepairRecord:
            record = self._tried(snapshot) if self._train is not None else self._done(snapshot)
            if not record.kept:
                snapshot.restore()
            return record

        record = undone_unless_done(act, snapshot.restore)
        for name, module in plan.model.named_modules():  # `train` and `validate` may have left another one
            module.training = modes.get(name, plan.model.training)
        return record

    def _nothing(self) -> str:
        if self._plan.suspicion is None:
            return "there was nothing to repair"
        return f"only a metric could tell whether to begin anew is better: {self._plan.suspicion}"

    def _untouched(self, reason: str) -> RepairRecord:
        share = _share(self._plan.checkup)
        return RepairRecord(True, reason, (), self._plan.left, 0.0, None, (share, share), Recipe())

    def _done(self, snapshot: Snapshot) -> RepairRecord:
        """One way, chosen by comparison with new networks, and a verdict on what came of it."""
        before = self._measured()
        actions = self._escalated(before.metric, snapshot)
        if actions is self._plan.actions:
            actions = self._repairing(before.metric, snapshot)
        if not actions:
            words = f"validation {before.metric:.6g} is no worse than that of new networks: there is something to lose"
            return self._untouched(words)
        recipe = self._doing(actions)
        after = self._measured()
        kept, reason = self._verdict(actions, before, after)
        return self._record(kept, reason, actions, before, after, recipe)

    def _tried(self, snapshot: Snapshot) -> RepairRecord:
        """Every way with a piece of the user's training behind it, and the best of them."""
        assert self._train is not None
        before = self._measured()
        repairing = self._repairing(before.metric, snapshot)
        ways = [Way("as it was", ()), Way("begun anew", self._anew_actions())]
        if repairing and repairing != ways[1].actions:
            ways.insert(1, Way("repaired", repairing, margin=-self._limits.tolerance))
        winner, trials = best_of(ways, self._doing, self._train, self._metric, snapshot, self._limits.sign)
        if not winner.way.actions:
            snapshot.restore()
            return self._record(
                False, "the model as it was learns best", self._plan.actions, before, before, Recipe(), trials
            )
        winner.end.restore()
        after = self._measured()
        better = [t for t in trials if self._limits.sign * (t.after - winner.trial.after) > 0]
        words = "it learns as well" if better else "it learns best"
        reason = f"{winner.way.name}, {words}: {winner.trial.after:.6g} after a short training"
        return self._record(True, reason, winner.way.actions, before, after, winner.recipe, trials)

    def _doing(self, actions: tuple[Action, ...]) -> Recipe:
        return Doing(self._plan, self._optimizer).do(actions)

    def _measured(self) -> _Measured:
        outputs = Ground(self._plan.model, self._plan.batches).outputs()
        return _Measured(outputs, None if self._validate is None else self._metric(self._plan.model))

    def _metric(self, model: nn.Module) -> float:
        """What the user's metric says; the modes of the model stay, which metrics often change."""
        assert self._validate is not None
        modes = [(module, module.training) for module in model.modules()]
        value = self._validate(model)
        for module, training in modes:
            module.training = training
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"validate must return one number, not a {type(value).__name__}: {error}") from error

    def _repairing(self, metric: float | None, snapshot: Snapshot) -> tuple[Action, ...]:
        """The plan's actions, or those with units shifted back where they alone bring a better metric."""
        plan, limits = self._plan, self._limits
        if metric is None or not plan.recentred:
            return plan.actions
        self._doing(plan.recentred)
        shifted = self._metric(plan.model)
        snapshot.restore()
        return plan.recentred if limits.sign * (shifted - metric) > limits.tolerance else plan.actions

    def _anew_actions(self) -> tuple[Action, ...]:
        plan = self._plan
        if any(action.kind == "begin anew" for action in plan.actions):
            return plan.actions
        first = tuple(action for action in plan.actions if action.kind == "standardise")
        return (*first, Action("begin anew", None, (), plan.suspicion or "a new network may learn better"))

    def _escalated(self, metric: float | None, snapshot: Snapshot) -> tuple[Action, ...]:
        """The plan's actions; or to begin anew, where new networks of the kind do better before they have learned."""
        plan, limits = self._plan, self._limits
        if metric is None or any(a.kind == "begin anew" for a in plan.actions):
            return plan.actions
        fresh = [self._of_a_new_one(seed, snapshot) for seed in range(_NEW_ONES)]
        best = max(fresh, key=limits.score)
        if not limits.score(best) > limits.score(metric) + limits.tolerance:
            return plan.actions
        reason = f"validation {metric:.6g} is worse than that of a new network of its kind ({best:.6g})"
        *first, last = self._anew_actions()
        return (*first, Action(last.kind, None, (), reason))

    def _of_a_new_one(self, seed: int, snapshot: Snapshot) -> float:
        initialize(self._plan.model, self._plan.batches, seed=self._plan.seed + 1 + seed)
        metric = self._metric(self._plan.model)
        snapshot.restore()
        return metric

    def _verdict(self, actions: tuple[Action, ...], before: _Measured, after: _Measured) -> tuple[bool, str]:
        """The metric decides where there is one, else the outputs."""
        limits = self._limits
        if not _finite(after.outputs):
            return False, "the outputs are not finite afterwards"
        if before.metric is not None and after.metric is not None:
            kept = limits.score(after.metric) >= limits.score(before.metric) - limits.tolerance
            words = f"validation went from {before.metric:.6g} to {after.metric:.6g} (tolerance {limits.tolerance:g})"
            return kept and math.isfinite(after.metric), words
        anew = any(action.kind == "begin anew" for action in actions)
        if anew and (not _finite(before.outputs) or variation(before.outputs) < CONSTANT_OUTPUT):
            varies = variation(after.outputs) > CONSTANT_OUTPUT
            return varies, f"the outputs {'now' if varies else 'still do not'} tell inputs apart"
        change = relative_change(before.outputs, after.outputs)
        words = f"the outputs changed by {change:.3g} of their size (at most {limits.max_change:g} is kept)"
        return change <= limits.max_change, words

    def _record(
        self,
        kept: bool,
        reason: str,
        actions: tuple[Action, ...],
        before: _Measured,
        after: _Measured,
        recipe: Recipe,
        trials: tuple[Trial, ...] = (),
    ) -> RepairRecord:
        change = relative_change(before.outputs, after.outputs)
        metrics = None if before.metric is None or after.metric is None else (before.metric, after.metric)
        shares = (_share(self._plan.checkup), self._share_now())
        return RepairRecord(
            kept, reason, actions, self._plan.left, change, metrics, shares, recipe if kept else Recipe(), trials
        )

    def _share_now(self) -> float:
        """The lost share, by the thresholds of the plan's checkup."""
        thresholds = self._plan.checkup.diagnosis.thresholds.as_dict()
        return _share(check(self._plan.model, self._plan.batches, seed=0, thresholds=thresholds))


def _finite(outputs: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(out).all()) for out in outputs)


def _share(checkup: Checkup) -> float:
    """Dead or constant units over all units."""
    lost = sum(len(gone(verdicts)) for verdicts in checkup.verdicts.values())
    return lost / checkup.record.units if checkup.record.units else 0.0

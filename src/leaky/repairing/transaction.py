"""A plan as a transaction: measured before and after, kept or rolled back to the last bit, whatever raises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.checkup import Checkup, check
from leaky.observation.batches import batches_of
from leaky.repairing.calibration import calibrate
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.initialization import initialize
from leaky.repairing.plan import Action, Plan, RepairRecord
from leaky.repairing.planning import CONSTANT_OUTPUT, flat, gone, tailored, variation
from leaky.repairing.recipe import Recipe, Rectifier
from leaky.repairing.revive import revive_on
from leaky.repairing.snapshot import Snapshot
from leaky.repairing.swap import put_rectifier, refusal, slopes_of, swap_on

_NEW_ONES = 3
"""New networks that one which has perhaps learned nothing is compared with."""


class Transaction:
    def __init__(
        self,
        plan: Plan,
        validate: Callable[[nn.Module], float] | None,
        tolerance: float,
        max_change: float,
        higher_is_better: bool,
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        self._plan = plan
        self._validate = validate
        self._tolerance = tolerance
        self._max_change = max_change
        self._sign = 1.0 if higher_is_better else -1.0
        self._optimizer = optimizer
        self._rectifiers: dict[str, Rectifier] = {}
        self._actions = plan.actions

    def run(self) -> RepairRecord:
        """Do, measure, keep or roll back."""
        plan = self._plan
        ground = Ground(plan.model, plan.batches)
        before, share = ground.outputs(), _share(plan.checkup)
        if not plan.actions:
            return self._record(True, "there was nothing to repair", 0.0, None, (share, share))
        snapshot = Snapshot(plan.model, self._optimizer)
        try:
            metric = None if self._validate is None else float(self._validate(plan.model))
            self._actions = self._escalated(metric)
            self._do_all()
            after = Ground(plan.model, plan.batches).outputs()
            change = relative_change(before, after)
            new_share = self._share_now()
            new_metric = None if self._validate is None else float(self._validate(plan.model))
            kept, reason = self._verdict(before, after, change, metric, new_metric)
        except BaseException:
            snapshot.restore()
            raise
        if not kept:
            snapshot.restore()
        metrics = None if metric is None or new_metric is None else (metric, new_metric)
        return self._record(kept, reason, change, metrics, (share, new_share))

    def _share_now(self) -> float:
        """The lost share, by the thresholds of the plan's checkup."""
        thresholds: dict[str, Any] = self._plan.checkup.diagnosis.thresholds.as_dict()
        return _share(check(self._plan.model, self._plan.batches, seed=0, **thresholds))

    def _record(
        self, kept: bool, reason: str, change: float, metric: tuple[float, float] | None, share: tuple[float, float]
    ) -> RepairRecord:
        recipe = Recipe(tuple(self._rectifiers.values()) if kept else ())
        return RepairRecord(kept, reason, self._actions, self._plan.left, change, metric, share, recipe)

    def _verdict(
        self, before: list[Tensor], after: list[Tensor], change: float, metric: float | None, new: float | None
    ) -> tuple[bool, str]:
        finite = all(bool(torch.isfinite(out).all()) for out in after)
        if not finite:
            return False, "the outputs are not finite afterwards"
        lost_before = not all(bool(torch.isfinite(out).all()) for out in before) or variation(before) < CONSTANT_OUTPUT
        if self._anew and (lost_before or self._actions is not self._plan.actions):
            varies = variation(after) > CONSTANT_OUTPUT
            return varies, f"the outputs {'now' if varies else 'still do not'} tell inputs apart"
        if metric is not None and new is not None:
            worse = self._sign * (metric - new)
            kept = not worse > self._tolerance and np.isfinite(new)
            return bool(kept), f"validation went from {metric:.6g} to {new:.6g} (tolerance {self._tolerance:g})"
        kept = change <= self._max_change
        return kept, f"the outputs changed by {change:.3g} of their size (at most {self._max_change:g} is kept)"

    def _escalated(self, metric: float | None) -> tuple[Action, ...]:
        """The plan's actions; or to begin anew, where the network does no better than new ones of its kind."""
        if self._validate is None or metric is None or any(a.kind == "begin anew" for a in self._plan.actions):
            return self._plan.actions
        fresh = [self._sign * self._of_a_new_one(seed) for seed in range(_NEW_ONES)]
        if self._sign * metric > max(fresh):
            return self._plan.actions
        best = self._sign * max(fresh)
        reason = f"validation {metric:.6g} is no better than that of new networks of its kind ({best:.6g})"
        return (Action("begin anew", None, (), reason),)

    def _of_a_new_one(self, seed: int) -> float:
        assert self._validate is not None
        new = copy.deepcopy(self._plan.model)
        initialize(new, self._plan.batches, seed=self._plan.seed + 1 + seed)
        return float(self._validate(new))

    def _do_all(self) -> None:
        plan = self._plan
        if self._anew:
            self._begin_anew()
            return
        revived = {a.site: a.units for a in self._actions if a.kind == "revive" and a.site is not None}
        if revived:
            revive_on(Ground(plan.model, plan.batches), revived, optimizer=self._optimizer, seed=plan.seed)
            self._leak(revived)
        for action in self._actions:
            if action.kind == "swap" and action.site is not None:
                ground = Ground(plan.model, plan.batches)
                done = swap_on(ground, action.site, negative_slope=plan.negative_slope, units=action.units)
                self._rectifiers[done.module] = Rectifier(done.module, done.negative_slope, done.channel_dim)

    def _leak(self, revived: Mapping[str, tuple[int, ...]]) -> None:
        """Give revived units a leak, so that they do not die again; nothing takes them yet, so nothing moves."""
        ground = Ground(self._plan.model, self._plan.batches)
        for name, units in revived.items():
            site = ground.site(name)
            if not self._plan.negative_slope or not flat(site) or refusal(ground, site) is not None:
                continue
            slope = slopes_of(site, self._plan.negative_slope, units)
            dim = site.use.layout.unit_dim
            put_rectifier(self._plan.model, site.step.module, slope, dim)
            self._rectifiers[site.step.module] = Rectifier(site.step.module, slope, dim)

    @property
    def _anew(self) -> bool:
        return any(action.kind == "begin anew" for action in self._actions)

    def _begin_anew(self) -> None:
        plan = self._plan
        ground = Ground(plan.model, plan.batches)
        slope = plan.negative_slope if plan.slope_given else tailored(ground)
        for site in ground.structure.sites.values():
            if slope and refusal(ground, site, whole_module=True) is None:
                dim = site.use.layout.unit_dim
                put_rectifier(plan.model, site.step.module, slope, dim)
                self._rectifiers[site.step.module] = Rectifier(site.step.module, slope, dim)
        initialize(plan.model, plan.batches, orthogonal=True, seed=plan.seed)
        if not _unit_size(plan.model, plan.batches):
            calibrate(plan.model, plan.batches)
        if self._optimizer is not None:
            for group in self._optimizer.param_groups:
                for parameter in group["params"]:
                    self._optimizer.state.pop(parameter, None)


def _unit_size(model: nn.Module, batches: Any) -> bool:
    """Whether the inputs have about the size that an initialisation by variance takes for granted."""
    first = next(batches_of(batches, model, batch_dim=0, batch_size=None, max_samples=None))
    sizes = [float(t.detach().double().square().mean()) for t in first.tensors if t.is_floating_point()]
    return all(0.1 < size < 10 for size in sizes)


def _share(checkup: Checkup) -> float:
    """Dead or constant units over all units."""
    lost = sum(len(gone(verdicts)) for verdicts in checkup.verdicts.values())
    return lost / checkup.record.units if checkup.record.units else 0.0

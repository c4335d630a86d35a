"""`leaky.repair`: what would be changed and why, then the change as a transaction that is kept or rolled back.

Nothing is touched before `Plan.apply`; a healthy model gives an empty plan; what cannot be repaired is listed with the
reason and, where only the user's source can change it, with the edit to make.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from leaky.checkup import Checkup, check
from leaky.diagnosis import UnitVerdicts
from leaky.errors import InputError
from leaky.observation.batches import batches_of
from leaky.repairing.calibration import calibrate
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.initialization import initialize
from leaky.repairing.recipe import Recipe, Rectifier, read_recipe
from leaky.repairing.revive import refusals, revive_on
from leaky.repairing.snapshot import Snapshot
from leaky.repairing.swap import put_rectifier, refusal, slopes_of, swap_on
from leaky.structure.units import SiteStructure

Kind = Literal["revive", "swap", "begin anew"]

CONSTANT_OUTPUT = 1e-3
"""Below this ratio of the outputs' deviation over the samples to their size, the network tells no inputs apart."""

ALIKE = 0.95
"""From this part of the pre-activations' second moment on that is their mean's, all inputs look alike to a site."""

DEEP = 13
"""Sites from which on that counts: below 13 layers no initialisation brings inputs so close (see `leaky slope`)."""

LEAK = 0.1
"""The slope of rectifiers that are put in where theory asks for less."""

_NEW_ONES = 3
"""New networks that one which has perhaps learned nothing is compared with."""

_ANEW = frozenset({"growth", "decay", "non-finite"})
"""Rules whose errors say that the range is lost with depth."""


@dataclass(frozen=True)
class Action:
    """One thing to do.

    Attributes:
        kind: "revive", "swap" or "begin anew".
        site: its name; None for the whole network.
        units: the units concerned.
        reason: why.
    """

    kind: Kind
    site: str | None
    units: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Left:
    """Units that are not repaired, and why: a reason, or the edit to make in the user's source."""

    site: str
    units: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class RepairRecord:
    """What a transaction did.

    Attributes:
        kept: whether the model is changed; if not, it is as it was to the last bit.
        reason: why it was kept or rolled back.
        actions: what was done.
        left: what was not, and why.
        output_change: ‖change of the outputs‖ / ‖outputs‖ on the batches.
        metric: the user's validation metric before and after; None without one.
        lost_share: units that are dead or constant over all units, before and after.
        recipe: what the weights cannot hold.
    """

    kept: bool
    reason: str
    actions: tuple[Action, ...]
    left: tuple[Left, ...]
    output_change: float
    metric: tuple[float, float] | None
    lost_share: tuple[float, float]
    recipe: Recipe

    def __str__(self) -> str:
        lines = [("Kept: " if self.kept else "Rolled back: ") + self.reason]
        lines += [f"  outputs changed by {self.output_change:.3g} of their size"]
        if self.metric is not None:
            lines += [f"  validation {self.metric[0]:.6g} before, {self.metric[1]:.6g} after"]
        lines += [f"  dead or constant units {self.lost_share[0]:.2%} before, {self.lost_share[1]:.2%} after"]
        return "\n".join(lines)


@dataclass(eq=False)
class Plan:
    """What would be changed.

    Attributes:
        model: the model.
        checkup: what the plan was made from.
        actions: what to do, in order; empty for a healthy model.
        left: what cannot be repaired.
        negative_slope: of the rectifiers that are put in.
        slope_given: whether the user chose that slope.
        seed: of new weights.
    """

    model: nn.Module
    checkup: Checkup
    batches: Any
    actions: tuple[Action, ...]
    left: tuple[Left, ...]
    negative_slope: float
    slope_given: bool
    seed: int

    def __bool__(self) -> bool:
        return bool(self.actions)

    def __str__(self) -> str:
        record = self.checkup.record
        lines = []
        if not self.actions:
            what = "Nothing that could be repaired." if self.left else "Nothing to repair: no unit is dead or constant."
            lines.append(f"{what} {record.units} units at {len(record.sites)} sites were examined.")
        for action in self.actions:
            units = f" units {_listed(action.units)}" if action.units else ""
            lines.append(f"{action.kind} {action.site or 'the whole network'}{units}: {action.reason}")
        lines += [f"left alone: {left.site} units {_listed(left.units)}: {left.reason}" for left in self.left]
        return "\n".join(lines)

    def apply(
        self,
        *,
        validate: Callable[[nn.Module], float] | None = None,
        tolerance: float = 1e-3,
        max_change: float = 0.05,
        higher_is_better: bool = True,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> RepairRecord:
        """Do it, measure, and keep it or put everything back to the last bit.

        Args:
            validate: the user's metric of a model. It decides: a change that worsens it by more than `tolerance` is
                rolled back. A network that told no inputs apart before has nothing to lose; there it only reports.
            tolerance: in the metric's own unit.
            max_change: without `validate`, the largest relative change of the outputs that is kept.
            higher_is_better: whether more of the metric is better.
            optimizer: whose state of the changed weights begins anew; parameters stay the same objects, so that groups,
                schedulers and the loop go on.

        Returns:
            What was done and measured.

        Raises:
            Whatever an operation or `validate` raises; the model and the optimizer are then as they were.
        """
        return _Transaction(self, validate, tolerance, max_change, higher_is_better, optimizer).run()


def _listed(units: Sequence[int], most: int = 12) -> str:
    shown = ", ".join(map(str, units[:most]))
    return shown + (f" and {len(units) - most} more" if len(units) > most else "")


@overload
def repair(
    model: nn.Module, what: Checkup, batches: Any, *, negative_slope: float | None = ..., seed: int = ...
) -> Plan: ...
@overload
def repair(
    model: nn.Module, what: Recipe | Mapping[str, Any] | str | os.PathLike[str], batches: None = ...
) -> nn.Module: ...
def repair(
    model: nn.Module,
    what: Checkup | Recipe | Mapping[str, Any] | str | os.PathLike[str],
    batches: Any = None,
    *,
    negative_slope: float | None = None,
    seed: int = 0,
) -> Plan | nn.Module:
    """Plan the repair of a model from its checkup; or put a recipe's rectifiers into a freshly built one.

    Dead and constant units are revived, with a leak that keeps them alive; where a shortcut forbids that, they get a
    leak alone. A network that tells no inputs apart, or loses its range with depth, begins anew with the slope that
    theory gives for it.

    Args:
        model: left as it is until `Plan.apply`; changed in place, and returned, where a recipe is given.
        what: the checkup of this model; or a recipe, its data or its file.
        batches: the evidence that the checkup was made on, or other data of the kind.
        negative_slope: α of the rectifiers that are put in; by default .1, or what theory says for a network that
            begins anew.
        seed: of new weights.

    Returns:
        The plan: print it, apply it.

    Raises:
        InputError: if checkup, recipe and model do not belong together.
    """
    if not isinstance(what, Checkup):
        return (what if isinstance(what, Recipe) else read_recipe(what)).apply(model)
    if batches is None:
        raise InputError(
            "repair must have batches, the data that the checkup was made on: leaky.repair(model, checkup, batches)"
        )
    return _planned(model, what, batches, negative_slope, seed)


def _planned(model: nn.Module, checkup: Checkup, batches: Any, negative_slope: float | None, seed: int) -> Plan:
    ground = Ground(model, batches)
    known = set(ground.structure.sites)
    if checkup.record.sites and not any(site.name in known for site in checkup.record.sites):
        raise InputError(
            f"the checkup must be of this model; none of its sites ({checkup.record.sites[0].name!r}, …) is in it"
        )
    lost = {name: units for name, units in _lost(checkup).items() if name in known}
    few = _few(checkup, lost)
    anew = _begin_anew(checkup, ground)
    if anew is not None:
        slope = _tailored(ground) if negative_slope is None else negative_slope
        action = Action("begin anew", None, (), anew)
        left = tuple(_edits(ground, ground.structure.sites)) if slope else ()
        return Plan(model, checkup, ground.batches, (action,), left, slope, negative_slope is not None, seed)
    slope = LEAK if negative_slope is None else negative_slope
    actions, left = _site_by_site(ground, {name: units for name, units in lost.items() if name not in few})
    some = tuple(Left(name, lost[name], reason) for name, reason in few.items())
    return Plan(model, checkup, ground.batches, actions, (*left, *some), slope, negative_slope is not None, seed)


def _lost(checkup: Checkup) -> dict[str, tuple[int, ...]]:
    """The units that are dead, or constant whatever the input, by site; without those of the model's own output."""
    outputs = {site.name for site in checkup.record.sites if site.is_output}
    found = {n: _gone(v) for n, v in checkup.verdicts.items() if n not in outputs}
    return {name: units for name, units in found.items() if units}


def _gone(verdicts: UnitVerdicts) -> tuple[int, ...]:
    return tuple(sorted({*verdicts.dead, *verdicts.constant}))


def _few(checkup: Checkup, lost: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The sites of which so few units are lost that healthy networks have as many, and that reason."""
    most = checkup.diagnosis.thresholds.few
    shares = {site.name: len(lost.get(site.name, ())) / site.units for site in checkup.record.sites if site.units}
    return {
        name: f"they are {shares[name]:.1%} of the site, and up to {most:.0%} are common in healthy networks"
        for name in lost
        if shares[name] <= most
    }


def _begin_anew(checkup: Checkup, ground: Ground) -> str | None:
    """Why the whole network has to begin anew; None where it does not."""
    outputs = ground.outputs()
    if not all(bool(torch.isfinite(out).all()) for out in outputs):
        return "its outputs are not finite"
    if _variation(outputs) < CONSTANT_OUTPUT:
        return "its outputs are the same for all inputs"
    alike = _alike(checkup)
    if alike is not None:
        return alike
    for finding in checkup.findings:
        if finding.rule in _ANEW and finding.level == "error":
            return finding.message
    return None


def _alike(checkup: Checkup) -> str | None:
    """That the deepest quarter of a deep network's sites tells no inputs apart, in words."""
    inner = [site for site in checkup.record.sites if not site.is_output]
    last = inner[-max(1, len(inner) // 4) :] if len(inner) >= DEEP else []
    shares = []
    for site in last:
        means, variances = np.nan_to_num(site.mean) ** 2, np.nan_to_num(site.variance)
        total = float((means + variances).sum())
        shares.append(float(means.sum()) / total if total > 0 else 1.0)
    if not shares or min(shares) < ALIKE:
        return None
    return f"its deepest {len(last)} sites see {min(shares):.1%} or more of the same in every input"


def _variation(outputs: Sequence[Tensor]) -> float:
    """Deviation over the samples ÷ size, of the outputs that have the samples in front."""
    wide = [out.reshape(len(out), -1) for out in outputs if out.ndim and len(out)]
    if not wide or len({out.shape[1] for out in wide}) > 1:
        return float("inf")
    joined = torch.cat(wide)
    size = float(joined.square().mean().sqrt())
    if len(joined) < 2 or size == 0:
        return float("inf") if len(joined) < 2 else 0.0
    return float((joined - joined.mean(0)).square().mean().sqrt()) / size


def _tailored(ground: Ground) -> float:
    """The slope that theory gives; `LEAK` where it knows none or less, so that narrow networks are not born dead."""
    from leaky import theory

    try:
        return max(LEAK, theory.tailored_slope(ground.model, example=ground.batches).negative_slope)
    except InputError:
        return LEAK


def _site_by_site(ground: Ground, lost: Mapping[str, tuple[int, ...]]) -> tuple[tuple[Action, ...], tuple[Left, ...]]:
    refused = refusals(ground, {name: ground.site(name) for name in lost}, lost)
    actions: list[Action] = []
    left: list[Left] = []
    for name, units in lost.items():
        site = ground.site(name)
        free = tuple(unit for unit in units if unit not in refused[name])
        if free:
            actions.append(Action("revive", name, free, "they are dead or constant on the evidence"))
        for reason in dict.fromkeys(refused[name].values()):
            rest = tuple(unit for unit in units if refused[name].get(unit) == reason)
            own = refusal(ground, site)
            if own is None and _flat(site):
                actions.append(
                    Action("swap", name, rest, f"they cannot be revived ({reason}), but a leak lets them learn")
                )
            elif own is not None and _flat(site):
                left.append(Left(name, rest, f"{reason}; for a leak: {own}"))
            else:
                left.append(Left(name, rest, reason))
    return tuple(actions), tuple(left)


def _flat(site: SiteStructure) -> bool:
    """Whether no unit of the site has a leak."""
    return not np.any(np.asarray(site.use.activation.negative_slope))


def _edits(ground: Ground, names: Iterable[str]) -> Iterable[Left]:
    for name in names:
        reason = refusal(ground, ground.site(name), whole_module=True)
        if reason is not None:
            yield Left(name, (), reason)


class _Transaction:
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
        lost_before = not all(bool(torch.isfinite(out).all()) for out in before) or _variation(before) < CONSTANT_OUTPUT
        if self._anew and (lost_before or self._actions is not self._plan.actions):
            varies = _variation(after) > CONSTANT_OUTPUT
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
            if not self._plan.negative_slope or not _flat(site) or refusal(ground, site) is not None:
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
        slope = plan.negative_slope if plan.slope_given else _tailored(ground)
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
    gone = sum(len(_gone(verdicts)) for verdicts in checkup.verdicts.values())
    return gone / checkup.record.units if checkup.record.units else 0.0

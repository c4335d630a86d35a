"""`leaky.repair`: from a checkup to a plan.

A healthy model gives an empty plan; what cannot be repaired is listed with the reason and, where only the user's source
can change it, with the edit to make.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from leaky.checkup import Checkup
from leaky.diagnosis import UnitVerdicts
from leaky.errors import InputError
from leaky.record import Site
from leaky.repairing.ground import Ground
from leaky.repairing.plan import Action, Left, Plan
from leaky.repairing.recentre import recentrable
from leaky.repairing.recipe import Recipe, read_recipe
from leaky.repairing.revive import refusals
from leaky.repairing.standardise import InputRange, input_ranges
from leaky.repairing.swap import not_apart, refusal
from leaky.structure.units import SiteStructure

CONSTANT_OUTPUT = 1e-6
"""Below this ratio of the outputs' deviation over the samples to their size, the network tells no inputs apart: that is
float32's rounding, and a network that predicts years is right to vary by little."""

MOST_LEFT = 0.2
"""The share of lost units up to which a site is left alone: healthy networks carry as many."""

ALIKE = 0.95
"""From this part of the pre-activations' second moment on that is their mean's, all inputs look alike to a site."""

DEEP = 13
"""Sites from which on that counts: below 13 layers no initialisation brings inputs so close (see `leaky slope`)."""

DEEP_TARGET = 0.5
"""The correlation of two orthogonal inputs behind such a deep network that its slope is chosen for: .9, the usual one,
lets 60 to 180 plain layers learn too, but slower (`python -m benchmarks.deep`)."""

SIZES = (0.15, 15.0)
"""Root mean squares of a site's pre-activations outside of which its weights are under suspicion."""

LEAK = 0.1
"""The slope of rectifiers that are put in where theory asks for less."""

_ANEW = frozenset({"growth", "decay", "non-finite"})
"""Rules whose errors say that the range is lost with depth."""


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
    if negative_slope is not None and not 0 <= negative_slope <= 1:
        raise InputError(f"negative_slope must be from 0 to 1 for a repair, not {negative_slope!r}")
    if what is None:
        raise InputError("repair must have a checkup of the model, or a recipe, not None")
    if not isinstance(what, Checkup):
        return (what if isinstance(what, Recipe) else read_recipe(what)).apply(model)
    if batches is None:
        raise InputError(
            "repair must have batches, the data that the checkup was made on: leaky.repair(model, checkup, batches)"
        )
    return _planned(model, what, batches, negative_slope, seed)


def _planned(model: nn.Module, checkup: Checkup, batches: Any, negative_slope: float | None, seed: int) -> Plan:
    ground = Ground(model, batches)
    known = ground.structure.sites
    if checkup.record.sites and not any(site.name in known for site in checkup.record.sites):
        raise InputError(
            f"the checkup must be of this model; none of its sites ({checkup.record.sites[0].name!r}, …) is in it"
        )
    for seen in checkup.record.sites:
        if seen.name in known and known[seen.name].units != seen.units:
            raise InputError(
                f"the checkup must be of this model: it has {seen.units} units at {seen.name!r}, and the model "
                f"{known[seen.name].units}"
            )
    lost = {name: units for name, units in _lost(checkup).items() if name in known}
    few = _few(checkup, lost)
    ranges = input_ranges(ground)
    first, left = _inputs(ranges)
    anew = None if any(seen.constant for seen in ranges) else _begin_anew(checkup, ground)
    given = negative_slope is not None
    if anew is not None:
        slope = tailored(ground) if negative_slope is None else negative_slope
        edits = tuple(_edits(ground, ground.structure.sites)) if slope else ()
        actions = (*first, Action("begin anew", None, (), anew))
        shifted = _shifted(checkup, ground, (*first, *_site_by_site(ground, lost)[0]))
        return Plan(model, checkup, ground.batches, actions, (*left, *edits), shifted, anew, slope, given, seed)
    slope = LEAK if negative_slope is None else negative_slope
    own, rest = _site_by_site(ground, {name: units for name, units in lost.items() if name not in few})
    some = tuple(Left(name, lost[name], reason) for name, reason in few.items())
    actions = (*first, *own)
    shifted = _shifted(checkup, ground, actions)
    doubt = _doubt(checkup, actions)
    return Plan(model, checkup, ground.batches, actions, (*left, *rest, *some), shifted, doubt, slope, given, seed)


def _shifted(checkup: Checkup, ground: Ground, actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """The actions with units shifted back in the place of new weights or a leak, where that can be."""
    other: list[Action] = []
    for action in actions:
        able: tuple[int, ...] = ()
        if action.kind in ("revive", "swap") and action.site is not None:
            able = recentrable(ground, ground.site(action.site), checkup.record.site(action.site), action.units)
        rest = tuple(unit for unit in action.units if unit not in able)
        if able:
            other.append(Action("recentre", action.site, able, f"{action.reason}; their bias alone holds them there"))
        if rest or not able:
            other.append(Action(action.kind, action.site, rest, action.reason))
    return tuple(other) if any(action.kind == "recentre" for action in other) else ()


def _inputs(ranges: Sequence[InputRange]) -> tuple[tuple[Action, ...], tuple[Left, ...]]:
    """The first layers whose inputs are of a size that is hard to learn from."""
    troubled = [(seen, seen.trouble) for seen in ranges]
    actions = [Action("standardise", s.module, (), t) for s, t in troubled if t is not None and s.refusal is None]
    left = [Left(s.module, (), f"{t}, but {s.refusal}") for s, t in troubled if t is not None and s.refusal is not None]
    return tuple(actions), tuple(left)


def _doubt(checkup: Checkup, actions: tuple[Action, ...]) -> str | None:
    """Why the weights may be worth less than new ones; None where nothing says so."""
    sizes = {site.name: _size(site) for site in checkup.record.sites if not site.is_output}
    odd = {name: size for name, size in sizes.items() if not SIZES[0] <= size <= SIZES[1]}
    if odd:
        name = max(odd, key=lambda key: abs(math.log(max(odd[key], 1e-30))))
        return f"the pre-activations of {name} have a root mean square of {odd[name]:.3g}, where about 1 is usual"
    return "what put the network into this state may have harmed its weights too" if actions else None


def _size(site: Site) -> float:
    """Root mean square of the pre-activations."""
    return float(np.sqrt(np.nanmean(site.variance + site.mean**2)))


def _lost(checkup: Checkup) -> dict[str, tuple[int, ...]]:
    """The units that are dead, or constant whatever the input, by site; without those of the model's own output."""
    outputs = {site.name for site in checkup.record.sites if site.is_output}
    found = {n: gone(v) for n, v in checkup.verdicts.items() if n not in outputs}
    return {name: units for name, units in found.items() if units}


def gone(verdicts: UnitVerdicts) -> tuple[int, ...]:
    """The units that give nothing: dead ones and constant ones."""
    return tuple(sorted({*verdicts.dead, *verdicts.constant}))


def _few(checkup: Checkup, lost: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The sites of which so few units are lost that healthy networks have as many, and that reason."""
    shares = {site.name: len(lost.get(site.name, ())) / site.units for site in checkup.record.sites if site.units}
    return {
        name: f"they are {shares[name]:.1%} of the site, and up to {MOST_LEFT:.0%} are common in healthy networks"
        for name in lost
        if shares[name] <= MOST_LEFT
    }


def _begin_anew(checkup: Checkup, ground: Ground) -> str | None:
    """Why the whole network has to begin anew; None where it does not."""
    outputs = ground.outputs()
    if not all(bool(torch.isfinite(out).all()) for out in outputs):
        return "its outputs are not finite"
    if variation(outputs) < CONSTANT_OUTPUT:
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


def variation(outputs: Sequence[Tensor]) -> float:
    """Deviation over the samples ÷ size, of the outputs that have the samples in front."""
    wide = [out.double().reshape(len(out), -1) for out in outputs if out.ndim and len(out)]
    if not wide or len({out.shape[1] for out in wide}) > 1:
        return float("inf")
    joined = torch.cat(wide)
    size = float(joined.square().mean().sqrt())
    if len(joined) < 2 or size == 0:
        return float("inf") if len(joined) < 2 else 0.0
    return float((joined - joined.mean(0)).square().mean().sqrt()) / size


def tailored(ground: Ground) -> float:
    """The slope that theory gives; `LEAK` where it knows none or less, so that narrow networks are not born dead."""
    from leaky import theory

    target = DEEP_TARGET if len(ground.structure.sites) >= DEEP else 0.9
    try:
        return max(LEAK, theory.tailored_slope(ground.analysis, target).negative_slope)
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
            own = refusal(ground, site) or not_apart(site)
            if own is None and flat(site):
                actions.append(
                    Action("swap", name, rest, f"they cannot be revived ({reason}), but a leak lets them learn")
                )
            elif own is not None and flat(site):
                left.append(Left(name, rest, f"{reason}; for a leak: {own}"))
            else:
                left.append(Left(name, rest, reason))
    return tuple(actions), tuple(left)


def flat(site: SiteStructure) -> bool:
    """Whether no unit of the site has a leak."""
    return not np.any(np.asarray(site.use.activation.negative_slope))


def _edits(ground: Ground, names: Iterable[str]) -> Iterable[Left]:
    for name in names:
        reason = refusal(ground, ground.site(name), whole_module=True)
        if reason is not None:
            yield Left(name, (), reason)

"""Reviving units: new incoming weights, no outgoing ones yet, and the function stays where it was.

A unit is revived only where its output is constant on the evidence, so that what it gave can be put into the next bias
exactly; everything that remembers the old unit (BatchNorm's channel, the optimizer's slices) begins anew with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from leaky.checking import unit_numbers
from leaky.repairing.ground import Entering, Ground, owned
from leaky.repairing.initialization import gain_of
from leaky.repairing.operations.centring import centre
from leaky.repairing.operations.operation import Operation, place_of, units_by_site
from leaky.repairing.operations.optimizer_state import reset_slices
from leaky.repairing.operations.refusals import refusals
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject
from leaky.structure.label_propagation import Channelled
from leaky.structure.units import Made, SiteStructure

_MASKS = dict[str, Tensor]


@dataclass(frozen=True)
class Revival:
    """What `revive` did.

    Attributes:
        revived: the units, by site.
        refused: why a unit was left alone, by site and unit.
        optimizer_tensors: how many tensors of the optimizer's state were reset in part.
    """

    revived: dict[str, tuple[int, ...]]
    refused: dict[str, dict[int, str]]
    optimizer_tensors: int


def revive(
    model: nn.Module,
    units: Mapping[str, Sequence[int]],
    data: Any,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    seed: int | None = None,
    approximate: bool = False,
) -> Revival:
    """Give units that have stopped learning a new beginning without moving the function.

    Incoming weights are drawn anew for the site's slope and centred on the data; outgoing weights become 0, and what
    the unit gave on average goes into the next bias. On an exception everything is put back.

    Args:
        model: changed in place; parameters stay the optimizer's.
        units: which, by the site's name as `leaky.check` has it.
        data: the evidence, as `leaky.observe` takes them.
        optimizer: whose state of the changed weights begins anew.
        seed: of the new weights; by default torch's generator goes on.
        approximate: revive units whose output varies too; the function then moves by what varied.

    Returns:
        Which units were revived, and why others were not.

    Raises:
        InputError: if there is no such site, or its units are no numbers.
    """
    subject = Subject(model, data, optimizer=optimizer)
    return _revive(subject, unit_numbers(units), seed, approximate)


def _revive(subject: Subject, units: Mapping[str, Sequence[int]], seed: int | None, approximate: bool) -> Revival:
    ground = subject.ground
    sites = {name: ground.site(name) for name in units}
    entering = ground.entering({taken.event for site in sites.values() for taken in site.taken})
    refused = refusals(ground, sites, units, approximate, entering)
    chosen = {name: tuple(sorted({unit for unit in units[name] if unit not in refused[name]})) for name in units}
    with subject.undone_on_error():
        changed = _change(ground, sites, chosen, entering, seed)
        count = _forget(ground, changed, subject.optimizer)
    subject.changed()
    return Revival({name: u for name, u in chosen.items() if u}, {n: r for n, r in refused.items() if r}, count)


def _change(
    ground: Ground,
    sites: Mapping[str, SiteStructure],
    chosen: Mapping[str, tuple[int, ...]],
    entering: Mapping[int, Entering],
    seed: int | None,
) -> _MASKS:
    """Do it; which elements of which parameter began anew."""
    changed: _MASKS = {}
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, site in sites.items():
            for taken in site.taken:
                mask = owned(taken.owner, chosen[name])
                if bool(mask.any()):
                    ground.fold(taken, ground.shift(taken, entering[taken.event.number].mean, mask))
                    _put(ground, taken.weight, mask, torch.zeros(()), changed)
        for name, site in sites.items():
            for made in site.made:
                _draw(ground, site, made, chosen[name], generator, changed)
    if any(chosen.values()):
        centre(ground, sites, chosen)
    return changed


def _put(ground: Ground, name: str, mask: Tensor, values: Tensor, changed: _MASKS) -> None:
    tensor = ground.tensor(name)
    place = mask.to(tensor.device)
    tensor[place] = values.to(tensor.dtype).to(tensor.device)
    changed[name] = changed[name] | mask if name in changed else mask


def _draw(
    ground: Ground,
    site: SiteStructure,
    made: Made,
    units: tuple[int, ...],
    generator: torch.Generator | None,
    changed: _MASKS,
) -> None:
    """New incoming weights for the slope that follows; bias 0; the norm's channel as a new one's."""
    mask = owned(made.owner, units)
    if not bool(mask.any()):
        return
    deviation = gain_of(site.use.activation) / math.sqrt(ground.layers[made.event.number].fan_in)
    _put(ground, made.weight, mask, deviation * torch.randn(int(mask.sum()), generator=generator), changed)
    if made.bias is not None:
        _put(ground, made.bias[0], owned(made.bias[1], units), torch.zeros(()), changed)
    for norm in made.norms:
        if norm.norm:
            for name, start in norm_starts(norm).items():
                _put(ground, name, owned(norm.owners[name], units), torch.full((), start), changed)


NEW_NORM = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}
"""What each argument of a BatchNorm begins with."""


def norm_starts(norm: Channelled) -> dict[str, float]:
    """What a new BatchNorm channel has, by the name of the parameter or buffer."""
    starts = {}
    for argument, start in NEW_NORM.items():
        for name in getattr(norm.event.call.get(argument), "weights", ()):
            if name in norm.owners:
                starts[name] = start
    return starts


def _forget(ground: Ground, changed: _MASKS, optimizer: torch.optim.Optimizer | None) -> int:
    """Gradients and the optimizer's state of the changed elements begin anew."""
    count = 0
    for name, mask in changed.items():
        parameter = ground.parameters.get(name)
        if parameter is None:
            continue
        if parameter.grad is not None:
            parameter.grad[mask.to(parameter.device)] = 0
        if optimizer is not None:
            count += reset_slices(optimizer, parameter, mask)
    return count


def _able(subject: Subject, wanted: Action, approximate: bool) -> tuple[Action | None, tuple[Left, ...]]:
    name, ground = place_of(wanted), subject.ground
    refused = refusals(ground, {name: ground.site(name)}, {name: wanted.units}, approximate)[name]
    free = tuple(unit for unit in wanted.units if unit not in refused)
    left = [
        Left(name, tuple(unit for unit in wanted.units if refused.get(unit) == reason), reason)
        for reason in dict.fromkeys(refused.values())
    ]
    return (replace(wanted, units=free) if free else None), tuple(left)


def _carry_out(subject: Subject, actions: Sequence[Action], approximate: bool) -> None:
    _revive(subject, units_by_site(actions), subject.seed, approximate)


REVIVE = Operation(
    kind="revive",
    needs="units whose output is constant on the data, with weights of their own on both sides",
    promises="the outputs on the data, to 1e-6",
    keeps_function=True,
    able=partial(_able, approximate=False),
    carry_out=partial(_carry_out, approximate=False),
)

RECYCLE = Operation(
    kind="recycle",
    needs="units with weights of their own on both sides",
    promises="the mean of what the units gave; what varied of it is lost",
    keeps_function=False,
    able=partial(_able, approximate=True),
    carry_out=partial(_carry_out, approximate=True),
)

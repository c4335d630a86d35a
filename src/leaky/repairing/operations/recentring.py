"""Bringing units back by their bias alone: what one too large a step pushes below the threshold is often little more.

The weights keep what they had learned, so the outputs move; a metric tells whether for the better.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from leaky.checking import unit_numbers
from leaky.record import Site
from leaky.repairing.calibration import NEAR
from leaky.repairing.ground import Ground, owned
from leaky.repairing.operations.in_passing import Passing, at_once, giving_event
from leaky.repairing.operations.operation import Operation, existing, place_of, units_by_site
from leaky.repairing.operations.optimizer_state import reset_slices
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject
from leaky.repairing.trouble import trouble_of
from leaky.structure.units import Made, SiteStructure


def recentre(
    model: nn.Module,
    units: Mapping[str, Sequence[int]],
    data: Any,
    *,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, tuple[int, ...]]:
    """Shift units by their bias until they fire as their neighbours do.

    The shift brings mean ÷ deviation of a unit's pre-activation to the median of the site's other units, to 0 where
    there are none. A BatchNorm's bias is shifted where one stands in front of the site.

    Args:
        model: changed in place; on an exception it is put back.
        units: which, by the site's name as `leaky.check` has it.
        data: the evidence, as `leaky.observe` takes them.
        optimizer: whose state of the shifted biases begins anew.

    Returns:
        The units that were shifted; the others have no bias of their own or the same pre-activation on every sample.

    Raises:
        InputError: if there is no such site or unit.
    """
    subject, units = Subject(model, data, optimizer=optimizer), unit_numbers(units)
    chosen = {name: existing(subject.ground.site(name), numbers) for name, numbers in units.items()}
    with subject.undone_on_error():
        return _recentre(subject, chosen)


def _recentre(subject: Subject, units: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """From the input to the output, because units feed units; one pass does all sites in a row that it can do."""
    ground = subject.ground
    ordered = sorted(map(ground.site, units), key=lambda site: site.event.number)
    samples = at_once(ground) if len(ordered) > 1 else None
    events = {site.name: None if samples is None else giving_event(ground, site) for site in ordered}
    shifted: dict[str, tuple[int, ...]] = {}

    def put_right(site: SiteStructure, seen: Site) -> bool:
        trouble = trouble_of(seen)
        still = {*trouble.stuck, *trouble.locked}  # what stands before may have brought some back
        chosen = tuple(unit for unit in recentrable(ground, site, seen, units[site.name]) if unit in still)
        if chosen:
            _shift(ground, site, seen, chosen, subject.optimizer)
            shifted[site.name] = chosen
        return bool(chosen)

    for alone, group in itertools.groupby(ordered, key=lambda site: events[site.name] is None):
        if alone:
            for site in group:
                if put_right(site, subject.record.site(site.name)):
                    subject.changed()
        else:
            passing = [(events[site.name], Passing(site.use, partial(put_right, site))) for site in group]
            ground.replay({event.number: one for event, one in passing if event is not None}, batch_size=samples)
            subject.changed()
    return shifted


def recentrable(ground: Ground, site: SiteStructure, seen: Site, units: Sequence[int]) -> tuple[int, ...]:
    """The units with a bias of their own whose pre-activation varies."""
    made, not_made = _makers(ground, site)
    biases = [bias for bias in map(_bias, made) if bias is not None]
    if not biases or ground.unfree(name for name, _ in biases) is not None:
        return ()
    varies = varying(seen)
    return tuple(unit for unit in units if unit not in not_made and bool(varies[unit]))


def _makers(ground: Ground, site: SiteStructure) -> tuple[list[Made], dict[int, str]]:
    """What makes the units, and which ones nothing makes alone.

    Where all that takes a bias are the runs of one site, it may be moved, whatever else is made by the weight: a body
    that several inputs share, a network that takes its own derivative.
    """
    every = site.every_time
    bias = None if every is None else _bias(every)
    if not site.not_made or every is None or bias is None:
        return site.made, site.not_made
    name, events = bias[0], ground.history.events
    taking = [
        event
        for event in events
        if event.results
        and event.results[0].from_data
        and any(not node.from_data and name in node.weights for node in event.call.nodes)
    ]
    runs = {event.site.pre_activation for event in events if event.site is not None and event.site.name == site.name}
    return ([every], {}) if len(taking) == len(runs) else (site.made, site.not_made)


def varying(seen: Site) -> NDArray[np.bool_]:
    """Whether each unit's pre-activation tells samples apart, beyond rounding."""
    return np.asarray(np.sqrt(np.nan_to_num(seen.variance)) > 1e-6 * np.abs(np.nan_to_num(seen.mean)))


def _bias(made: Made) -> tuple[str, Tensor] | None:
    """The parameter that shifts what arrives at the site, and the unit of each of its elements."""
    norm = next((norm for norm in reversed(made.norms) if norm.norm), None)
    if norm is None:
        return made.bias
    names = getattr(norm.event.call.get("bias"), "weights", ())
    return (names[0], norm.owners[names[0]]) if names and names[0] in norm.owners else None


def _shift(
    ground: Ground, site: SiteStructure, seen: Site, units: tuple[int, ...], optimizer: torch.optim.Optimizer | None
) -> None:
    deviation = np.sqrt(np.nan_to_num(seen.variance))
    fires = seen.firing_rate > 0
    others = [unit for unit in range(site.units) if unit not in units and fires[unit] and deviation[unit] > 0]
    ratio = float(np.median(seen.mean[others] / deviation[others])) if others else None
    name, owner = next(bias for bias in map(_bias, _makers(ground, site)[0]) if bias is not None)
    bias = ground.tensor(name)
    with torch.no_grad():
        for unit in units:
            place = owned(owner, [unit]).to(bias.device)
            shift = -float(bias[place].double().mean())
            if ratio is not None or not abs(float(seen.mean[unit]) + shift) <= NEAR * float(deviation[unit]):
                shift = (ratio or 0.0) * float(deviation[unit]) - float(seen.mean[unit])
            bias[place] += shift
    if optimizer is not None and name in ground.parameters:
        reset_slices(optimizer, ground.parameters[name], owned(owner, units))


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    """Units that do not vary are able where others in front of them are dead: those may be shifted back before."""
    name, ground = place_of(wanted), subject.ground
    site, seen = ground.site(name), subject.record.site(name)
    able = set(recentrable(ground, site, seen, wanted.units))
    makers, not_made = _makers(ground, site)
    if any(bias is not None for bias in map(_bias, makers)):
        for made in makers:
            free = ground.unfree([made.weight, *([made.bias[0]] if made.bias else [])]) is None
            weight = ground.tensor(made.weight).detach().cpu()
            able |= {u for u in wanted.units if free and u not in not_made and bool(weight[made.owner == u].any())}
    chosen = tuple(unit for unit in wanted.units if unit in able)
    rest = tuple(unit for unit in wanted.units if unit not in able)
    left = (Left(name, rest, "their pre-activation does not vary, or no bias of their own shifts it"),) if rest else ()
    return (replace(wanted, units=chosen) if chosen else None), left


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    _recentre(subject, units_by_site(actions))


RECENTRE = Operation(
    kind="recentre",
    needs="a bias, or a BatchNorm's, of the units' own",
    promises="the weights stay; the bias moves, and the outputs with it",
    keeps_function=False,
    able=_able,
    carry_out=_carry_out,
)

"""Which units can be taken out of the function on the data, and why others cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from leaky.repairing.ground import Entering, Ground
from leaky.structure.label_propagation import Taken
from leaky.structure.label_rules import labels_in, operands_of, over_weight
from leaky.structure.units import SiteStructure

CONSTANT = 1e-7
"""A unit's output counts as constant if its range is at most this part of its magnitude."""


def refusals(
    ground: Ground,
    sites: Mapping[str, SiteStructure],
    units: Mapping[str, Sequence[int]],
    approximate: bool = False,
    entering: Mapping[int, Entering] | None = None,
    frozen: bool = False,
) -> dict[str, dict[int, str]]:
    """Why units cannot be taken out of the function, by site and unit; see `revive`. `frozen` ones may, to remove."""
    if entering is None:
        entering = ground.entering({taken.event for site in sites.values() for taken in site.taken})
    refused = {name: _refused(ground, site, units[name], frozen) for name, site in sites.items()}
    for name, site in sites.items():
        rest = [unit for unit in units[name] if unit not in refused[name]]
        refused[name].update(_not_constant(ground, site, rest, entering, approximate))
    return refused


def _refused(ground: Ground, site: SiteStructure, units: Sequence[int], frozen: bool) -> dict[int, str]:
    unfree = ground.unfree(weights_around(site), frozen)
    refused = {}
    for unit in units:
        reason = "there is no such unit" if not 0 <= unit < site.units else site.refusal(unit) or unfree
        if reason is not None:
            refused[unit] = reason
    return refused


def weights_around(site: SiteStructure) -> list[str]:
    """Names of the weights and biases that make a site's units, and of those that take them."""
    made = [name for m in site.made for name in (m.weight, *([m.bias[0]] if m.bias else []))]
    return [*made, *(name for t in site.taken for name in (t.weight, t.bias) if name is not None)]


def _not_constant(
    ground: Ground, site: SiteStructure, units: Sequence[int], entering: Mapping[int, Entering], approximate: bool
) -> dict[int, str]:
    """The units of which the outgoing weights cannot be taken away exactly, and why."""
    refused: dict[int, str] = {}
    for taken in site.taken:
        seen = entering[taken.event.number]
        span, size = seen.high - seen.low, torch.maximum(seen.high.abs(), seen.low.abs())
        varies = _owners_where(ground, taken, span > CONSTANT * size)
        shifts = _owners_where(ground, taken, size > 0)
        for unit in units:
            if unit in varies and not approximate:
                refused.setdefault(unit, "its output varies on these data, and taking it away would move the function")
            elif unit in shifts and taken.padded and not approximate:
                refused.setdefault(unit, f"it is constant, not 0, and {taken.weight} sums over padding too")
            elif unit in shifts and taken.bias is None and taken.running_mean is None:
                refused.setdefault(unit, f"it is not 0, and {taken.weight} has no bias to take what it gives")
    return refused


def _owners_where(ground: Ground, taken: Taken, entries: Tensor) -> set[int]:
    """The units that own a weight of an entry of the contracted axis for which `entries` is true."""
    _, weight, _ = operands_of(taken.event)
    source = ground.structure.recorded.elements(weight)
    assert source is not None
    mask = torch.zeros(taken.owner.numel(), dtype=torch.bool)
    mask[source[1].reshape(-1)] = over_weight(taken.event, weight, entries).reshape(-1)
    return set(labels_in(taken.owner.reshape(-1)[mask]))

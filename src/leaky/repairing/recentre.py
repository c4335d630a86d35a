"""Bringing units back by their bias alone: what one too large a step pushes below the threshold is often little more.

The weights keep what they had learned, so the outputs move; a metric tells whether for the better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from leaky.observation import observe
from leaky.record import Site
from leaky.repairing.ground import Ground, owned
from leaky.repairing.optimizer_state import reset_slices
from leaky.repairing.snapshot import Snapshot
from leaky.structure.units import Made, SiteStructure


def recentre(
    model: nn.Module,
    units: Mapping[str, Sequence[int]],
    batches: Any,
    *,
    optimizer: torch.optim.Optimizer | None = None,
) -> dict[str, tuple[int, ...]]:
    """Shift units by their bias until they fire as their neighbours do.

    The shift brings mean ÷ deviation of a unit's pre-activation to the median of the site's other units, to 0 where
    there are none. A BatchNorm's bias is shifted where one stands in front of the site.

    Args:
        model: changed in place; on an exception it is put back.
        units: which, by the site's name as `leaky.check` has it.
        batches: the evidence, as `leaky.observe` takes them.
        optimizer: whose state of the shifted biases begins anew.

    Returns:
        The units that were shifted; the others have no bias of their own or the same pre-activation on every sample.
    """
    ground = Ground(model, batches)
    snapshot = Snapshot(model, optimizer)
    try:
        return recentre_on(ground, units, optimizer)
    except BaseException:
        snapshot.restore()
        raise


def recentre_on(
    ground: Ground, units: Mapping[str, Sequence[int]], optimizer: torch.optim.Optimizer | None = None
) -> dict[str, tuple[int, ...]]:
    """`recentre` for a model whose structure is known. Site by site, because units feed units."""
    shifted: dict[str, tuple[int, ...]] = {}
    for name in sorted(units, key=lambda name: ground.site(name).step.number):
        site = ground.site(name)
        seen = observe(ground.model, ground.batches, seed=0).site(name)
        chosen = recentrable(ground, site, seen, units[name])
        if chosen:
            _shift(ground, site, seen, chosen, optimizer)
            shifted[name] = chosen
    return shifted


def recentrable(ground: Ground, site: SiteStructure, seen: Site, units: Sequence[int]) -> tuple[int, ...]:
    """The units with a bias of their own whose pre-activation varies."""
    biases = [bias for bias in map(_bias, site.made) if bias is not None]
    if not biases or ground.unfree(biases) is not None:
        return ()
    rounding = 1e-6 * np.abs(seen.mean)
    varies = np.sqrt(np.nan_to_num(seen.variance)) > rounding
    return tuple(unit for unit in units if unit not in site.not_made and bool(varies[unit]))


def _bias(made: Made) -> str | None:
    """The parameter that shifts what arrives at the site."""
    norm = next((norm for norm in reversed(made.norms) if norm.norm), None)
    if norm is None:
        return made.bias[0] if made.bias is not None else None
    names = getattr(norm.step.call.args[2], "weights", ())
    return names[0] if names and names[0] in norm.owners else None


def _owner(made: Made, name: str) -> torch.Tensor:
    if made.bias is not None and made.bias[0] == name:
        return made.bias[1]
    return next(norm.owners[name] for norm in made.norms if name in norm.owners)


def _shift(
    ground: Ground, site: SiteStructure, seen: Site, units: tuple[int, ...], optimizer: torch.optim.Optimizer | None
) -> None:
    deviation = np.sqrt(np.nan_to_num(seen.variance))
    fires = seen.firing_rate > 0
    others = [unit for unit in range(site.units) if unit not in units and fires[unit] and deviation[unit] > 0]
    ratio = float(np.median(seen.mean[others] / deviation[others])) if others else 0.0
    made = next(made for made in site.made if _bias(made) is not None)
    name = _bias(made)
    assert name is not None
    bias, owner = ground.tensor(name), _owner(made, name)
    with torch.no_grad():
        for unit in units:
            place = owned(owner, [unit]).to(bias.device)
            bias[place] += ratio * float(deviation[unit]) - float(seen.mean[unit])
    if optimizer is not None and name in ground.parameters:
        reset_slices(optimizer, ground.parameters[name], owned(owner, units))

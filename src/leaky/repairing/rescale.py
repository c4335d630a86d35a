"""Equalising the ranges of layers with a rectifier between them: f(s·z) = s·f(z) for s > 0, so the function stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from leaky.observation import observe
from leaky.repairing.ground import Ground
from leaky.structure.label_rules import LINEAR, NONE
from leaky.structure.units import SiteStructure

HOMOGENEOUS = LINEAR | {"relu", "leaky_relu", "prelu", "_prelu_kernel", "abs", "amax", "amin", "max", "maximum"}
"""Operators g with g(s·z) = s·g(z) for s > 0."""


@dataclass(frozen=True)
class Rescaling:
    """What `rescale` did.

    Attributes:
        factors: what each site's pre-activations were multiplied by.
        refused: why a site was left alone.
    """

    factors: dict[str, float]
    refused: dict[str, str]


def rescale(model: nn.Module, batches: Any, *, sites: Iterable[str] | None = None, target: float = 1.0) -> Rescaling:
    """Give every site's pre-activations the root mean square `target`, without moving the function.

    What makes a site's units is multiplied, what takes them divided, by the same number.

    Args:
        model: changed in place.
        batches: the evidence, as `leaky.observe` takes them.
        sites: names of the sites; all by default.
        target: root mean square to reach, > 0.
    """
    return rescale_on(Ground(model, batches), sites=sites, target=target)


def rescale_on(ground: Ground, *, sites: Iterable[str] | None = None, target: float = 1.0) -> Rescaling:
    """`rescale` for a model whose structure is known."""
    record = observe(ground.model, ground.batches, seed=0)
    chosen = [ground.site(name) for name in (sites if sites is not None else ground.structure.sites)]
    factors: dict[str, float] = {}
    refused: dict[str, str] = {}
    with torch.no_grad():
        for site in chosen:
            reason = refusal(site)
            if reason is not None:
                refused[site.name] = reason
                continue
            seen = record.site(site.name)
            size = float(np.sqrt(np.nanmean(seen.variance + seen.mean**2)))
            if not np.isfinite(size) or size == 0:
                refused[site.name] = "its pre-activations are 0 or not finite"
                continue
            factors[site.name] = _scale(ground, site, target / size)
    return Rescaling(factors, refused)


def refusal(site: SiteStructure) -> str | None:
    """Why a site's range cannot be changed without moving the function; None where it can."""
    activation = site.use.activation
    bounds = activation.cap is not None or activation.floor is not None or activation.threshold or activation.value
    if activation.smooth or bounds:
        return f"{activation.name} is not positively homogeneous"
    for unit in range(site.units):
        reason = site.refusal(unit)
        if reason is not None:
            return reason
    if any(made.joined for made in site.made):
        return "other data are added in front of it"
    bent = sorted(site.passed - HOMOGENEOUS)
    if bent:
        return f"it goes through {', '.join(bent)}, which is not positively homogeneous"
    added = [c for c in site.channelled if c.norm or c.step.call.name in ("add", "sub")]
    if added:
        return f"{added[0].step} adds something to it"
    return None


def _scale(ground: Ground, site: SiteStructure, factor: float) -> float:
    for made in site.made:
        norm = next((n for n in reversed(made.norms) if n.norm), None)
        scaled = [made.weight, *([made.bias[0]] if made.bias else [])]
        owners = {made.weight: made.owner, **({made.bias[0]: made.bias[1]} if made.bias else {})}
        if norm is not None:  # it undoes what stands before it: its own scale and shift count
            names = list(norm.owners)
            scaled = [name for name in names if name in ground.parameters]
            owners = norm.owners
        for name in scaled:
            tensor = ground.tensor(name)
            tensor[(owners[name] != NONE).to(tensor.device)] *= factor
        for channelled in made.norms if norm is None else made.norms[list(made.norms).index(norm) + 1 :]:
            if channelled.step.call.name in ("add", "sub"):
                for name, owner in channelled.owners.items():
                    ground.tensor(name)[(owner != NONE).to(ground.tensor(name).device)] *= factor
    for taken in site.taken:
        tensor = ground.tensor(taken.weight)
        tensor[(taken.owner != NONE).to(tensor.device)] /= factor
    return factor

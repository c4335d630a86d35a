"""What is zero or sparse because somebody wanted it so, and must be left alone unless asked.

Pruned weights, codes of sparse autoencoders and k-winners look like trouble to who only counts units.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from leaky.observation.batches import batches_of
from leaky.record import Site
from leaky.repairing.ground import Ground, owned
from leaky.structure.operators import operator_named
from leaky.structure.units import SiteStructure

ZEROS = 0.1
"""The share of exact zeros in a weight, rows and columns of whole units apart, from which on it was pruned."""

RARE = 0.2
"""Firing rate of an overcomplete layer's middle unit that fires at all, or of all its units on average, up to which it
may be a sparse code."""

GIVEN_BACK = 0.3
"""Correlation of inputs and outputs, each feature around its mean, from which on a network gives back its input."""

EDGE = 2.0
"""How far below its threshold a unit may be that a penalty has silenced, in multiples of the distance, √(2 ln n)
deviations, at which a normal one is silent on n samples."""


def by_design(ground: Ground, site: SiteStructure, seen: Site) -> str | None:
    """Why a whole site is left alone; None where it is not sparse by design."""
    for made in site.made:
        weight = ground.tensor(made.weight).detach()
        if _pruned(weight):
            return f"{made.weight} has been pruned: its zeros are meant"
    if any(operator_named(name).chooses for name in site.passed):
        return "only the strongest units are let through behind it, so that the others are silent by design"
    if _is_code(ground, site, seen):
        return "it is the sparse code of an autoencoder, in which most units are meant to be silent"
    return None


def cut_off(ground: Ground, site: SiteStructure) -> tuple[int, ...]:
    """The units that were taken out on purpose: zeros in all that makes them and in all that takes them."""
    weights = [(ground.tensor(made.weight).detach(), made.owner) for made in site.made]
    after = [(ground.tensor(taken.weight).detach(), taken.owner) for taken in site.taken]
    if not weights or not after:
        return ()
    return tuple(unit for unit in range(site.units) if all(_zero(w, owner, unit) for w, owner in (*weights, *after)))


def _zero(weight: Tensor, owner: Tensor, unit: int) -> bool:
    mask = owned(owner, [unit]).to(weight.device)
    return bool(mask.any()) and not bool(weight[mask].any())


def _pruned(weight: Tensor) -> bool:
    rows = weight.flatten(1)
    alive = rows[(rows != 0).any(1)][:, (rows != 0).any(0)]  # whole units that give or get nothing are told elsewhere
    return alive.numel() > 0 and float((alive == 0).double().mean()) >= ZEROS


def _around_mean(values: Tensor) -> Tensor:
    wide = values.detach().double().cpu().nan_to_num()
    return wide - wide.mean(0)


def _gives_back(ground: Ground) -> bool:
    """Whether what the model returns goes up and down with what it was given, as an autoencoder's does.

    A function of a vector that returns one of the same size, a step in time or a solved equation, need not do that.
    """
    batches = batches_of(
        ground.batches, ground.model, sample_dim=ground.history.sample_dim, batch_size=None, max_samples=None
    )
    given = [tensor for tensor in next(iter(batches)).tensors if tensor.is_floating_point()]
    for out in ground.outputs():
        for tensor in given:
            if tensor.shape == out.shape:
                a, b = (_around_mean(tensor), _around_mean(out))
                return bool((a * b).sum() >= GIVEN_BACK * (a.norm() * b.norm()).clamp(min=1e-300))
    return False


def _is_code(ground: Ground, site: SiteStructure, seen: Site) -> bool:
    """An overcomplete layer between an input and an output of the same size, of which few units fire at a time.

    A penalty on what fires presses a unit only as long as it does: those that it silenced stand just below their
    threshold. Units that something else has thrown down are far below it.
    """
    shapes = {tuple(node.shape[1:]) for node in ground.history.inputs if len(node.shape) > 1}
    back = all(tuple(out.shape[1:]) in shapes for out in ground.outputs()) and bool(shapes)
    features = max((int(np.prod(shape)) for shape in shapes), default=0)
    rates = np.nan_to_num(seen.firing_rate)
    if not back or not site.units >= features > 1 or not rates.any() or not _gives_back(ground):
        return False
    if float(np.median(rates[rates > 0])) <= RARE:
        return True
    if float(rates.mean()) > RARE:
        return False
    silent = (rates == 0) & (np.nan_to_num(seen.variance) > 0)
    if not silent.any():
        return True
    below = -seen.mean[silent] / np.sqrt(seen.variance[silent])
    return float(np.median(below)) <= EDGE * math.sqrt(2 * math.log(max(2, seen.samples)))

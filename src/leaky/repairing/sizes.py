"""Whether a network's pre-activations have a size at which an optimizer's steps mean something.

Where weights have been blown up or shrunk, bringing units back is not enough: a step that suits pre-activations of
about 1 moves some of 100 by nothing, and tears some of .01.
"""

from __future__ import annotations

import math
import statistics

import numpy as np

from leaky.record import Record, Site
from leaky.repairing.ground import Ground

SIZES = (0.15, 15.0)
"""Root mean squares of a site's pre-activations outside of which its weights are under suspicion."""

BLOWN = 8.0
"""The deviation of the pre-activations above which weights are far too large."""

FLAT = 6.0
"""The deviation of the pre-activations above which tanh, sigmoid and their like give hardly more than a sign."""

WEIGHTS = (0.1, 1.9)
"""Root mean square · √fan of the middle layer's weights outside of which they were blown up or have decayed: torch
draws .58, He 1.41; 84 healthy twins of the patients had .5 to 1.8 (of sigmoids 2.8), 150 and 550 steps into their
training."""


def odd_sizes(record: Record) -> dict[str, float]:
    """Root mean square of the pre-activations, by the site, where it is outside of `SIZES`."""
    sizes = {site.name: _size(site) for site in record.sites if not site.is_output and not site.smooth}
    return {name: size for name, size in sizes.items() if not SIZES[0] <= size <= SIZES[1]}


def blown_up(record: Record) -> str | None:
    """That weights are far too large for what they take, in words; None where none are.

    A bias that is far off moves the mean alone, and what stands behind dead units varies little: neither is theirs.
    """
    for site in record.sites:
        deviation = float(np.sqrt(np.nanmean(site.variance))) if np.isfinite(site.variance).any() else 0.0
        if not site.is_output and deviation > (FLAT if site.smooth else BLOWN):
            return f"the pre-activations of {site.name} have a deviation of {deviation:.3g}, where about 1 is usual"
    return None


def odd_weights(ground: Ground) -> str | None:
    """That most weights are far too large, or next to nothing, for what they sum over, in words; None where not.

    It is seen where activations do not show it: in attention, in gates, and in front of norms. What is frozen, and
    what is only zeros, is as somebody wanted it.
    """
    learned = {layer.production.weight: layer for layer in ground.layers.values() if layer.weight.requires_grad}
    sizes = [
        math.sqrt(float(layer.weight.detach().double().square().mean()) * layer.fan_in) for layer in learned.values()
    ]
    sizes = [size for size in sizes if size > 0]
    middle = statistics.median_low(sizes) if sizes else 1.0
    if WEIGHTS[0] <= middle <= WEIGHTS[1]:
        return None
    return f"the middle layer's weights are {middle:.3g} ÷ √fan in size, where .5 to 1.8 is usual"


def doubt(record: Record) -> str | None:
    """Why the weights may be worth less than new ones; None where nothing says so."""
    odd = odd_sizes(record)
    if not odd:
        return None
    name = max(odd, key=lambda key: abs(math.log(max(odd[key], 1e-30))))
    return f"the pre-activations of {name} have a root mean square of {odd[name]:.3g}, where about 1 is usual"


def _size(site: Site) -> float:
    squares = site.variance + site.mean**2
    return float(np.sqrt(np.nanmean(squares))) if np.isfinite(squares).any() else float("inf")

"""Units that are dead before training, and how much must be seen to call one dead."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from leaky.errors import InputError
from leaky.theory.layer import checked_slope


@dataclass(frozen=True)
class Bounds:
    """A probability known to lie between two numbers."""

    lower: float
    upper: float


def born_dead_probability(widths: Sequence[int], negative_slope: float = 0.0) -> Bounds:
    """Bounds on the probability that a network is constant from its initialisation on.

    Holds for one input, zero biases and weights symmetric about 0. Under any slope but 0 no unit is ever dead and both
    bounds are 0. The lower bound is known for equal widths; it is 0 for others.

    Args:
        widths: of the hidden layers, in order.
        negative_slope: α.

    Source:
        Lu et al., "Dying ReLU and initialization", 2019.
    """
    if len(widths) == 0 or min(widths) < 1:
        raise InputError(f"the widths must be those of one hidden layer or more, each at least 1, not {list(widths)}")
    if checked_slope(negative_slope) != 0.0:
        return Bounds(0.0, 0.0)
    upper = 1.0 - math.prod(1.0 - 2.0 ** -float(width) for width in widths)
    if len(set(widths)) > 1:
        return Bounds(0.0, upper)
    width, later_layers = float(widths[0]), len(widths) - 1
    one_ray = 1.0 - 2.0**-width
    two_rays = 1.0 - 2.0 ** (1.0 - width) - (width - 1.0) * 4.0**-width
    share = (1.0 - 2.0 ** (1.0 - width)) * one_ray / (1.0 + (width - 1.0) * 2.0**-width)
    lower = 1.0 - one_ray**later_layers + share * (two_rays**later_layers - one_ray**later_layers)
    return Bounds(max(0.0, lower), upper)


def samples_needed(units: int, rate: float = 0.01, delta: float = 0.05) -> int:
    """How many independent samples make silence mean something: n = ⌈ln(U/δ)/−ln(1−p₀)⌉.

    After n silent samples, "each silent unit fires on less than `rate` of such samples" holds for all units at once
    with confidence 1 − `delta`.

    Args:
        units: U, the number of units examined.
        rate: p₀, in (0, 1).
        delta: δ, in (0, 1).
    """
    if units < 1:
        raise InputError(f"the number of units must be at least 1, not {units}")
    _open_unit_interval("rate", rate)
    _open_unit_interval("delta", delta)
    return math.ceil(math.log(units / delta) / -math.log1p(-rate))


def rate_bound(samples: int, delta: float = 0.05, units: int = 1) -> float:
    """The firing rate that units silent on n samples stay below with confidence 1 − δ: 1 − (δ/U)^(1/n) ≈ ln(U/δ)/n.

    Args:
        samples: n, independent samples seen; 0 bounds nothing and gives 1.
        delta: δ, in (0, 1).
        units: U, the number of units for which the bound is to hold at once.
    """
    if samples < 0 or units < 1:
        raise InputError(f"there must be at least 0 samples and 1 unit, not {samples} and {units}")
    _open_unit_interval("delta", delta)
    return -math.expm1(math.log(delta / units) / samples) if samples else 1.0


def _open_unit_interval(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise InputError(f"{name} must lie in (0, 1), not {value}")

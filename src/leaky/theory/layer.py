"""One rectified layer: its gain, its output's moments and its correlation map, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from leaky.errors import InputError

FloatArray: TypeAlias = NDArray[np.float64]


def gain(negative_slope: float) -> float:
    """√(2/(1+α²)): the factor that keeps the second moment of a Gaussian pre-activation (He et al. 2015)."""
    return math.sqrt(2.0 / (1.0 + checked_slope(negative_slope) ** 2))


@dataclass(frozen=True)
class Moments:
    """E f(z), E f(z)² and Var f(z) for z ~ N(0, 1)."""

    mean: float
    second_moment: float
    variance: float


def moments(negative_slope: float) -> Moments:
    """E f = (1−α)/√(2π), E f² = (1+α²)/2 and Var f = E f² − (E f)² for z ~ N(0, 1)."""
    alpha = checked_slope(negative_slope)
    mean = (1.0 - alpha) / math.sqrt(2.0 * math.pi)
    second_moment = (1.0 + alpha**2) / 2.0
    return Moments(mean, second_moment, second_moment - mean**2)


# --- how the correlation of two inputs travels through the network --------------------------------------------------


@overload
def correlation_map(c: float, negative_slope: float) -> float: ...
@overload
def correlation_map(c: FloatArray, negative_slope: float) -> FloatArray: ...
def correlation_map(c: float | FloatArray, negative_slope: float) -> float | FloatArray:
    """C(c) = c + (1−α)²/(π(1+α²))·(√(1−c²) − c·arccos c): the correlation after one He-scaled layer.

    Args:
        c: correlation of two inputs' pre-activations, in [−1, 1]; a number or an array.
        negative_slope: α.

    Source:
        Cho & Saul 2009; Zhang et al., "Deep learning without shortcuts", ICLR 2022.
    """
    cosine = checked_correlation(c)
    mapped = cosine + bend(negative_slope) * (np.sqrt(1.0 - cosine**2) - cosine * np.arccos(cosine))
    return _like(c, np.clip(mapped, -1.0, 1.0))


def bend(negative_slope: float) -> float:
    """(1−α)²/(π(1+α²)): how far the correlation map departs from the identity."""
    alpha = checked_slope(negative_slope)
    return (1.0 - alpha) ** 2 / (math.pi * (1.0 + alpha**2))


def checked_slope(negative_slope: float) -> float:
    if not math.isfinite(negative_slope):
        raise InputError(f"the negative slope must be a finite number, not {negative_slope}")
    return float(negative_slope)


def checked_correlation(c: float | FloatArray) -> FloatArray:
    values = np.asarray(c, np.float64)
    if not bool(np.all(np.abs(values) <= 1.0)):
        raise InputError(f"a correlation must lie in [−1, 1], not {c}")
    return values


def _like(c: float | FloatArray, result: FloatArray) -> float | FloatArray:
    return result if isinstance(c, np.ndarray) else float(result)

"""The Leaky ReLU and its derivative in float64 NumPy: the definition, and the oracle of every test.

Must be plain enough to be checked by eye and exact at every special value. It is slow and makes no attempt not to be.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]


def value(
    x: ArrayLike,
    negative_slope: ArrayLike = 0.01,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
    channel_dim: int = 1,
) -> FloatArray:
    """The Leaky ReLU, y = gain·f(x), held at ±clamp, with f(x) = x for x > 0 and αx otherwise.

    At α = 0, f is `relu`: f(−inf) = 0 and f(x) = +0 for x < 0, where 0·x would give NaN and −0. f(NaN) = NaN, and a
    zero keeps its sign if α ≥ 0.

    Args:
        x: any shape.
        negative_slope: α, a number or one finite number a channel.
        gain: factor on the output, > 0.
        clamp: bound on |y| after the gain, > 0; None for no bound.
        channel_dim: the axis of x along which the slopes run, if there are several.
    """
    z, alpha = _operands(x, negative_slope, channel_dim)
    zero_slope = alpha == 0
    below = alpha * np.where(zero_slope | (z > 0), 0.0, z)
    relu = np.where(z < 0, 0.0, z)
    scaled = np.asarray(gain * np.where(z > 0, z, np.where(zero_slope, relu, below)))
    return scaled if clamp is None else np.asarray(np.clip(scaled, -clamp, clamp))


def derivative(
    x: ArrayLike,
    negative_slope: ArrayLike = 0.01,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
    channel_dim: int = 1,
) -> FloatArray:
    """dy/dx: gain for x > 0 and gain·α otherwise, at 0 and NaN too; 0 where gain·|f(x)| > clamp, not at the bound.

    At α = 0 it is `relu`'s: 0 at 0, and gain at NaN. Arguments as of `value`.
    """
    z, alpha = _operands(x, negative_slope, channel_dim)
    linear = (z > 0) | (np.isnan(z) & (alpha == 0))
    inner = np.asarray(gain * np.where(linear, 1.0, alpha))
    if clamp is None:
        return inner
    unbounded = value(x, negative_slope, gain=gain, channel_dim=channel_dim)
    return np.where(np.abs(unbounded) > clamp, 0.0, inner)


def _operands(x: ArrayLike, negative_slope: ArrayLike, channel_dim: int) -> tuple[FloatArray, FloatArray]:
    """The input and its slopes, shaped to broadcast, both in float64."""
    z, alpha = np.asarray(x, np.float64), np.asarray(negative_slope, np.float64)
    if alpha.size == 1:
        return z, alpha.reshape(())
    shape: list[Any] = [1] * z.ndim
    shape[channel_dim] = alpha.size
    return z, alpha.reshape(shape)

"""The arguments that every framework's Leaky ReLU shares, checked once: what must hold, what came."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np

from leaky.errors import InputError


def slope_number(negative_slope: object) -> float:
    """The slope as a float.

    Raises:
        InputError: if it is no real number, or NaN.
    """
    if not isinstance(negative_slope, Real):
        raise InputError(
            "negative_slope must be a real number, or a floating-point array or tensor of the input's framework, "
            f"not {described(negative_slope)}"
        )
    slope = float(negative_slope)
    if slope != slope:  # not math.isnan, of which torch.compile makes a graph break where the slope changes
        raise InputError("negative_slope must be a number, not NaN")
    return slope


def positive_gain(gain: object) -> float:
    """The gain as a float; an `InputError` if it is not positive and finite."""
    if not isinstance(gain, Real) or not 0.0 < float(gain) < math.inf:
        raise InputError(f"gain must be a positive finite number, not {described(gain)}")
    return float(gain)


def positive_clamp(clamp: object) -> float | None:
    """The bound as a float or None; an `InputError` if it is not positive."""
    if clamp is None:
        return None
    if not isinstance(clamp, Real) or not float(clamp) > 0.0:
        raise InputError(f"clamp must be a positive number, or None for no bound, not {described(clamp)}")
    return float(clamp)


def channel_axis(shape: tuple[int, ...], slope_shape: tuple[int, ...], channel_dim: int) -> int:
    """The non-negative axis of `shape` along which several slopes run.

    Raises:
        InputError: if the slopes are not one a channel along `channel_dim`.
    """
    if len(slope_shape) != 1:
        raise InputError(f"negative_slope must have no more than one dimension, not the shape {slope_shape}")
    if not -len(shape) <= channel_dim < len(shape):
        raise InputError(
            f"channel_dim must be a dimension of the input, whose shape is {shape}, not {channel_dim}; "
            f"{slope_shape[0]} slopes run along it"
        )
    if shape[channel_dim] != slope_shape[0]:
        raise InputError(
            f"negative_slope must hold one slope for each of the {shape[channel_dim]} channels along dimension "
            f"{channel_dim} of the input, whose shape is {shape}, not {slope_shape[0]}"
        )
    return channel_dim if channel_dim >= 0 else channel_dim + len(shape)


def described(thing: object) -> str:
    """What came, for an error message: a number or a word as it is, anything else by its type."""
    if isinstance(thing, bool | int | float | complex | str) or thing is None:
        return repr(thing)
    return f"a {type(thing).__module__}.{type(thing).__qualname__}"


def must_be_unmasked(slopes: object) -> None:
    """Refuse a NumPy array that hides some of its slopes: which would be meant?

    Raises:
        InputError: if any is masked.
    """
    if np.ma.is_masked(slopes):
        raise InputError("negative_slope must hold numbers; some of it is masked")

"""The Leaky ReLU of NumPy arrays.

Must give the same bits as the torch sibling: float16 and bfloat16 are computed in float32 and rounded once, slope and
gain are rounded to the type that computes.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leaky.activation import arguments, numpy_core
from leaky.errors import InputError

Array: TypeAlias = NDArray[Any]

FLOATING_TYPES = ("float16", "bfloat16", "float32", "float64")
"""By name, since bfloat16 is another package's type."""

_COMMON_NUMBERS = frozenset(np.dtype(kind).num for kind in ("float16", "float32", "float64", np.longdouble))
"""NumPy's own of them and its long double, by number: a type's name takes microseconds to make."""


def leaky_relu(
    x: Array,
    negative_slope: float | Array = 0.01,
    inplace: bool = False,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
    channel_dim: int = 1,
    out: Array | None = None,
) -> Array:
    """gain·f(x), held at ±clamp; see `leaky.leaky_relu`."""
    plain = type(gain) is float and gain == 1.0 and clamp is None
    if plain and out is None and not inplace and numpy_core.common(x, negative_slope):
        # the common call, without what all the other cases need
        return numpy_core.rectify(x, negative_slope, 1.0, None, None)
    _check_input(x)
    slope = _checked_slope(x, negative_slope, channel_dim)
    gain, clamp = arguments.positive_gain(gain), arguments.positive_clamp(clamp)
    target = _target(x, inplace, out)
    if isinstance(target, np.ma.MaskedArray) or (isinstance(x, np.ma.MaskedArray) and target is not None):
        raise InputError("a masked array must not be written to; leave inplace= and out= away for a new one")
    if isinstance(x, np.ma.MaskedArray):
        return _masked_like(x, _rectify(np.asarray(x), slope, gain, clamp, None))
    result = _rectify(np.asarray(x), slope, gain, clamp, target)
    return result if isinstance(x, np.ndarray) else result[()]


def _rectify(x: Array, slope: float | Array, gain: float, clamp: float | None, target: Array | None) -> Array:
    """The one place where values are computed, after every check.

    Args:
        x: of one of the `FLOATING_TYPES`.
        slope: a float, or an array that broadcasts against x.
        gain: > 0.
        clamp: > 0 or None.
        target: where the result goes: x itself, another array of x's shape and type, or None for a fresh one.
    """
    if numpy_core.usable(x, slope, target):
        return numpy_core.rectify(x, slope, gain, clamp, target)
    wide = x.astype(np.float32) if x.dtype.itemsize == 2 else x
    computing = wide.dtype.type
    y = np.empty_like(wide)
    with np.errstate(all="ignore"):  # overflow and 0·inf are answers here, not accidents
        np.multiply(wide, np.asarray(slope, computing), out=y)
        np.copyto(y, wide, where=wide > 0)
        zero_slope = np.equal(slope, 0.0)
        if zero_slope.any():
            np.copyto(y, np.where(wide < 0, computing(0), wide), where=zero_slope)
        if gain != 1.0:
            np.multiply(y, computing(gain), out=y)
        if clamp is not None:
            np.clip(y, -computing(clamp), computing(clamp), out=y)
        if target is not None:
            np.copyto(target, y, casting="same_kind")
            return target
        return y.astype(x.dtype, copy=False)


def _masked_like(x: np.ma.MaskedArray[Any, Any], values: Array) -> Array:
    """Values with x's mask, which is theirs alone."""
    if x is np.ma.masked:
        return x
    mask = x.mask if x.mask is np.ma.nomask else x.mask.copy()
    return np.ma.array(values, mask=mask, fill_value=x.fill_value, hard_mask=x.hardmask, copy=False)


def _check_input(x: object) -> None:
    if not isinstance(x, np.ndarray | np.generic):
        raise InputError(f"the input must be a NumPy array, not {arguments.described(x)}")
    if x.dtype.num not in _COMMON_NUMBERS and x.dtype.name not in FLOATING_TYPES:
        raise InputError(f"the input must be of one of the types {', '.join(FLOATING_TYPES)}, not {x.dtype}")


def _checked_slope(x: Array, negative_slope: object, channel_dim: int) -> float | Array:
    """A float, or an array shaped to broadcast against x."""
    if not isinstance(negative_slope, np.ndarray):
        return arguments.slope_number(negative_slope)
    if negative_slope.dtype.num not in _COMMON_NUMBERS and negative_slope.dtype.name not in FLOATING_TYPES:
        raise InputError(f"negative_slope must hold floating-point numbers, not {negative_slope.dtype}")
    arguments.must_be_unmasked(negative_slope)
    if np.isnan(negative_slope).any():
        raise InputError("negative_slope must hold numbers; it holds NaN")
    if negative_slope.size == 1 and negative_slope.ndim <= 1:
        return negative_slope.reshape(())
    axis = arguments.channel_axis(x.shape, negative_slope.shape, channel_dim)
    return negative_slope.reshape([-1 if dim == axis else 1 for dim in range(x.ndim)])


def _target(x: Array, inplace: bool, out: Array | None) -> Array | None:
    if inplace and out is not None:
        raise InputError("inplace=True and out= exclude each other; one of them must be left away")
    target = x if inplace else out
    if target is None:
        return None
    name = "the input" if inplace else "out"
    if not isinstance(target, np.ndarray):
        raise InputError(f"{name} must be a NumPy array to be written to, not {arguments.described(target)}")
    if target.shape != x.shape or target.dtype != x.dtype:
        raise InputError(
            f"out must have the input's shape {x.shape} and type {x.dtype}, not {target.shape} and {target.dtype}"
        )
    if not target.flags.writeable:
        raise InputError(f"{name} must be writable to be written to; it is read-only")
    return target

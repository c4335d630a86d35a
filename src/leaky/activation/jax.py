"""The Leaky ReLU of JAX arrays, under `jit`, `vmap`, `grad` and every other transform.

Must be the same function as the NumPy and torch siblings: float16 and bfloat16 are computed in float32 and rounded
once. Must look at shapes and types alone, never at the numbers of an array, which may be there only later.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from leaky.activation import arguments, composed
from leaky.errors import InputError

FLOATING_TYPES = ("float16", "bfloat16", "float32", "float64")

_OPERATIONS = SimpleNamespace(where=jnp.where, nan_to_num=jnp.nan_to_num, stop_gradient=lax.stop_gradient)


def leaky_relu(
    x: Array,
    negative_slope: float | Array = 0.01,
    inplace: bool = False,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
    channel_dim: int = 1,
    out: None = None,
) -> Array:
    """gain·f(x), held at ±clamp; see `leaky.leaky_relu`. A NaN in an array of slopes is not looked for."""
    if x.dtype.name not in FLOATING_TYPES:
        raise InputError(f"the input must be of one of the types {', '.join(FLOATING_TYPES)}, not {x.dtype}")
    if inplace or out is not None:
        name = "inplace=True" if inplace else "out="
        raise InputError(f"{name} must be left away: a JAX array is never written to; under jit its memory is reused")
    gain, clamp = arguments.positive_gain(gain), arguments.positive_clamp(clamp)
    wide = x.astype(jnp.float32) if x.dtype.itemsize == 2 else x
    slope, zero_slope = _checked_slope(wide, negative_slope, channel_dim)
    with np.errstate(over="ignore"):
        bound = None if clamp is None else wide.dtype.type(clamp)
        y = composed.rectify(_OPERATIONS, wide, slope, zero_slope, wide.dtype.type(gain), bound)
    return y.astype(x.dtype)


def _checked_slope(x: Array, negative_slope: Any, channel_dim: int) -> tuple[Any, Any]:
    """The slope as a number or an array that broadcasts against x, in x's type, and where it is 0."""
    if not isinstance(negative_slope, jax.Array | np.ndarray):
        number = arguments.slope_number(negative_slope)
        with np.errstate(over="ignore"):
            return x.dtype.type(number), number == 0.0
    if negative_slope.dtype.name not in FLOATING_TYPES:
        raise InputError(f"negative_slope must hold floating-point numbers, not {negative_slope.dtype}")
    slope = jnp.asarray(negative_slope)
    if slope.size == 1 and slope.ndim <= 1:
        slope = slope.reshape(())
    else:
        axis = arguments.channel_axis(x.shape, slope.shape, channel_dim)
        slope = slope.reshape([-1 if dim == axis else 1 for dim in range(x.ndim)])
    return slope.astype(x.dtype), slope == 0

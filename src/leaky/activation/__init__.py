"""The Leaky ReLU: one function for every framework's arrays, the same to the last rule in each.

Must not import a framework: whose array came tells which sibling module is imported.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from leaky.activation.arguments import described
from leaky.errors import InputError

if TYPE_CHECKING:
    import jax
    import torch

    Slope: TypeAlias = float | torch.Tensor | np.ndarray[Any, Any] | jax.Array

_siblings: dict[str, Callable[..., Any]] = {}
"""The function of each framework that was needed so far: an import statement at every call would cost a microsecond."""

# What the common call of a tensor needs of torch, once torch is there; until then no tensor can come.
_tensor: Any = None
_types: tuple[Any, ...] = ()
_is_watched: Any = None
_torch_leaky_relu: Any = None

ArrayOrTensor = TypeVar("ArrayOrTensor", bound="np.ndarray[Any, Any] | torch.Tensor | jax.Array")


def leaky_relu(
    input: ArrayOrTensor,  # noqa: A002 - torch's own name, so that this stands wherever F.leaky_relu does
    negative_slope: Slope = 0.01,
    inplace: bool = False,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
    channel_dim: int = 1,
    out: ArrayOrTensor | None = None,
) -> ArrayOrTensor:
    """The Leaky ReLU, y = gain·f(x), held at ±clamp, with f(x) = x for x > 0 and αx otherwise.

    Takes the place of `torch.nn.functional.leaky_relu`, whose arguments come first, in its order and by its names.
    Value and derivative are torch's `leaky_relu` bit for bit: the derivative at 0 is α; at NaN the value is NaN and the
    derivative α. At slope 0 they are `relu`'s: −inf gives 0. float16 and bfloat16 are computed in float32 and rounded
    once. Any slope is right, negative ones and those above 1 too, also in place.

    Args:
        input: x, a NumPy array, a torch tensor or a JAX array of any shape, float16, bfloat16, float32 or float64; a
            NumPy array may also be a long double or of the other byte order. The result has a masked array's mask.
        negative_slope: α, a number or a one-dimensional array or tensor with one slope a channel. A tensor that
            requires a gradient gets it.
        inplace: write the result over x, which a JAX array does not allow.
        gain: factor on the output, > 0; `leaky.theory.gain(α)` keeps the second moment of a Gaussian input.
        clamp: bound on |y| after the gain, > 0; None for no bound. Beyond it the derivative is 0, at it the inner one.
        channel_dim: the dimension of x along which several slopes run.
        out: write the result into this array or tensor, of x's shape and type. Allows no gradient.

    Returns:
        y, of x's shape, type and memory layout; x or out itself where the result was written there.

    Raises:
        InputError: for integers, complex numbers, a NaN slope (not in a JAX array, whose numbers may come later),
            slopes that do not fit, a gain or clamp that is not positive, or an `out` that does not fit or would need a
            gradient.

    Note:
        α is rounded to float32 in front of anything but float64, as torch does. A learnable slope that is exactly 0
        follows `relu` too, and still gets its gradient. JAX takes subnormal numbers for 0, as everywhere.
    """
    x = input
    if (  # the common call of a small network, whose time is all in asking
        type(x) is _tensor
        and type(negative_slope) is float
        and gain == 1.0
        and clamp is None
        and out is None
        and not inplace
        and 0.0 < negative_slope < 1.0
        and x.dtype in _types
        and not x.requires_grad  # type: ignore[union-attr]
        and not _is_watched(x)
    ):
        return _torch_leaky_relu(x, negative_slope)  # type: ignore[no-any-return]
    if hasattr(type(x), "__torch_function__"):  # a tensor, or what stands for one while a model is traced
        framework = "torch"
    elif isinstance(x, np.ndarray | np.generic):
        framework = "numpy"
    elif "jax" in sys.modules and isinstance(x, sys.modules["jax"].Array):  # else none can come
        framework = "jax"
    else:
        raise InputError(f"the input must be a NumPy array, a torch tensor or a JAX array, not {described(x)}")
    function = _siblings.get(framework) or _load(framework)
    return function(  # type: ignore[no-any-return]
        x, negative_slope, inplace, gain=gain, clamp=clamp, channel_dim=channel_dim, out=out
    )


def _load(framework: str) -> Callable[..., Any]:
    sibling = importlib.import_module(f"leaky.activation.{framework}")
    function: Callable[..., Any] = sibling.leaky_relu
    _siblings[framework] = function
    if framework == "torch":
        _remember_torch(importlib.import_module("torch"))
    return function


def _remember_torch(torch: Any) -> None:
    global _tensor, _types, _is_watched, _torch_leaky_relu  # a lookup in a module costs less than in a class
    _types = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    _is_watched = torch.overrides.has_torch_function_unary
    _torch_leaky_relu = torch._C._nn.leaky_relu
    _tensor = torch.Tensor


# A compiler that traces the first call must find the sibling there: that of older torch cannot import while it traces.
if "torch" in sys.modules:
    _load("torch")

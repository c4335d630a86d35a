"""The Leaky ReLU from the operations that JAX and Keras have in common, differentiable by the framework itself.

Must have the value and the derivative of `formula`, under every transform: the choices alone pass gradients on, so that
no branch that was not taken brings a NaN into them.
"""

from __future__ import annotations

from typing import Any


def rectify(ops: Any, x: Any, slope: Any, zero_slope: Any, gain: float, clamp: float | None) -> Any:
    """gain·f(x), held at ±clamp.

    Args:
        ops: has `where`, `nan_to_num` and `stop_gradient`: `jax.numpy` with `jax.lax`, or `keras.ops`.
        x: in the type that computes.
        slope: α, a number, or an array of x's type that broadcasts against x.
        zero_slope: whether α is 0, where `relu`'s rules hold: a bool, or an array like the slope.
        gain: > 0.
        clamp: > 0 or None.
    """
    if zero_slope is True:
        y = ops.where(x <= 0, _flat(ops, x), x)
    else:
        # what is not chosen is made finite: it would still reach the gradients, as 0·inf = NaN
        y = ops.where(x > 0, x, slope * ops.where(x > 0, 0.0, x))
    if not isinstance(zero_slope, bool):
        # 0 in value, and yet the derivative x by a slope that is 0 now but learnable
        learnable = (slope - ops.stop_gradient(slope)) * ops.nan_to_num(x)
        y = ops.where(zero_slope, ops.where(x <= 0, _flat(ops, x) + learnable, x), y)
    if gain != 1.0:
        y = y * gain
    if clamp is None:
        return y
    return ops.where(y > clamp, clamp, ops.where(y < -clamp, -clamp, y))  # not clip, whose derivative at NaN is 0


def _flat(ops: Any, x: Any) -> Any:
    """0 for x < 0 and x otherwise, so that −0 and NaN stay; without a derivative, `relu`'s at 0."""
    return ops.stop_gradient(ops.where(x < 0, 0.0, x))

"""The Leaky ReLU composed of plain torch operations, for every device, transform, compiler and exporter.

Must hold the one semantics everywhere: float16 and bfloat16 are computed in float32 and rounded once, NaN keeps the
derivative α behind a clamp too, and slope 0 is `relu`. Everything here is TorchScript as well as Python.
"""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor
from torch.nn import functional


def rectify(x: Tensor, negative_slope: float, gain: float, clamp: Optional[float]) -> Tensor:  # noqa: UP045 TorchScript
    """gain·f(x), held at ±clamp, for one fixed slope."""
    if gain == 1.0 and clamp is None:
        return functional.relu(x) if negative_slope == 0.0 else functional.leaky_relu(x, negative_slope)
    wide = _widened(x)
    y = functional.relu(wide) if negative_slope == 0.0 else functional.leaky_relu(wide, negative_slope)
    return _bounded(y, gain, clamp).to(x.dtype)


def rectify_channels(
    x: Tensor,
    negative_slope: Tensor,
    gain: float,
    clamp: Optional[float],  # noqa: UP045 TorchScript
    channel_dim: int,
    as_prelu: bool,
    none_is_zero: bool,
    learnable: bool,
) -> Tensor:
    """gain·f(x), held at ±clamp, for a slope or slopes in a tensor.

    Args:
        x: any shape.
        negative_slope: of no dimension, or of one, along `channel_dim` of x.
        gain: > 0.
        clamp: > 0 or None.
        channel_dim: not negative.
        as_prelu: whether to use torch's `prelu`, which observers and exporters know. Its forward-mode derivative at 0
            is 1 and `vmap` over slopes makes it warn, so it must not meet these.
        none_is_zero: whether it is known that no slope is 0 and none needs the rules of `relu`.
        learnable: whether a derivative by the slopes may be asked for.
    """
    wide = _widened(x)
    slope, zero_slope = negative_slope.to(wide.dtype), negative_slope == 0
    y = _prelu(wide, slope, channel_dim) if as_prelu else x
    if slope.dim() == 1:
        shape = [1] * wide.dim()
        shape[channel_dim] = -1
        slope, zero_slope = slope.reshape(shape), zero_slope.reshape(shape)
    if not as_prelu:  # what is not chosen must be finite: it would still reach the gradients, as 0·inf = NaN
        y = torch.where(wide > 0, wide, slope * torch.where(wide > 0, 0.0, wide))
    if not none_is_zero:
        y = torch.where(zero_slope, _relu_of_zero_slope(wide, slope, learnable), y)
    return _bounded(y, gain, clamp).to(x.dtype)


def _prelu(x: Tensor, slope: Tensor, channel_dim: int) -> Tensor:
    """The `prelu` of torch, whose channels are always along dimension 1, for channels along any."""
    if slope.dim() == 0:
        return torch.prelu(x, slope)
    if x.dim() == 1:
        return torch.prelu(x.unsqueeze(0), slope).squeeze(0)
    return torch.prelu(x.transpose(1, channel_dim), slope).transpose(1, channel_dim)


def _relu_of_zero_slope(x: Tensor, zero: Tensor, learnable: bool) -> Tensor:
    """`relu`, and yet with the derivative x by a slope that is 0 now but learnable.

    No operator of torch's that rectifies is used, so that an observer finds one site here and not two.
    """
    flat = torch.where(x < 0, 0.0, x).detach()
    if learnable:
        flat = flat + (zero - zero.detach()) * torch.nan_to_num(x)  # 0 in value
    return torch.where(x <= 0, flat, x)


def _bounded(y: Tensor, gain: float, clamp: Optional[float]) -> Tensor:  # noqa: UP045 TorchScript
    """gain·y, held at ±clamp. torch's `clamp` has the derivative 0 at NaN; the choices here let it through."""
    if gain != 1.0:
        y = y * gain
    if clamp is None:
        return y
    return torch.where(y > clamp, clamp, torch.where(y < -clamp, -clamp, y))


def _widened(x: Tensor) -> Tensor:
    """The input in the type that computes: float32 for the half types."""
    return x.float() if x.dtype == torch.float16 or x.dtype == torch.bfloat16 else x

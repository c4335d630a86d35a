"""Autograd functions for stacked variants, where autograd is slow or would sum in another order than a single layer.

A stacked value has the shape (variants, samples, …). Each function must give every variant the bits that torch's own
operation gives it alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

FEW_ELEMENTS = 16_384
"""Elements a variant below which the start of a kernel costs more than its work."""


@dataclass(frozen=True, eq=False)
class Slopes:
    """One slope a variant: runs of the same slope as (first, one past the last, slope), and as a tensor (variants,)."""

    runs: tuple[tuple[int, int, float], ...]
    values: Tensor

    @classmethod
    def of(cls, slopes: Sequence[float], like: Tensor | None = None) -> Slopes:
        """From a slope a variant, with the type and place of `like`."""
        runs: list[tuple[int, int, float]] = []
        for place, slope in enumerate(slopes):
            if runs and runs[-1][2] == slope:
                runs[-1] = (runs[-1][0], place + 1, slope)
            else:
                runs.append((place, place + 1, slope))
        values = torch.tensor(slopes) if like is None else torch.tensor(slopes, dtype=like.dtype, device=like.device)
        return cls(tuple(runs), values)

    def beside(self, x: Tensor) -> Tensor:
        """The tensor, in a shape that meets the variants of x."""
        return self.values.to(x.dtype).view(-1, *(1,) * (x.ndim - 1))

    def short(self, x: Tensor) -> bool:
        """Whether a kernel a run would cost more in starts than in work."""
        return len(self.runs) > 2 and x.numel() < FEW_ELEMENTS * len(x)


class Rectify(torch.autograd.Function):
    """A Leaky ReLU with a slope a variant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slopes: Slopes) -> Tensor:
        """f(x), shape (variants, samples, …)."""
        ctx.save_for_backward(x)
        ctx.slopes = slopes
        if slopes.short(x):
            return torch.ops.aten._prelu_kernel(x, slopes.beside(x))  # type: ignore[no-any-return]
        y = torch.empty_like(x)
        for first, end, slope in slopes.runs:
            torch.ops.aten.leaky_relu.out(x[first:end], slope, out=y[first:end])
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """∂L/∂x."""
        (x,), slopes, gradient = ctx.saved_tensors, ctx.slopes, gradients[0]
        if slopes.short(x):
            # g where x > 0, else 0 + α·g: three vectorized kernels, where a choice by a mask would be a slow one
            passed = torch.ops.aten.threshold_backward(gradient, x, 0)
            return passed.addcmul_(slopes.beside(x), gradient - passed), None
        out = torch.empty_like(x)
        for first, end, slope in slopes.runs:
            part = slice(first, end)
            torch.ops.aten.leaky_relu_backward.grad_input(gradient[part], x[part], slope, False, grad_input=out[part])
        return out, None


class Multiply(torch.autograd.Function):
    """A linear layer a variant, with the products of the backward pass written as a layer alone has them.

    Derived from `baddbmm`, the weight's gradient would be the transposed product, which sums in another order.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """x·Wᵀ + b; x: (variants, rows, inputs), weight: (variants, outputs, inputs), bias: (variants, outputs)."""
        ctx.save_for_backward(x, weight)
        transposed = weight.transpose(1, 2)
        return torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, transposed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """∂L/∂x, ∂L/∂W and ∂L/∂b."""
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous()  # a sum over strided rows has another order
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if needs_x else None,
            torch.bmm(gradient.transpose(1, 2), x) if needs_weight else None,
            gradient.sum(1) if needs_bias else None,
        )


class LargestApart(torch.autograd.Function):
    """Max pooling over windows that do not overlap, by the vectorized kernel that torch has for channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, pool: nn.MaxPool2d) -> Tensor:
        """The largest of each window; x: (maps, channels, height, width)."""
        last = x.contiguous(memory_format=torch.channels_last)
        y, places = torch.ops.aten.max_pool2d_with_indices(
            last, _pair(pool.kernel_size), _pair(pool.stride), _pair(pool.padding), _pair(pool.dilation), pool.ceil_mode
        )
        ctx.save_for_backward(places)
        ctx.shape = x.shape
        return y.contiguous()  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """∂L/∂x: each gradient goes to the place that was the largest."""
        (places,), gradient = ctx.saved_tensors, gradients[0]
        out = gradient.new_zeros(*ctx.shape[:2], math.prod(ctx.shape[2:]))
        out.scatter_(2, places.contiguous().flatten(2), gradient.flatten(2))
        return out.view(ctx.shape), None


def windows_apart(pool: nn.Module) -> bool:
    """Whether a pool takes the largest of windows that do not overlap."""
    if type(pool) is not nn.MaxPool2d or pool.return_indices:
        return False
    steps = zip(_pair(pool.kernel_size), _pair(pool.stride), strict=True)
    return all(stride >= size for size, stride in steps) and _pair(pool.dilation) == [1, 1]


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)

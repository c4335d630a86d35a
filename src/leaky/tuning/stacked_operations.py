"""Operations on many variants of a layer at once: one table from a module or function to its stacked form.

A stacked value has the shape (samples, variants, …). Each variant's numbers must be those that the operation gives it
alone; nothing may mix variants.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Parameters = dict[str, Tensor]
"""Stacked parameters and buffers of one module, by their local names: shape (variants, …)."""


class Rectify(torch.autograd.Function):
    """A Leaky ReLU with a slope a variant: torch's own kernel on each run of variants with the same slope."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, runs: Sequence[tuple[int, int, float]]) -> Tensor:
        """f(x); runs: (first variant, one past the last, slope), together all variants."""
        ctx.save_for_backward(x)
        ctx.runs = runs
        y = torch.empty_like(x)
        for first, end, slope in runs:
            torch.ops.aten.leaky_relu.out(x[:, first:end], slope, out=y[:, first:end])
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """∂L/∂x."""
        (x,), gradient = ctx.saved_tensors, gradients[0]
        out = torch.empty_like(x)
        for first, end, slope in ctx.runs:
            part = slice(first, end)
            torch.ops.aten.leaky_relu_backward.grad_input(
                gradient[:, part], x[:, part], slope, False, grad_input=out[:, part]
            )
        return out, None


def rectify(x: Tensor, slopes: Sequence[float]) -> Tensor:
    """f(x) with a slope a variant, shape (samples, variants, …)."""
    runs: list[tuple[int, int, float]] = []
    for place, slope in enumerate(slopes):
        if runs and runs[-1][2] == slope:
            runs[-1] = (runs[-1][0], place + 1, slope)
        else:
            runs.append((place, place + 1, slope))
    return Rectify.apply(x, runs)  # type: ignore[no-any-return,no-untyped-call]


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


def _apart(y: Tensor, variants: int) -> Tensor:
    """Channels of all variants in one dimension → variants and channels."""
    return y.reshape(len(y), variants, y.shape[1] // variants, *y.shape[2:])


def _linear(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    rows = x.movedim(1, 0)
    flat = rows.flatten(1, -2) if rows.ndim > 3 else rows
    y: Tensor = Multiply.apply(flat, p["weight"], p.get("bias"))  # type: ignore[no-untyped-call]
    return (y.reshape(*rows.shape[:-1], -1) if rows.ndim > 3 else y).movedim(0, 1)


def _convolution(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    assert isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    variants = x.shape[1]
    convolve: Callable[..., Tensor] = {
        nn.Conv1d: functional.conv1d,
        nn.Conv2d: functional.conv2d,
        nn.Conv3d: functional.conv3d,
    }[type(module)]
    bias = p.get("bias")
    y = convolve(
        x.flatten(1, 2),
        p["weight"].flatten(0, 1),
        None if bias is None else bias.flatten(),
        module.stride,
        module.padding,
        module.dilation,
        variants * module.groups,
    )
    return _apart(y, variants)


def _batch_norm(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
    mean, variance = p.get("running_mean"), p.get("running_var")
    if module.training and "num_batches_tracked" in p:
        p["num_batches_tracked"].add_(1)
    y = functional.batch_norm(
        x.flatten(1, 2),
        None if mean is None else mean.view(-1),
        None if variance is None else variance.view(-1),
        p["weight"].flatten() if "weight" in p else None,
        p["bias"].flatten() if "bias" in p else None,
        module.training or mean is None,
        0.0 if module.momentum is None else module.momentum,
        module.eps,
    )
    return _apart(y, x.shape[1])


def _layer_norm(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    assert isinstance(module, nn.LayerNorm)
    y = functional.layer_norm(x, module.normalized_shape, None, None, module.eps)
    for name, apply in (("weight", torch.mul), ("bias", torch.add)):
        if name in p:
            each = p[name]
            y = apply(y, each.reshape(each.shape[0], *(1,) * (x.ndim - 1 - each.ndim), *each.shape[1:]))
    return y


def _prelu(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    weight = p["weight"]
    if weight.shape[1] == 1:
        return functional.prelu(x, weight.flatten())
    return _apart(functional.prelu(x.flatten(1, 2), weight.flatten()), x.shape[1])


def _flatten(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    assert isinstance(module, nn.Flatten)
    return x.flatten(2)


def _per_map(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    """Pooling works on each map alone: variants count as channels."""
    y: Tensor = module(x.flatten(1, 2))
    return _apart(y, x.shape[1])


def _per_element(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    y: Tensor = module(x)
    return y


_ELEMENTWISE = (
    *(nn.ELU, nn.GELU, nn.SiLU, nn.SELU, nn.CELU, nn.Mish, nn.Softplus, nn.Hardswish, nn.Hardtanh, nn.ReLU6),
    *(nn.Tanh, nn.Sigmoid, nn.Softsign, nn.LogSigmoid, nn.Hardsigmoid, nn.Tanhshrink, nn.Identity, nn.Dropout),
)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)

MODULES: dict[type[nn.Module], Callable[[nn.Module, Tensor, Parameters], Tensor]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    nn.PReLU: _prelu,
    nn.Flatten: _flatten,
    **dict.fromkeys(_POOLS, _per_map),
    **dict.fromkeys(_ELEMENTWISE, _per_element),
}
"""Exact types only: a subclass may compute something else."""

FUNCTIONS: frozenset[Any] = frozenset(
    {operator.add, operator.sub, operator.mul, operator.neg, operator.iadd, torch.add, torch.sub, torch.mul}
    | {torch.tanh, torch.sigmoid, torch.exp, functional.gelu, functional.silu, functional.elu, functional.softplus}
    | {functional.tanh, functional.sigmoid, functional.mish, functional.selu}
)
"""Functions that work on each element alone, of stacked values and plain numbers."""
METHODS = frozenset({"tanh", "sigmoid", "exp", "add", "sub", "mul", "neg"})
"""The same as methods."""


def unsupported(module: nn.Module) -> str:
    """Why a module cannot be stacked; "" if it can."""
    kind = type(module)
    if kind not in MODULES:
        return f"{kind.__module__}.{kind.__name__} has no stacked form"
    if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) != (1, -1):
        return "nn.Flatten is stacked only from dimension 1 to the last"
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and module.padding_mode != "zeros":
        return f"a convolution with padding mode {module.padding_mode!r} has no stacked form"
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.momentum is None:
        return "batch normalisation with a cumulative average has no stacked form"
    return ""

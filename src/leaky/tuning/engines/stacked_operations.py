"""Operations on many variants of a layer at once: one table from a module or function to its stacked form.

A stacked value has the shape (variants, samples, …). Each variant's numbers must be those that the operation gives it
alone; nothing may mix variants.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from leaky.tuning.engines.stacked_functions import LargestApart, Multiply, Rectify, Slopes, windows_apart

Parameters = dict[str, Tensor]
"""Stacked parameters and buffers of one module, by their local names: shape (variants, …)."""


def rectify(x: Tensor, slopes: Slopes) -> Tensor:
    """f(x) with a slope a variant, shape (variants, samples, …)."""
    if len(slopes.runs) == 1:  # torch's own derivative costs less than one in Python
        return functional.leaky_relu(x, slopes.runs[0][2])
    return Rectify.apply(x, slopes)  # type: ignore[no-any-return,no-untyped-call]


def _each(layer: Callable[[Tensor, Parameters], Tensor], x: Tensor, p: Parameters) -> Tensor:
    """A layer that has no faster form for many: one variant after another, with the same bits as alone."""
    if len(x) == 1:  # without a copy
        return layer(x.squeeze(0), {name: each.squeeze(0) for name, each in p.items()}).unsqueeze(0)
    own = [dict(zip(p, values, strict=True)) for values in zip(*(each.unbind() for each in p.values()), strict=True)]
    return torch.stack([layer(part, mine) for part, mine in zip(x.unbind(), own, strict=True)])


def _linear(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    if len(x) == 1:
        return _each(lambda part, own: functional.linear(part, own["weight"], own.get("bias")), x, p)
    y: Tensor = Multiply.apply(x.flatten(1, -2), p["weight"], p.get("bias"))  # type: ignore[no-untyped-call]
    return y.reshape(*x.shape[:-1], -1)


def _convolution(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    """Grouped convolution would sum in another order, and is no faster than the variants one after another."""
    assert isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    convolve: Callable[..., Tensor] = {
        nn.Conv1d: functional.conv1d,
        nn.Conv2d: functional.conv2d,
        nn.Conv3d: functional.conv3d,
    }[type(module)]
    settings = (module.stride, module.padding, module.dilation, module.groups)
    return _each(lambda part, own: convolve(part, own["weight"], own.get("bias"), *settings), x, p)


def _batch_norm(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    assert isinstance(module, nn.modules.batchnorm._BatchNorm)
    mean, variance = p.get("running_mean"), p.get("running_var")
    if module.training and "num_batches_tracked" in p:
        p["num_batches_tracked"].add_(1)
    y = functional.batch_norm(
        x.transpose(0, 1).flatten(1, 2),  # variants count as channels
        None if mean is None else mean.view(-1),
        None if variance is None else variance.view(-1),
        p["weight"].flatten() if "weight" in p else None,
        p["bias"].flatten() if "bias" in p else None,
        module.training or mean is None,
        0.0 if module.momentum is None else module.momentum,
        module.eps,
    )
    return y.view(len(y), len(x), *x.shape[2:]).transpose(0, 1).contiguous()


def _layer_norm(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    assert isinstance(module, nn.LayerNorm)
    y = functional.layer_norm(x, module.normalized_shape, None, None, module.eps)
    for name, apply in (("weight", torch.mul), ("bias", torch.add)):
        if name in p:
            each = p[name]
            y = apply(y, each.reshape(len(each), *(1,) * (x.ndim - each.ndim), *each.shape[1:]))
    return y


def _prelu(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    return _each(lambda part, own: functional.prelu(part, own["weight"]), x, p)


def _flatten(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    assert isinstance(module, nn.Flatten)
    return x.flatten(2)


def _per_map(module: nn.Module, x: Tensor, p: Parameters) -> Tensor:
    """Pooling works on each map alone: variants count as samples."""
    maps = x.flatten(0, 1)
    apart = windows_apart(module) and maps.ndim == 4
    y: Tensor = LargestApart.apply(maps, module) if apart else module(maps)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:2], *y.shape[1:])


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

"""The Leaky ReLU of torch tensors: the function and the module.

Must be the same function on every device, in every floating type and under every transform of torch's, and must look
to tracers and observers like the operation that it is.
"""

# No `from __future__ import annotations` here: torch.fx cannot pickle a traced module whose annotations are strings.

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import handle_torch_function, has_torch_function

from leaky.activation import arguments, running, torch_arguments, torch_core, torch_operations
from leaky.activation.torch_arguments import FLOATING_TYPES, LARGEST_FLOAT32
from leaky.errors import InputError


def _compiled_by_no_compiler() -> bool:
    """What torch 2.6 can tell of an export: it compiles, and its compiler of bytecode doesn't."""
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


_is_exporting = getattr(torch.compiler, "is_exporting", _compiled_by_no_compiler)
_WITH_AUTOCAST = tuple(each for each in ("cpu", "cuda", "mps", "xpu", "hpu") if torch.amp.is_autocast_available(each))


def leaky_relu(
    x: Tensor,
    negative_slope: float | Tensor = 0.01,
    inplace: bool = False,
    *,
    gain: float = 1.0,
    clamp: float | None = None,
    channel_dim: int = 1,
    out: Tensor | None = None,
) -> Tensor:
    """gain·f(x), held at ±clamp; see `leaky.leaky_relu`."""
    if has_torch_function((x, negative_slope, out)):  # a symbolic trace, or a mode that watches calls
        return handle_torch_function(
            leaky_relu,
            (x, negative_slope, out),
            x,
            negative_slope,
            inplace,
            gain=gain,
            clamp=clamp,
            channel_dim=channel_dim,
            out=out,
        )
    if type(x) is Tensor and type(negative_slope) is float and gain == 1.0 and clamp is None and out is None:
        # the common call, without what all the other cases need
        followed = torch.compiler.is_compiling() or torch._C._is_tracing()  # then a size is no number to decide by
        small = followed or x.numel() < torch_core.MASKED
        finite = -LARGEST_FLOAT32 <= negative_slope <= LARGEST_FLOAT32  # not NaN, and a number in every type
        if finite and negative_slope and small and not inplace and x.dtype in FLOATING_TYPES:
            return torch._C._nn.leaky_relu(x, negative_slope)
    torch_arguments.check_input(x)
    slope, axis = torch_arguments.checked_slope(x, negative_slope, channel_dim)
    gain, clamp = arguments.positive_gain(gain), arguments.positive_clamp(clamp)
    if x.dtype != torch.float64:
        slope, clamp = torch_arguments.in_float32(slope, clamp)
    torch_arguments.check_target(x, slope, inplace, out)
    return _rectify(x, slope, gain, clamp, axis, inplace, out)


def _rectify(
    x: Tensor, slope: float | Tensor, gain: float, clamp: float | None, axis: int, inplace: bool, out: Tensor | None
) -> Tensor:
    """The one place where values are computed, after every check.

    Args:
        x: of a floating type.
        slope: a float; or a tensor of no dimension, or of one, with a slope a channel.
        gain: > 0.
        clamp: > 0 or None.
        axis: the non-negative dimension of x along which several slopes run.
        inplace: whether the result goes over x.
        out: the tensor that the result goes into, if any; never with `inplace`.
    """
    y = _through_core(x, slope, gain, clamp, axis, inplace, out)
    if y is not None:
        return y
    if isinstance(slope, float) and gain == 1.0 and clamp is None:
        if inplace and slope >= 0:  # below 0, torch cannot tell the sign of x from αx in the backward pass
            return torch.relu_(x) if slope == 0 else functional.leaky_relu_(x, slope)
        if out is not None and not torch_arguments.overlap(x, out):
            return torch.clamp_min(x, 0.0, out=out) if slope == 0 else torch._C._nn.leaky_relu(x, slope, out=out)
    # what the backward pass keeps must not be what is written over
    y = _composed(x.clone() if inplace and torch.is_grad_enabled() else x, slope, gain, clamp, axis)
    if inplace:
        return x.copy_(y)
    return y if out is None else out.copy_(y)


def _through_core(
    x: Tensor, slope: float | Tensor, gain: float, clamp: float | None, axis: int, inplace: bool, out: Tensor | None
) -> Tensor | None:
    """The result through the compiled core; None where it cannot be used or is not faster."""
    if not torch_core.usable(x) or x.numel() < torch_core.WORTHWHILE:
        return None
    differentiable = torch.is_grad_enabled()
    if differentiable and isinstance(slope, Tensor) and slope.requires_grad:
        return None
    plain = isinstance(slope, float) and gain == 1.0 and clamp is None
    target = x if inplace else out
    needs_gradient = x.requires_grad and differentiable
    worthwhile = torch_core.pays_masked if needs_gradient else torch_core.pays_fresh
    if target is None and (plain or needs_gradient) and not worthwhile(x):
        return None
    plan = torch_core.plan(x, slope, gain, clamp, axis)
    if plan is None:
        return None
    if target is not None:
        return target if torch_core.write(x, target, plan) else None
    if needs_gradient:
        return torch_core.Masked.apply(x, plan)  # type: ignore[no-any-return, no-untyped-call]
    y = torch.empty_like(x)
    torch_core.forward(x, y, plan, fresh=True)
    return y


def _composed(x: Tensor, slope: float | Tensor, gain: float, clamp: float | None, axis: int) -> Tensor:
    """A fresh result from plain torch operations; an observer is told that all of them are one rectifier."""
    if isinstance(slope, float):
        if gain == 1.0 and clamp is None:
            return torch_operations.rectify(x, slope, gain, clamp)
        with _announced(gain, clamp):
            return torch_operations.rectify(x, slope, gain, clamp)
    legible = torch_arguments.has_values(x) and torch_arguments.has_values(slope)
    forward_mode = torch_arguments.has_tangent(x) or torch_arguments.has_tangent(slope)
    none_is_zero = legible and 0.0 not in torch_arguments.numbers(slope)
    learnable = (slope.requires_grad or forward_mode or not legible) and not torch.onnx.is_in_onnx_export()
    as_prelu = (legible and not forward_mode) or _is_exporting()
    with _announced(gain, clamp), _without_autocast(x):
        return torch_operations.rectify_channels(
            x, slope, gain, clamp, axis, as_prelu=as_prelu, none_is_zero=none_is_zero, learnable=learnable
        )


def _announced(gain: float, clamp: float | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if torch.compiler.is_compiling() else running.bounds(gain, clamp)


def _without_autocast(x: Tensor) -> contextlib.AbstractContextManager[None]:
    """Autocast would run `prelu`, alone of all that is used here, in a half type."""
    device = x.device.type
    known = torch.compiler.is_compiling()  # the compiler of older torch follows no question of what is available
    available = device in _WITH_AUTOCAST if known else torch.amp.is_autocast_available(device)
    if available and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return contextlib.nullcontext()


class LeakyReLU(nn.LeakyReLU):
    """gain·f(x), held at ±clamp, as a module; without gain and clamp what `nn.LeakyReLU` or `nn.PReLU` is.

    It is an `nn.LeakyReLU`, so that code which looks for rectifiers to exchange, to count or to initialise for finds
    it; what reads `negative_slope` from any of them must know that here it may be a tensor.

    Args:
        negative_slope: α, a number, or a sequence or tensor with one slope a channel. A `nn.Parameter` is learnable.
        inplace: write the result over the input.
        gain: factor on the output, > 0.
        clamp: bound on the output's magnitude, > 0; None for no bound.
        channel_dim: the dimension of the input along which several slopes run.
        learnable: make the slope a parameter.

    Attributes:
        negative_slope: a float that is no state; or a parameter, if learnable, or a buffer, of one slope a channel.

    Raises:
        InputError: for a slope, gain or clamp that `leaky.leaky_relu` refuses.
    """

    __constants__ = ("channel_dim", "clamp", "gain", "inplace", "learnable")  # type: ignore[assignment]
    channel_dim: int  # an annotation of its own: TorchScript would take the base's, where the slope is a float

    def __init__(
        self,
        negative_slope: float | Sequence[float] | NDArray[Any] | Tensor = 0.01,
        inplace: bool = False,
        *,
        gain: float = 1.0,
        clamp: float | None = None,
        channel_dim: int = 1,
        learnable: bool = False,
    ) -> None:
        nn.Module.__init__(self)  # not the base's, which makes the slope a float
        self.inplace = inplace
        self.gain = arguments.positive_gain(gain)
        self.clamp = arguments.positive_clamp(clamp)
        self.channel_dim = channel_dim
        slope = torch_arguments.module_slope(negative_slope, learnable)
        self.learnable = isinstance(slope, nn.Parameter)
        self.negative_slope: float | Tensor  # type: ignore[assignment]  # here: at the class, TorchScript would read it
        if isinstance(slope, float | nn.Parameter):
            self.negative_slope = slope
        else:
            self.register_buffer("negative_slope", slope)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the base's name
        if torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self._scripted(input)
        return leaky_relu(
            input,
            self.negative_slope,
            self.inplace,
            gain=self.gain,
            clamp=self.clamp,
            channel_dim=self.channel_dim,
        )

    def _scripted(self, x: Tensor) -> Tensor:
        source = x.clone() if self.inplace else x
        slope = self.negative_slope
        if isinstance(slope, float):
            y = torch_operations.rectify(source, slope, self.gain, self.clamp)
        else:
            slope = slope.reshape([]) if slope.numel() == 1 else slope
            axis = self.channel_dim if self.channel_dim >= 0 else self.channel_dim + x.dim()
            y = torch_operations.rectify_channels(
                source, slope, self.gain, self.clamp, axis, as_prelu=True, none_is_zero=False, learnable=self.learnable
            )
        return x.copy_(y) if self.inplace else y

    def extra_repr(self) -> str:
        parts = [_slope_repr(self.negative_slope)]
        parts += [f"gain={self.gain:g}"] if self.gain != 1.0 else []
        parts += [f"clamp={self.clamp:g}"] if self.clamp is not None else []
        parts += [f"channel_dim={self.channel_dim}"] if self.channel_dim != 1 else []
        parts += ["learnable=True"] if self.learnable else []
        parts += ["inplace=True"] if self.inplace else []
        return ", ".join(parts)

    def to_torch(self) -> nn.Module:
        """The module of torch's own that computes the same, for exporters and quantisers that know only those.

        Returns:
            `nn.LeakyReLU`; `nn.ReLU` at a fixed slope of 0, whose rules are ours there; `nn.PReLU` for slopes in a
            tensor, frozen where they are not learnable. A PReLU is never in place, nor is a negative slope, of which
            torch has no gradient in place. Where a slope in a tensor is exactly 0, a PReLU gives −0 and not 0 for
            x < 0, and NaN for −inf.

        Raises:
            InputError: where no module of torch's does the same: with a gain or a clamp, or with several slopes along
                another dimension than 1.
        """
        if self.gain != 1.0 or self.clamp is not None:
            raise InputError(
                f"gain must be 1 and clamp None for a module of torch's own, not {self.gain:g} and {self.clamp}; "
                "fold the gain into the next layer's weights, or keep this module"
            )
        slope = self.negative_slope
        plain: nn.Module
        if isinstance(slope, float):
            plain = nn.LeakyReLU(slope, self.inplace and slope > 0) if slope != 0.0 else nn.ReLU(self.inplace)
        elif slope.numel() > 1 and self.channel_dim != 1:
            raise InputError(f"channel_dim must be 1 for nn.PReLU, not {self.channel_dim}")
        else:
            plain = nn.PReLU(slope.numel(), device=slope.device, dtype=slope.dtype)
            plain.weight = nn.Parameter(slope.detach().reshape(-1).clone(), requires_grad=self.learnable)
        return plain.train(self.training)


def _slope_repr(slope: float | Tensor) -> str:
    if isinstance(slope, float):
        return f"negative_slope={slope:g}"
    if slope.numel() == 1:
        return f"negative_slope={slope.item():g}"
    return f"negative_slope={slope.numel()} slopes in [{slope.min().item():g}, {slope.max().item():g}]"

"""The arguments of the Leaky ReLU of torch tensors, checked: what must hold, what came.

Must cost next to nothing, and must not look at numbers where that would wait for a device or break a trace.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from leaky.activation import arguments
from leaky.errors import InputError

FLOATING_TYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)

LARGEST_FLOAT32 = torch.finfo(torch.float32).max


def module_slope(negative_slope: object, learnable: bool) -> float | Tensor:
    """The slope of a module: a float, a parameter if it is learnable, or a tensor with one slope a channel."""
    if isinstance(negative_slope, nn.Parameter):
        slopes: Tensor = negative_slope
    elif isinstance(negative_slope, Tensor):
        slopes = negative_slope.detach().clone()
    elif isinstance(negative_slope, Sequence | np.ndarray) and not isinstance(negative_slope, str):
        arguments.must_be_unmasked(negative_slope)
        slopes = torch.tensor(negative_slope, dtype=torch.get_default_dtype())
    else:
        number = arguments.slope_number(negative_slope)
        return nn.Parameter(torch.tensor([number])) if learnable else number
    if slopes.dim() > 1 or slopes.numel() == 0:
        raise InputError(
            f"negative_slope must be a number or have one dimension, one slope a channel, not {tuple(slopes.shape)}"
        )
    check_slope_values(slopes)
    return nn.Parameter(slopes) if learnable and not isinstance(slopes, nn.Parameter) else slopes


def check_input(x: object) -> None:
    if not isinstance(x, Tensor):
        raise InputError(f"the input must be a torch tensor, not {arguments.described(x)}")
    if x.dtype not in FLOATING_TYPES:
        valid = ", ".join(str(dtype) for dtype in FLOATING_TYPES)
        raise InputError(f"the input must be of one of the types {valid}, not {x.dtype}")


def checked_slope(x: Tensor, negative_slope: object, channel_dim: int) -> tuple[float | Tensor, int]:
    """The slope or slopes, and the non-negative dimension along which several run."""
    if not isinstance(negative_slope, Tensor):
        return arguments.slope_number(negative_slope), 0
    check_slope_values(negative_slope)
    with _shapes_as_numbers():
        if negative_slope.numel() == 1 and negative_slope.dim() <= 1:
            return negative_slope.reshape(()), 0
        return negative_slope, arguments.channel_axis(tuple(x.shape), tuple(negative_slope.shape), channel_dim)


def in_float32(slope: float | Tensor, clamp: float | None) -> tuple[float | Tensor, float | None]:
    """Slope and bound as all types but float64 compute with them; torch itself refuses numbers beyond float32's."""
    if isinstance(slope, float) and not -LARGEST_FLOAT32 <= slope <= LARGEST_FLOAT32:
        slope = math.copysign(math.inf, slope)
    return slope, None if clamp is not None and clamp > LARGEST_FLOAT32 else clamp


def _shapes_as_numbers() -> contextlib.AbstractContextManager[None]:
    """`torch.jit.trace` warns where a shape decides anything; the number of channels is a constant of the model."""
    # a generator's is nothing that the compiler of older torch can follow
    tracing = not torch.compiler.is_compiling() and torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return _without_a_tracers_warnings() if tracing else contextlib.nullcontext()


@contextlib.contextmanager
def _without_a_tracers_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


def check_slope_values(slopes: Tensor) -> None:
    if slopes.dtype not in FLOATING_TYPES:
        raise InputError(f"negative_slope must hold floating-point numbers, not {slopes.dtype}")
    if not has_values(slopes):
        return
    try:
        listed = numbers(slopes)
    except RuntimeError:  # one of a batch of tangents lies nowhere, and torch before 2.13 says so only here
        return
    if any(slope != slope for slope in listed):
        raise InputError("negative_slope must hold numbers; it holds NaN")


def check_target(x: Tensor, slope: float | Tensor, inplace: bool, out: Tensor | None) -> None:
    target = x if inplace else out
    if target is not None and isinstance(target, Tensor) and _is_expanded(target):
        raise InputError(
            f"{'the input' if inplace else 'out'} must have a place in memory for each of its elements to be written "
            "to; it is expanded: clone() it first"
        )
    if out is None:
        return
    if inplace:
        raise InputError("inplace=True and out= exclude each other; one of them must be left away")
    if not isinstance(out, Tensor):
        raise InputError(f"out must be a torch tensor, not {arguments.described(out)}")
    if (out.shape, out.dtype, out.device) != (x.shape, x.dtype, x.device):
        raise InputError(
            f"out must have the input's shape {tuple(x.shape)}, type {x.dtype} and device {x.device}, "
            f"not {tuple(out.shape)}, {out.dtype} and {out.device}"
        )
    needing = [("the input", x), ("negative_slope", slope), ("out", out)]
    names = [name for name, one in needing if isinstance(one, Tensor) and one.requires_grad]
    if names and torch.is_grad_enabled():
        raise InputError(
            f"out= must not be given where a gradient is required, and {' and '.join(names)} requires one; "
            "leave out= away, or call under torch.no_grad()"
        )


def _is_expanded(target: Tensor) -> bool:
    if torch.compiler.is_compiling() or target.layout != torch.strided:
        return False
    return any(stride == 0 and size > 1 for stride, size in zip(target.stride(), target.shape, strict=True))


def overlap(x: Tensor, out: Tensor) -> bool:
    """Whether writing to `out` could change what is still to be read of `x`; not where both are the same."""
    if out is x or torch.compiler.is_compiling() or not (has_values(x) and has_values(out)):
        return False
    if x.data_ptr() == out.data_ptr() and x.stride() == out.stride():
        return False
    first, second = _span(x), _span(out)
    return first[0] < second[1] and second[0] < first[1]


def _span(x: Tensor) -> tuple[int, int]:
    """The first byte of a tensor's memory and the one behind its last."""
    reach = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True)) if x.numel() else -1
    return x.data_ptr(), x.data_ptr() + (reach + 1) * x.element_size()


def has_values(tensor: Tensor) -> bool:
    """Whether the numbers in a tensor can be looked at for nothing: it is eager, on the CPU, and no tracer's symbol."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and type(tensor) in (Tensor, nn.Parameter, nn.Buffer)
        and tensor.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )


def has_tangent(tensor: Tensor) -> bool:
    """Whether forward-mode differentiation is under way for a tensor."""
    return torch.autograd.forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


def numbers(slopes: Tensor) -> list[float]:
    listed: list[float] = slopes.detach().reshape(-1).tolist()
    return listed

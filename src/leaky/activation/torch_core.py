"""The Leaky ReLU of CPU tensors through the compiled core.

Must be told from torch's own operators by nothing but time and memory: what a tracer, a compiler, a transform, a
mode or another device must see is left to plain operations (`usable`), and so is what torch does faster. The backward
pass keeps one bit an element, two with a clamp, in place of the input.
"""

# No `from __future__ import annotations`: the sibling that torch.fx pickles calls these functions.

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from leaky.activation import kernels

KINDS = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
"""The core's numbers of the data types."""

ONE, ONE_A_ROW, ONE_A_COLUMN = range(3)

WORTHWHILE = 1024
"""Elements from which the core beats a composition of plain operations, or one of them into a given output."""

MASKED = 1 << 18
"""Elements from which a mask in place of the input is worth an `autograd.Function`, which alone takes 15 µs."""


FRESH = 4 << 20
"""Bytes of a fresh output from which the core asks for huge pages, which torch does not."""


class CoreCall(NamedTuple):
    """One call of the core on dense memory, seen as [rows][length].

    Attributes:
        rows: rows of memory.
        length: elements of a row.
        how: `ONE` slope, `ONE_A_ROW` or `ONE_A_COLUMN`.
        channels: rows before the slopes repeat.
        slope: where there is one.
        slopes: else, contiguous and of the type that computes.
        gain: > 0.
        clamp: > 0 or None.
    """

    rows: int
    length: int
    how: int
    channels: int
    slope: float
    slopes: Tensor | None
    gain: float
    clamp: float | None

    def arguments(self) -> tuple[int, int, int, int, float, int, float, float]:
        """What the core takes after the two addresses."""
        slopes = 0 if self.slopes is None else self.slopes.data_ptr()
        bound = math.inf if self.clamp is None else self.clamp
        return self.rows, self.length, self.how, self.channels, self.slope, slopes, self.gain, bound


def usable(x: Tensor) -> bool:
    """Whether the core may take a tensor's memory: eager, dense, on the CPU, with nobody watching."""
    return _is_plain(x) and _is_dense(x)


def _is_plain(x: Tensor) -> bool:
    return (
        not torch.compiler.is_compiling()
        and type(x) in (Tensor, torch.nn.Parameter, torch.nn.Buffer)
        and kernels.core() is not None
        and x.device.type == "cpu"
        and not torch._C._len_torch_dispatch_stack()
        and not torch._C._functorch.is_functorch_wrapped_tensor(x)
        and torch._C._has_storage(x)  # the tensors of a gradient's batch have none
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not (x.is_neg() or x.is_conj())
        and torch.autograd.forward_ad.unpack_dual(x).tangent is None  # type: ignore[no-untyped-call]
    )


def pays_masked(x: Tensor) -> bool:
    """Whether a mask for the backward pass is worth its call."""
    return x.numel() >= MASKED


def pays_fresh(x: Tensor) -> bool:
    """Whether a fresh output of the plain function costs less through the core: its pages are then made sooner."""
    core: Any = kernels.core()
    return x.nbytes >= FRESH and bool(core.gives_huge_pages())


def _is_dense(x: Tensor) -> bool:
    return (
        x.is_contiguous()
        or (x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last))
        or (x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d))
    )


def plan(x: Tensor, slope: float | Tensor, gain: float, clamp: float | None, axis: int) -> CoreCall | None:
    """How the core computes this; None where it cannot.

    Args:
        x: a `usable` tensor.
        slope: a float; or a tensor of no dimension, or of one, that needs no gradient.
        gain: > 0.
        clamp: > 0 or None.
        axis: the dimension of x along which several slopes run.
    """
    if isinstance(slope, float):
        return CoreCall(1, x.numel(), ONE, 1, slope, None, gain, clamp)
    computing = torch.float64 if x.dtype == torch.float64 else torch.float32
    if not usable(slope) or (slope.dtype == torch.float64 and computing == torch.float32):
        return None  # a slope that rounds to 0 is no slope of 0
    if slope.numel() == 1:
        return CoreCall(1, x.numel(), ONE, 1, float(slope.detach()), None, gain, clamp)
    slopes = slope.detach().to(computing).contiguous()
    channels = slopes.numel()
    inner = math.prod(x.shape[axis + 1 :])
    if not x.is_contiguous():  # channels-last
        if axis != 1:
            return None
        inner = 1
    if inner == 1:
        return CoreCall(x.numel() // channels, channels, ONE_A_COLUMN, 1, 1.0, slopes, gain, clamp)
    return CoreCall(x.numel() // inner, inner, ONE_A_ROW, channels, 1.0, slopes, gain, clamp)


def forward(x: Tensor, target: Tensor, plan: CoreCall, *, fresh: bool, linear: int = 0, beyond: int = 0) -> None:
    """Write y over `target`, of x's type and strides; x itself does too.

    Args:
        x: a `usable` tensor.
        target: where the result goes.
        plan: how.
        fresh: whether nothing was ever written to the target's memory.
        linear: address of the first bit plane, or 0.
        beyond: address of the second, or 0.
    """
    core: Any = kernels.core()
    kind, threads = KINDS[x.dtype], torch.get_num_threads()
    core.forward(kind, x.data_ptr(), target.data_ptr(), *plan.arguments(), linear, beyond, fresh, threads)


def write(x: Tensor, target: Tensor, plan: CoreCall) -> bool:
    """Write y into a tensor that the caller gave, x itself perhaps; False where plain operations must."""
    if not target.is_inference() and (target.requires_grad and torch.is_grad_enabled()):
        return False
    if target is not x and (not usable(target) or target.stride() != x.stride() or _overlap(x, target)):
        return False
    forward(x, target, plan, fresh=False)
    if not target.is_inference():
        torch.autograd.graph.increment_version(target)
    return True


def _overlap(x: Tensor, target: Tensor) -> bool:
    first, second, size = x.data_ptr(), target.data_ptr(), x.numel() * x.element_size()
    return first != second and abs(first - second) < size


class Masked(torch.autograd.Function):
    """y from x with bit planes saved for the backward pass. Apply to x and a `CoreCall`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, plan: CoreCall) -> Tensor:
        y = torch.empty_like(x)
        planes = 1 if plan.clamp is None else 2
        masks = torch.empty(planes, plan.rows, (plan.length + 7) // 8, dtype=torch.uint8)
        linear = masks.data_ptr()
        beyond = linear + masks[0].numel() if planes == 2 else 0
        forward(x, y, plan, fresh=True, linear=linear, beyond=beyond)
        ctx.save_for_backward(masks)
        ctx.plan, ctx.strides = plan, x.stride()
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (masks,) = ctx.saved_tensors
        plan: CoreCall = ctx.plan
        if torch.is_grad_enabled() or not _is_plain(gradient) or not usable(masks):
            return _pulled_back(gradient, masks, plan, ctx.strides), None
        result = torch.empty_strided(gradient.shape, ctx.strides, dtype=gradient.dtype)
        fresh = gradient.stride() == ctx.strides
        if not fresh:  # one number for all, perhaps, as the gradient of a sum is
            gradient = result.copy_(gradient)
        linear = masks.data_ptr()
        beyond = linear + masks[0].numel() if len(masks) == 2 else 0
        core: Any = kernels.core()
        core.backward(
            KINDS[gradient.dtype],
            gradient.data_ptr(),
            result.data_ptr(),
            *plan.arguments(),
            linear,
            beyond,
            fresh,
            torch.get_num_threads(),
        )
        return result, None


def _pulled_back(gradient: Tensor, masks: Tensor, plan: CoreCall, strides: tuple[int, ...]) -> Tensor:
    """The gradient at x through plain operations, which can be differentiated and batched themselves."""
    computing = torch.float64 if gradient.dtype == torch.float64 else torch.float32
    shape = gradient.shape

    def unpacked(plane: Tensor) -> Tensor:
        bits = (plane.unsqueeze(-1) >> torch.arange(8, dtype=torch.uint8)) & 1
        flat = bits.reshape(plan.rows, -1)[:, : plan.length].reshape(-1).bool()
        return torch.as_strided(flat, shape, strides)

    inner = gradient.to(computing)
    if len(masks) == 2:
        inner = torch.where(unpacked(masks[1]), 0.0, inner)
    if plan.gain != 1.0:
        inner = inner * plan.gain
    slopes = _slopes_like(plan, shape, strides)
    scaled = torch.where(slopes == 0, 0.0, inner * slopes)
    return torch.where(unpacked(masks[0]), inner, scaled).to(gradient.dtype)


def _slopes_like(plan: CoreCall, shape: torch.Size, strides: tuple[int, ...]) -> Tensor:
    """The slopes of every element, or one for all."""
    if plan.slopes is None:
        return torch.tensor(plan.slope, dtype=torch.float64)
    if plan.how == ONE_A_COLUMN:
        rows = plan.slopes.expand(plan.rows, plan.length)
    else:
        rows = plan.slopes.repeat(plan.rows // plan.channels).unsqueeze(1).expand(plan.rows, plan.length)
    return torch.as_strided(rows.reshape(-1), shape, strides)

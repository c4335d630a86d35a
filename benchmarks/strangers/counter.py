"""An independent count of what rectifies: torch's functions as they are called, without leaky's tracer or its table.

Must share nothing with leaky. What it takes for granted: a unit is a feature of the layer that ran last (the last axis
behind a linear layer, axis 1 behind a convolution) unless the model's row says which axis, and a unit is silent if no
pre-activation of it passed the activation's threshold on any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Axis = int | tuple[int, ...] | None
"""Of the units, or the two of members and their features."""
RECTIFIERS = {
    "relu": "ReLU", "relu_": "ReLU", "leaky_relu": "LeakyReLU", "leaky_relu_": "LeakyReLU", "relu6": "ReLU6",
    "prelu": "PReLU", "threshold": "Threshold",
}  # fmt: skip
"""Names of torch's functions, and the module class that does the same."""
SMOOTH = {
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "mish": "Mish",
    "hardswish": "Hardswish",
    "softplus": "Softplus",
}
"""Counted by sites and units only: where they are flat is a convention."""
LINEAR = ("linear", "addmm", "bilinear", "embedding")
CONVOLUTIONS = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "batch_norm")


@dataclass
class Call:
    """One call of an activation in a pass.

    Attributes:
        activation: as its module class.
        units: how many.
        fired: which of them ever did, None for a smooth one.
    """

    activation: str
    units: int
    fired: Tensor | None


@dataclass
class Count:
    """What a model's passes were seen to call, in order; `passes` that differed in their calls are told apart."""

    calls: list[Call] = field(default_factory=list)
    uneven: bool = False


class Counter(TorchFunctionMode):
    """Counts one forward pass after another."""

    def __init__(self, axis: Axis) -> None:
        super().__init__()
        self.count = Count()
        self._axis, self._place, self._behind = axis, 0, -1

    def start(self) -> None:
        """Begin the next pass."""
        self._place = 0

    def end(self) -> None:
        """Notice a pass that called fewer activations than the first."""
        self.count.uneven |= self._place != len(self.count.calls)

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        activation = _bounded(name, args[1:], kwargs) or RECTIFIERS.get(name) or SMOOTH.get(name)
        z = args[0] if args else kwargs.get("input")
        if activation is not None and isinstance(z, Tensor) and z.is_floating_point():
            self._take(activation, z.detach(), _threshold(name, args, kwargs))
        result = func(*args, **kwargs)
        if name in LINEAR:
            self._behind = -1
        elif name in CONVOLUTIONS:
            self._behind = 1
        return result

    def _take(self, activation: str, z: Tensor, threshold: float) -> None:
        rows = _by_unit(z, self._behind if self._axis is None else self._axis)
        fired = None if activation in SMOOTH.values() else (rows > threshold).any(1)
        if self._place == len(self.count.calls):
            self.count.calls.append(Call(activation, len(rows), fired))
        elif fired is not None and (before := self.count.calls[self._place].fired) is not None:
            self.count.uneven |= len(before) != len(fired)
            if len(before) == len(fired):
                before |= fired
        self._place += 1


def _by_unit(z: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    """A row a unit; the last axis of a matrix, and several axes together where the units have them."""
    if isinstance(axis, tuple):
        moved = z.movedim(axis, tuple(range(len(axis))))
        return moved.flatten(0, len(axis) - 1).flatten(1)
    return z.movedim(-1 if z.ndim <= 2 else axis, 0).flatten(1) if z.ndim > 1 else z[None]


def _bounded(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What a clamp from 0 on is, by its upper bound."""
    if name not in ("clamp", "clamp_", "clamp_min", "clamp_min_", "hardtanh", "hardtanh_"):
        return None
    low = args[0] if args else kwargs.get("min", kwargs.get("min_val"))
    high = args[1] if len(args) > 1 else kwargs.get("max", kwargs.get("max_val"))
    if not isinstance(low, int | float) or low != 0:
        return None
    return {None: "ReLU", 6: "ReLU6"}.get(high)


def _threshold(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    if name != "threshold":
        return 0.0
    return float(args[1] if len(args) > 1 else kwargs["threshold"])


def counted(model: nn.Module, run: Callable[[Any], Any], batches: Iterable[Any], axis: Axis) -> Count:
    """The activations that a model calls on these batches.

    Args:
        model: in the mode in which it is to run.
        run: calls it with one batch.
        batches: of which every unit's firing is taken together.
        axis: of the units where the layer before does not tell, else None.
    """
    counter = Counter(axis)
    with torch.no_grad():
        for batch in batches:
            counter.start()
            with counter:
                run(batch)
            counter.end()
    return counter.count

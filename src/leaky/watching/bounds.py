"""Where the regions of a site meet, and which element of a tensor lies in which."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leaky.record import FloatArray
from leaky.structure.activations import Activation


@dataclass(frozen=True, eq=False)
class Edges:
    """Where the regions of a site meet, as the core reads them; None for none."""

    threshold: float
    floor: FloatArray | None
    cap: FloatArray | None
    _sent: dict[Any, tuple[Tensor | None, ...]] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, activation: Activation, units: int) -> Edges:
        """Of an activation's pre-activation."""
        floor, cap = activation.floor, activation.cap
        return cls(
            activation.threshold,
            None if floor is None else np.ascontiguousarray(np.broadcast_to(floor, (units,)), np.float64),
            None if cap is None else np.full(units, cap, np.float64),
        )

    @cached_property
    def addresses(self) -> tuple[float, int, int]:
        """The threshold, and where floor and cap lie."""
        low, high = self.floor, self.cap
        return self.threshold, 0 if low is None else low.ctypes.data, 0 if high is None else high.ctypes.data

    def on(self, z: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Floor and cap beside a tensor, of its type; sent to a device once."""
        key = z.device, z.dtype
        if key not in self._sent:
            edges = (self.floor, self.cap)
            self._sent[key] = tuple(None if edge is None else torch.as_tensor(edge).to(z) for edge in edges)
        low, high = self._sent[key]
        return low, high


OPEN = Edges(0.0, None, None)


def region_masks(z: Tensor, bounds: Edges) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which elements of (samples, units, positions) are in each region."""
    above = z > bounds.threshold
    low, high = (
        torch.zeros_like(above) if edge is None else test(z, edge[None, :, None])
        for edge, test in zip(bounds.on(z), (torch.lt, torch.gt), strict=True)
    )
    return low, ~above & ~low & ~high, above & ~high & ~low, high

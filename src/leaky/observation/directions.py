"""Accumulates the sum of normalised pre-activations of a site, from which the mean cosine of two samples follows."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leaky.activation.kernels import core
from leaky.observation.reduction import as_units
from leaky.observation.running import KINDS
from leaky.record.directions import MOST_COORDINATES, Directions
from leaky.structure.axes import Layout

Addresses: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], int]
"""Where samples begin in memory, where a sample's chosen entries lie from there, and the core's number of the type."""


class DirectionSums:
    """Sum of the samples' normalised pre-activations, from one call of a site in each batch."""

    def __init__(self) -> None:
        self._sums = np.zeros(0)
        self._samples = 0
        self._shape: tuple[int, int] | None = None
        self._known = True
        self._places: dict[Any, Addresses | None] = {}

    def add(self, pre_activation: Tensor, view: Layout) -> None:
        """Take in the pre-activation of one call; samples of another length than the first end it."""
        if self._shape is None:
            self._shape = view.units, view.positions
            self._sums = np.zeros(math.prod(self._chosen()))
        if not self._known or self._shape != (view.units, view.positions):
            self._known = False
            return
        if not self._add_compiled(pre_activation, view):
            self._add_plainly(pre_activation, view)

    def _add_compiled(self, pre_activation: Tensor, view: Layout) -> bool:
        """Through the core; False, and nothing done, where it cannot."""
        key = pre_activation.shape, pre_activation.stride(), pre_activation.dtype
        if key not in self._places:
            self._places = {key: _places_of(pre_activation, view, self._chosen())}
        places, compiled = self._places[key], core()
        if places is None or compiled is None or pre_activation.is_neg() or type(pre_activation) is not Tensor:
            return False
        starts, offsets, kind = places
        address, source = compiled.address, pre_activation.data_ptr()
        where = address(starts), len(starts), address(offsets), len(offsets), address(self._sums)
        self._samples += compiled.directions(kind, source, *where)
        return True

    def _add_plainly(self, pre_activation: Tensor, view: Layout) -> None:
        units, positions = self._chosen()
        z = as_units(pre_activation, view)[:, _spread(view.units, units)][:, :, _spread(view.positions, positions)]
        z = z.flatten(1).cpu().double()
        length = z.norm(dim=1, keepdim=True)
        usable = (length[:, 0] > 0) & torch.isfinite(length[:, 0])
        self._samples += int(usable.sum())
        self._sums += (z[usable] / length[usable]).sum(dim=0).numpy()

    def keep(self) -> None:
        """Note the sums as they are now."""
        self._kept = self._sums.copy(), self._samples, self._shape, self._known

    def put_back(self) -> None:
        """Forget what came since they were noted."""
        self._sums, self._samples, self._shape, self._known = self._kept

    def directions(self) -> Directions | None:
        """Everything so far; None where that is not known."""
        return Directions(self._samples, self._sums.copy()) if self._known and self._samples else None

    def _chosen(self) -> tuple[int, int]:
        """How many units and positions are looked at."""
        assert self._shape is not None
        units = min(self._shape[0], MOST_COORDINATES)
        return units, min(self._shape[1], max(1, MOST_COORDINATES // max(1, units)))


def _spread(length: int, chosen: int) -> slice:
    """As many entries of an axis, evenly apart."""
    step = max(1, length // max(1, chosen))
    return slice(0, step * chosen, step)


def _places_of(value: Tensor, view: Layout, chosen: tuple[int, int]) -> Addresses | None:
    """Where the core finds the chosen entries of every sample; None where it cannot read the tensor."""
    if not hasattr(core(), "directions") or value.device.type != "cpu" or value.dtype not in KINDS or not value.numel():
        return None
    split = value.detach().reshape(view.shape)
    lengths = [view.shape[axis] for axis in view.order]
    reached = set(np.cumprod([1, *lengths]).tolist())
    if split.data_ptr() != value.data_ptr() or not {view.samples, view.samples * view.units} <= reached:
        return None
    strides = np.array([split.stride(axis) for axis in view.order], np.int64)

    def at(entries: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.ascontiguousarray(strides @ np.stack(np.unravel_index(entries, lengths)).astype(np.int64))

    units, positions = (
        np.arange(length)[_spread(length, few)]
        for length, few in zip((view.units, view.positions), chosen, strict=True)
    )
    inside = (units[:, None] * view.positions + positions).reshape(-1)
    return at(np.arange(view.samples) * view.units * view.positions), at(inside), KINDS[value.dtype]

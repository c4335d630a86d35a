"""The directions of a site's pre-activations, batch by batch."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from leaky.observation.reduction import as_units
from leaky.record.directions import MOST_COORDINATES, Directions
from leaky.structure.axes import Layout


class Alikeness:
    """Sums the directions of the samples that came through one call of a site a batch."""

    def __init__(self) -> None:
        self._sums = np.zeros(0)
        self._samples = 0
        self._shape: tuple[int, int] | None = None
        self._known = True

    def add(self, pre_activation: Tensor, view: Layout) -> None:
        """Take in the pre-activation of one call; samples of another length than the first end it."""
        if self._shape is None:
            self._shape = view.units, view.positions
            self._sums = np.zeros(math.prod(self._chosen()))
        if not self._known or self._shape != (view.units, view.positions):
            self._known = False
            return
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

"""The latents of a sparse autoencoder, or any code of which few entries are not 0, at the output of a module by name.

A TopK or a JumpReLU has no side of 0 on which a unit is dead: what counts is which entries are let through. Each vector
of the code is a sample, a token as well as a picture, as the field counts. Memory is O(latents), on the model's device,
and until the next report a number a pass, by which ranks tell how long a latent has been silent on all of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.diagnosis import Thresholds
from leaky.errors import InputError
from leaky.observation.riding.hooks import Hook
from leaky.record import FloatArray
from leaky.text import named


class Latents(Hook):
    """What one module's output has shown of its entries along the last axis.

    Args:
        rider: says whether a pass is observed.

    Attributes:
        units: of the code; 0 before it was seen.
        samples: vectors seen.
    """

    def __init__(self, rider: Any) -> None:
        super().__init__(rider)
        self.units = 0
        self._begin_anew(0, torch.device("cpu"))

    def _begin_anew(self, units: int, device: torch.device) -> None:
        self.units, self._samples = units, 0
        self._fired, self._silent = np.zeros(units), np.zeros(units)
        self._merged: tuple[FloatArray, FloatArray, int] | None = None
        self._begin_stretch(device)

    def _begin_stretch(self, device: torch.device) -> None:
        """Count since a report: how often each latent fired, and in which pass last, −1 for never."""
        self._recent = torch.zeros(self.units, dtype=torch.int64, device=device)
        self._last = torch.full_like(self._recent, -1)
        self._vectors: list[int] = []

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling() or not self.rider.running or not isinstance(output, Tensor) or not output.ndim:
            return
        try:
            with torch.no_grad():
                self._take(output.detach())
        except Exception as error:
            self.rider.failed(error)

    def _take(self, code: Tensor) -> None:
        rows = code.reshape(-1, code.shape[-1])
        if rows.shape[1] != self.units:
            self._begin_anew(rows.shape[1], code.device)
        fires = (rows != 0).sum(0)
        self._recent += fires
        self._last = torch.where(fires > 0, len(self._vectors), self._last)
        self._vectors.append(len(rows))

    @property
    def samples(self) -> int:
        """Vectors seen."""
        return self._samples + sum(self._vectors)

    @property
    def density(self) -> FloatArray:
        """The share of the vectors in which each latent was not 0, since the watch began, shape (units,)."""
        return np.asarray((self._fired + self._recent.cpu().double().numpy()) / max(1, self.samples))

    @property
    def silent_for(self) -> FloatArray:
        """Vectors since each latent was not 0, to a pass, shape (units,)."""
        last = self._last.cpu().double().numpy()
        return np.asarray(np.where(last < 0, self._silent, 0.0) + self._after(last))

    def _after(self, last: FloatArray) -> FloatArray:
        """Vectors here after a pass, by its number since the last report, −1 for all."""
        seen = np.cumsum([0, *self._vectors])
        return np.asarray(seen[-1] - seen[np.minimum(last.astype(np.int64) + 1, len(seen) - 1)], np.float64)

    # what ranks merge

    def highest(self) -> FloatArray:
        """Of which all ranks are given the maximum: the pass in which each latent fired last."""
        return np.asarray(self._last.cpu().double().numpy())

    def sums(self, highest: FloatArray) -> FloatArray:
        """Of which all ranks are given the sum: how often each fired, the vectors after its last pass, and all."""
        recent = self._recent.cpu().double().numpy()
        return np.concatenate([recent, self._after(highest), [sum(self._vectors)]])

    def put(self, sums: FloatArray, highest: FloatArray) -> None:
        """Take over the sums of all ranks for the next report."""
        recent, after, (since,) = np.split(sums, [self.units, 2 * self.units])
        self._merged = recent, np.where(highest < 0, self._silent, 0.0) + after, int(since)

    def figures(self, needed: int, thresholds: Thresholds) -> dict[str, float]:
        """The figures "rate", "silent" and "asleep" of a report, of all ranks where they merge; the next one begins.

        Args:
            needed: samples that a verdict takes.
            thresholds: that decide.
        """
        here = self._merged or (self._recent.cpu().double().numpy(), self.silent_for, sum(self._vectors))
        (recent, silent, since), self._merged = here, None
        self._fired, self._silent, self._samples = self._fired + recent, silent, self._samples + since
        rate, long = float(recent.sum()) / (since * self.units) if since else math.nan, thresholds.asleep_samples
        self._begin_stretch(self._recent.device)
        return {
            "rate": rate,
            "silent": float((silent >= needed).mean()),
            "asleep": float((silent >= long).mean()) if self.samples >= long else math.nan,
        }


def module_of(model: nn.Module, name: str) -> nn.Module:
    """The module whose output is a code.

    Raises:
        InputError: if the model has none of that name.
    """
    try:
        return model.get_submodule(name)
    except AttributeError:
        raise InputError(f"latents must name modules of the model, and it has no {named(name)}") from None

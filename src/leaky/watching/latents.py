"""The latents of a sparse autoencoder, or any code of which few entries are not 0, at the output of a module by name.

A TopK or a JumpReLU has no side of 0 on which a unit is dead: what counts is which entries are let through. Each vector
of the code is a sample, a token as well as a picture, as the field counts. Memory is O(latents), on the model's device.
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
        self.units = self.samples = 0
        self._fired = self._recent = self._silent_for = torch.zeros(0)
        self._since = 0

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
            self.units, self.samples, self._since = rows.shape[1], 0, 0
            self._fired, self._recent, self._silent_for = (
                torch.zeros(self.units, dtype=torch.int64, device=code.device) for _ in range(3)
            )
        fires = (rows != 0).sum(0)
        self._fired += fires
        self._recent += fires
        self._silent_for = torch.where(fires > 0, 0, self._silent_for + len(rows))
        self.samples += len(rows)
        self._since += len(rows)

    @property
    def density(self) -> FloatArray:
        """The share of the vectors in which each latent was not 0, since the watch began, shape (units,)."""
        return np.asarray(self._fired.cpu().double().numpy() / max(1, self.samples))

    @property
    def silent_for(self) -> FloatArray:
        """Vectors since each latent was not 0, to a pass, shape (units,)."""
        return np.asarray(self._silent_for.cpu().double().numpy())

    def figures(self, needed: int, thresholds: Thresholds) -> dict[str, float]:
        """The figures "rate", "silent" and "asleep" of a report; the next one begins.

        Args:
            needed: samples that a verdict takes.
            thresholds: that decide.
        """
        silent, long = self.silent_for, thresholds.asleep_samples
        rate = float(self._recent.sum()) / (self._since * self.units) if self._since else math.nan
        self._recent.zero_()
        self._since = 0
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

"""The rectifiers under test: their slopes and caps, as modules and as functional calls, plain and as a user has them.

What the oracle runs must be plain torch. Where users have leaky's own function (a slope with a clamp), the network is
built with a twin of plain operations first, and the user's copy gets the real one afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn

import leaky

CLAMP = 2.0
CLAMPED_SLOPE = 0.2
CHANNEL_SLOPES = (0.25, 0.01, -0.1, 5e-4, 0.0, 0.6)
"""What the channels of a PReLU may have learned: some practically 0, some negative."""

Spelling = Callable[[Tensor, Tensor], Tensor]
"""A functional call of a pre-activation of shape (n, units) and its slopes, one a unit."""


class PlainClamped(nn.Module):
    """A Leaky ReLU held at ±clamp, in plain torch operations."""

    def forward(self, z: Tensor) -> Tensor:
        return F.leaky_relu(z, CLAMPED_SLOPE).clamp(-CLAMP, CLAMP)


@dataclass(frozen=True)
class Kind:
    """One rectifier.

    Attributes:
        name: for reports.
        slope: α below 0; None for one a channel, learnable.
        cap: on z, from which on the output is held; None without.
        floor: the same below.
        spellings: functional calls that compute it.
        user_spellings: what a user writes in their place, where that is not plain torch.
    """

    name: str
    slope: float | None
    spellings: tuple[Spelling, ...]
    cap: float | None = None
    floor: float | None = None
    user_spellings: tuple[Spelling, ...] = ()

    def slopes(self, units: int) -> list[float]:
        """α of each unit."""
        if self.slope is not None:
            return [self.slope] * units
        return [CHANNEL_SLOPES[unit % len(CHANNEL_SLOPES)] for unit in range(units)]

    def module(self, units: int, inplace: bool = False) -> nn.Module:
        """The activation as a module of plain torch."""
        if self.slope is None:
            prelu = nn.PReLU(units)
            prelu.weight.data = torch.tensor(self.slopes(units))
            return prelu
        if self.floor is not None:
            return PlainClamped()
        if self.cap is not None:
            return nn.ReLU6(inplace)
        return nn.LeakyReLU(self.slope, inplace) if self.slope else nn.ReLU(inplace)


KINDS = (
    Kind(
        "ReLU",
        0.0,
        (lambda z, _: F.relu(z), lambda z, _: z.clamp(min=0), lambda z, _: torch.maximum(z, torch.zeros_like(z))),
    ),
    Kind(
        "leaky .01",
        0.01,
        (
            lambda z, _: F.leaky_relu(z, 0.01),
            lambda z, _: torch.where(z > 0, z, 0.01 * z),
            lambda z, _: torch.maximum(z, 0.01 * z),
        ),
    ),
    Kind(
        "leaky .2",
        0.2,
        (
            lambda z, _: torch.maximum(0.2 * z, z),
            lambda z, _: F.leaky_relu_(z, 0.2),
            lambda z, _: torch.where(z > 0, z, 0.2 * z),
        ),
    ),
    Kind("PReLU", None, (lambda z, w: F.prelu(z, w), lambda z, w: torch.prelu(z, w), lambda z, w: F.prelu(z, w))),
    Kind(
        "ReLU6",
        0.0,
        (lambda z, _: F.relu6(z), lambda z, _: z.clamp(0, 6), lambda z, _: F.hardtanh(z, 0.0, 6.0)),
        cap=6.0,
    ),
    Kind(
        "leaky .2 clamped",
        CLAMPED_SLOPE,
        (lambda z, _: F.leaky_relu(z, CLAMPED_SLOPE).clamp(-CLAMP, CLAMP),) * 3,
        cap=CLAMP,
        floor=-CLAMP / CLAMPED_SLOPE,
        user_spellings=(lambda z, _: leaky.leaky_relu(z, CLAMPED_SLOPE, clamp=CLAMP),) * 3,
    ),
)


def clamped_module() -> nn.Module:
    """What a user has in place of `PlainClamped`."""
    return leaky.LeakyReLU(CLAMPED_SLOPE, clamp=CLAMP)

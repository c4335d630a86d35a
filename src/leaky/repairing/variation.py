"""Whether a network tells inputs apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CONSTANT_OUTPUT = 1e-6
"""Below this ratio of the outputs' deviation over the samples to their size, the network tells no inputs apart: that is
float32's rounding, and a network that predicts years is right to vary by little."""


def variation(outputs: Sequence[Tensor]) -> float:
    """Deviation over the samples ÷ size, of the outputs that have the samples in front; of several, the largest."""
    by_shape: dict[tuple[int, ...], list[Tensor]] = {}
    for out in outputs:
        if out.ndim and len(out):
            by_shape.setdefault(tuple(out.shape[1:]), []).append(out.double().reshape(len(out), -1))
    return max((_variation(torch.cat(parts)) for parts in by_shape.values()), default=float("inf"))


def _variation(joined: Tensor) -> float:
    size = float(joined.square().mean().sqrt())
    if len(joined) < 2 or size == 0:
        return float("inf") if len(joined) < 2 else 0.0
    return float((joined - joined.mean(0)).square().mean().sqrt()) / size


def tells_apart(outputs: Sequence[Tensor]) -> bool:
    """Whether the outputs vary over the samples beyond rounding."""
    return variation(outputs) >= CONSTANT_OUTPUT

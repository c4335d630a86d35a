"""Objectives and tasks that other processes can import."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.tuning.engines.objective import Report
from leaky.tuning.task import Task


def noisy(negative_slope: Any, seed: int, report: Report) -> float:
    """0.1 is much better than everything else."""
    number = 99 if isinstance(negative_slope, str) else round(1000 * negative_slope)
    noise = np.random.default_rng([seed, number]).standard_normal()
    return (1.0 if negative_slope == 0.1 else 0.0) + 0.02 * float(noise)


def slow(negative_slope: Any, seed: int, report: Report) -> float:
    """The same, taking its time."""
    time.sleep(0.03)
    return noisy(negative_slope, seed, report)


def fatal(negative_slope: Any, seed: int, report: Report) -> float:
    """The same, and one training ends its process without a word, the first time."""
    mark = Path(os.environ["LEAKY_TEST_MARK"])
    if negative_slope == 0.1 and seed == 1 and not mark.exists():
        mark.touch()
        os._exit(9)
    return noisy(negative_slope, seed, report)


def mlp(negative_slope: float) -> nn.Module:
    """A small classifier."""
    return nn.Sequential(
        nn.Linear(6, 16),
        nn.LeakyReLU(negative_slope),
        nn.Linear(16, 16),
        nn.LeakyReLU(negative_slope),
        nn.Linear(16, 3),
    )


def blobs(samples: int = 240, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Three classes in six dimensions that overlap a little."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(samples) % 3
    centres = 1.5 * torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    return centres[targets] + torch.randn(samples, 6, generator=generator), targets


def task(**changes: Any) -> Task:
    """A task that trains in a moment."""
    settings: dict[str, Any] = {"build": mlp, "train": blobs(), "valid": 0.25, "epochs": 2, "batch_size": 16}
    return Task(**{**settings, **changes})

"""Training steps and scores, the same for every method."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RATE, BATCH = 3e-3, 64


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, count: int, seed: int) -> None:
    """So many steps of cross-entropy on batches that the seed draws."""
    generator = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(count):
        batch = torch.randint(len(x), (BATCH,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """In percent, in eval mode; the mode is put back."""
    training = model.training
    model.eval()
    with torch.no_grad():
        right = float((model(x).argmax(1) == y).double().mean())
    model.train(training)
    return 100 * right

"""A piece of training and its metric, as a user would hand them to a repair."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Task:
    """A classification.

    Args:
        data: of shape (samples, features).
        labels: the class of each sample.
    """

    def __init__(self, data: Tensor, labels: Tensor) -> None:
        self.data, self.labels = data, labels

    def accuracy(self, model: nn.Module) -> float:
        """The share of samples whose class a model tells."""
        with torch.no_grad():
            return float((model(self.data).argmax(1) == self.labels).float().mean())

    def training(self, optimizer: torch.optim.Optimizer, steps: int = 30) -> Callable[[nn.Module], None]:
        """So many steps on random batches, by this optimizer."""

        def train(model: nn.Module) -> None:
            for _ in range(steps):
                batch = torch.randint(len(self.data), (64,))
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(self.data[batch]), self.labels[batch]).backward()
                optimizer.step()

        return train

"""The models and data of the studies that are measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from leaky.tuning.task import Task

SLOPES = (0.0, 0.01, 0.03, 0.1, 0.15, 0.2, 0.25, 0.3)
RATES = {"SGD": 0.01, "Adam": 0.001}


def mlp(slope: float) -> nn.Module:
    """64-64-64-10."""
    return plain(slope, 64, 2)


def deep(slope: float) -> nn.Module:
    """Ten hidden layers of 128."""
    return plain(slope, 128, 10)


def wide(slope: float) -> nn.Module:
    """Two hidden layers of 512, whose time is arithmetic already."""
    return plain(slope, 512, 2)


def plain(slope: float, width: int, depth: int, inputs: int = 64, classes: int = 10) -> nn.Module:
    """A plain network without normalisation."""
    layers: list[nn.Module] = []
    for size in (inputs, *[width] * (depth - 1)):
        layers += [nn.Linear(size, width), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers, nn.Linear(width, classes))


def cnn(slope: float) -> nn.Module:
    """Convolutions of 16, 32 and 32 channels on 8×8."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(slope)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.LeakyReLU(slope), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 32, 3, padding=1), nn.LeakyReLU(slope), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(128, 10)),
    )


def normalised(slope: float) -> nn.Module:
    """Three hidden layers of 64 with batch normalisation."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers, nn.Linear(64, 10))


class Recurrent(nn.Module):
    """The rows of an image one after another: a layer that has no stacked form."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.rows = nn.GRU(8, 32, batch_first=True)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.LeakyReLU(slope), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes."""
        states: Tensor = self.rows(x.view(-1, 8, 8))[0]
        scores: Tensor = self.head(states[:, -1])
        return scores


MODELS: dict[str, Callable[[float], nn.Module]] = {
    "mlp": mlp,
    "deep": deep,
    "wide": wide,
    "cnn": cnn,
    "normalised": normalised,
    "recurrent": Recurrent,
}


def digits_task(model: str, epochs: int, optimizer: str = "Adam") -> Task:
    """Handwritten digits of 8×8 from scikit-learn."""
    inputs, targets = load_digits(return_X_y=True)
    images: Any = torch.tensor(inputs / 16, dtype=torch.float32)
    images = images.reshape(-1, 1, 8, 8) if model == "cnn" else images
    make = getattr(torch.optim, optimizer)
    return Task(
        MODELS[model],
        (images, targets),
        epochs=epochs,
        optimizer=lambda parameters: make(parameters, lr=RATES[optimizer]),
    )

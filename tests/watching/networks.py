"""Small networks of every kind that a watch must see, each with data to train on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Functional(nn.Module):
    """Functional calls, in place and not, and a method."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(8, 12), nn.Linear(12, 12), nn.Linear(12, 9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.a(x))
        x = functional.leaky_relu(self.b(x), 0.2, inplace=True)
        return self.d(self.c(x).relu_())


class Block(nn.Module):
    """A residual block with BatchNorm and dropout, its rectifiers in place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(self.drop(y))) + x)


class Recurrent(nn.Module):
    """A GRU with a rectified head, and a cell of one's own that runs over time."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.cell = nn.GRU(5, 8, batch_first=True), nn.RNNCell(8, 6, nonlinearity="relu")
        self.mix, self.head, self.act = nn.Linear(8, 8), nn.Linear(8, 3), nn.LeakyReLU(0.1)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.gru(x)
        state = h.new_zeros(len(h), 8)
        for t in range(h.shape[1]):
            state = self.act(self.mix(state + h[:, t]))
        return self.head(state)


class Shared(nn.Module):
    """One ReLU module behind two layers, and a siamese tower."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.tower, self.act, self.six = (
            nn.Linear(8, 10),
            nn.Linear(10, 7),
            nn.Linear(7, 5),
            nn.ReLU(),
            nn.ReLU6(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        left = self.act(self.b(self.act(self.a(x))))
        return self.six(self.tower(left)) + self.six(self.tower(-left))


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 16),
        nn.ReLU(),
        nn.Linear(16, 16),
        nn.LeakyReLU(0.1),
        nn.Linear(16, 16),
        nn.GELU(),
        nn.Linear(16, 4),
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(inplace=True), nn.Conv2d(6, 5, 3), nn.SiLU(), nn.Flatten(), nn.Linear(80, 4)
    )


def resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), Block(8), Block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Flatten(), nn.Linear(48, 4))


SHAPES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (mlp, (8,)),
    "functional": (Functional, (8,)),
    "cnn": (cnn, (3, 8, 8)),
    "resnet": (resnet, (3, 6, 6)),
    "transformer": (transformer, (6, 8)),
    "recurrent": (Recurrent, (4, 5)),
    "shared": (Shared, (8,)),
}


def made(name: str, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """A network and 24 samples for it."""
    make, shape = SHAPES[name]
    torch.manual_seed(seed)
    model = make()
    return model, torch.randn(24, *shape)


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, data: Tensor, steps: int, batch: int = 8, each: Any = None
) -> None:
    """Plain steps of training on uneven batches; dropout draws from a seed."""
    torch.manual_seed(11)
    for step in range(steps):
        start = step * 5 % len(data)
        x = data[start : start + batch]
        loss = model(x).square().mean() + model(x).sum() * 1e-2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if each is not None:
            each(step)

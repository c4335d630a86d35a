"""The patients' networks, small and of many kinds."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def mlp(sizes: list[int], act: type[nn.Module] = nn.ReLU, *, norm: bool = False, drop: float = 0.0) -> nn.Sequential:
    """Linear layers with an activation between them."""
    parts: list[nn.Module] = []
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        parts.append(nn.Linear(a, b))
        if i < len(sizes) - 2:
            parts += [*([nn.BatchNorm1d(b)] if norm else []), act(), *([nn.Dropout(drop)] if drop else [])]
    return nn.Sequential(*parts)


class Functional(nn.Module):
    """Rectifiers that are no modules."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 40), nn.Linear(40, 40), nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(functional.relu(self.b(functional.relu(self.a(x)))))


class Recurrent(nn.Module):
    """A GRU with a rectified head on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.a, self.act, self.b = (
            nn.GRU(4, 24, batch_first=True),
            nn.Linear(24, 32),
            nn.ReLU(),
            nn.Linear(32, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.act(self.a(self.rnn(x)[0][:, -1])))


class Heads(nn.Module):
    """One trunk, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = mlp([64, 48, 32])
        self.act = nn.ReLU()
        self.kind, self.ink = nn.Linear(32, 10), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.act(self.trunk(x))
        return self.kind(h), self.ink(h)


class Branches(nn.Module):
    """Two inputs, a branch each."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = mlp([32, 24, 24]), mlp([32, 24, 24])
        self.act, self.last = nn.ReLU(), nn.Linear(48, 10)

    def forward(self, upper: Tensor, lower: Tensor) -> Tensor:
        return self.last(self.act(torch.cat([self.first(upper), self.second(lower)], 1)))


class Residual(nn.Module):
    """Two blocks with shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.blocks = nn.ModuleList(mlp([32, 48, 32]) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


class Tokens(nn.Module):
    """An embedding, averaged, and a rectified layer."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(30, 16), mlp([16, 32, 32, 2])

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.table(x).mean(1))


class Winners(nn.Module):
    """An autoencoder of which each sample keeps its eight strongest units."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.b = nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.a(x))
        best = h.topk(8, dim=1)
        return self.b(torch.zeros_like(h).scatter(1, best.indices, best.values))


def conv(norm: bool = False) -> nn.Sequential:
    """Two convolutions over 8×8 images."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 12, 3, padding=1),
        *([nn.BatchNorm2d(12)] if norm else []),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, padding=1),
        *([nn.BatchNorm2d(16)] if norm else []),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


def layers(model: nn.Module, kinds: Any = (nn.Linear, nn.Conv2d)) -> list[Any]:
    """The layers of a model but the last one, which makes the outputs."""
    return [module for module in model.modules() if isinstance(module, kinds)][:-1]

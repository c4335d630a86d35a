"""Small networks of every kind that observation must see right; each says which sites it has."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn


class Block(nn.Module):
    """A residual block whose one activation module is called twice, behind different layers."""

    def __init__(self, channels: int, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.bn1 = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=not norm)
        self.bn2 = nn.BatchNorm2d(channels) if norm else nn.Identity()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x
        return self.act(y)


class ResNet(nn.Module):
    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.Sequential(Block(8, norm), Block(8, norm))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.stem(x)))
        return self.head(x.mean((2, 3)))


class Functional(nn.Module):
    """Every spelling of a rectifier."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(12))

    def forward(self, x: Tensor) -> Tensor:
        layer = iter(self.layers)
        x = F.relu(next(layer)(x))
        x = next(layer)(x).relu()
        x = torch.relu_(next(layer)(x))
        x = F.leaky_relu(next(layer)(x), 0.2)
        x = next(layer)(x).clamp(min=0)
        x = torch.clamp_min(next(layer)(x), 0.0)
        x = torch.maximum(next(layer)(x), torch.tensor(0.0))
        x = torch.maximum(torch.zeros(6), next(layer)(x))
        x = F.threshold(next(layer)(x), 0.1, 0.5)
        x = F.relu6(next(layer)(x))
        z = next(layer)(x)
        x = torch.where(z > 0, z, 0.3 * z)
        z = next(layer)(x)
        return torch.maximum(z, 0.1 * z)


class Shared(nn.Module):
    """One activation module behind many layers."""

    def __init__(self, depth: int = 33) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(depth))
        self.act = nn.LeakyReLU(0.2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(layer(x))
        return x


class Siamese(nn.Module):
    """Two towers with the same weights: one site, called twice on the same samples."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(6, 7), nn.ReLU())

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (self.tower(a) - self.tower(b)).abs().sum(1)


class Cell(nn.Module):
    """A recurrent cell of one's own: one site over all time steps."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 7)
        self.recurrent = nn.Linear(7, 7)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 7)
        for t in range(x.shape[1]):
            h = self.act(self.inner(x[:, t]) + self.recurrent(h))
        return h


class FeedForward(nn.Module):
    """A transformer's feed-forward block, with pre-norm attention before it."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.inner = nn.Linear(8, 16)
        self.outer = nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        x = x + self.attention(h, h, h)[0]
        return x + self.outer(F.relu(self.inner(x)))


class Folded(nn.Module):
    """(N, T, C) → (N·T, C) → ReLU → (N, T, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 7)
        self.norm = nn.BatchNorm1d(7)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        return F.relu(self.norm(self.inner(x.reshape(n * t, c)))).view(n, t, 7).sum(1)


class Swishes(nn.Module):
    """Smooth activations, some of them spelled out with a clip that is no ReLU6 of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(5))
        self.relu6 = nn.ReLU6()

    def forward(self, x: Tensor) -> Tensor:
        x = self.layers[0](x)
        x = x * self.relu6(x + 3) / 6
        x = self.layers[1](x)
        x = x * (x + 3).clamp(0, 6) / 6
        x = self.layers[2](x)
        x = x * (x / 6 + 0.5).clamp(0, 1)
        x = self.layers[3](x)
        x = x * torch.sigmoid(x)
        return F.gelu(self.layers[4](x))


class Concatenated(nn.Module):
    """Two branches joined before the rectifier, and a channel shuffle after it."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv1d(3, 4, 3)
        self.right = nn.Conv1d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(torch.cat([self.left(x), self.right(x)], 1))
        n, c, t = x.shape
        x = x.view(n, 2, c // 2, t).transpose(1, 2).reshape(n, c, t)
        return F.relu(x - 0.5)


class Scripted(nn.Module):
    """A scripted part, which refuses hooks."""

    def __init__(self) -> None:
        super().__init__()
        with warnings.catch_warnings():  # deprecated, and still what many saved models are
            warnings.simplefilter("ignore")
            self.part = torch.jit.script(nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 8), nn.ReLU()))

    def forward(self, x: Tensor) -> Any:
        return self.part(x)

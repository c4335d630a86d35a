"""Networks of kinds that the other halves lack: two heads, a U, a graph, tokens, a sequence, an equation, twins."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthy import data


class TwoHeads(nn.Module):
    """A trunk with a head of classes and one of a value."""

    def __init__(self, width: int, last: nn.Module) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.classes, self.value, self.last = nn.Linear(width, 10), nn.Linear(width, 1), last

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.classes(h), self.last(self.value(h))


class Denoiser(nn.Module):
    """A U of one-dimensional convolutions with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.middle = nn.Conv1d(1, width, 4, stride=2, padding=1), nn.Conv1d(width, width, 3, padding=1)
        self.up, self.out = (
            nn.ConvTranspose1d(width, width, 4, stride=2, padding=1),
            nn.Conv1d(width + 1, 1, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.middle(functional.relu(self.down(x))))
        return self.out(torch.cat([functional.relu(self.up(h)), x], dim=1))  # type: ignore[no-any-return]


class Words(nn.Module):
    """A bag of tokens and a rectified head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(50, width), nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.out = nn.Linear(width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.head(self.embed(tokens).mean(1)))  # type: ignore[no-any-return]


class Sequence(nn.Module):
    """A gated recurrent network with a rectified head that gives one number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(2, width, batch_first=True), nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.head(self.gru(x)[0][:, -1]))  # type: ignore[no-any-return]


class Pairs(nn.Module):
    """One tower for two inputs, and their distance."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.tower = nn.Sequential(
            nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 8)
        )

    def forward(self, both: Tensor) -> Tensor:
        a, b = self.tower(both[:, 0]), self.tower(both[:, 1])
        return 4.0 - (a - b).square().sum(1, keepdim=True)  # type: ignore[no-any-return]


class Dueling(nn.Module):
    """Action values as a value and advantages."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, width), nn.ReLU())
        self.value = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.advantage = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        a = self.advantage(h)
        return self.value(h) + a - a.mean(1, keepdim=True)  # type: ignore[no-any-return]


def deep(depth: int, width: int, norm: bool) -> nn.Sequential:
    """A plain network with He's weights, with or without BatchNorm."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([64] + [width] * depth):
        linear = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, *([nn.BatchNorm1d(fan_out)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def digits_with_value() -> tuple[Tensor, Tensor, Tensor]:
    """Digits, their classes, and a value below 0: minus the mean of the squared pixels."""
    x, y = data.digits()
    return x, y, -1.0 - x.square().mean(1, keepdim=True)


def noisy_waves(seed: int) -> tuple[Tensor, Tensor]:
    """Waves with noise, and without."""
    x, _ = data.waves(seed)
    g = torch.Generator().manual_seed(seed)
    return x + 0.3 * torch.randn(x.shape, generator=g), x


def words(seed: int) -> tuple[Tensor, Tensor]:
    """Bags of eight tokens of fifty; the class is whether more of the first half occur."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 50, (1500, 8), generator=g)
    return tokens, ((tokens < 25).sum(1) > 4).long()


def drifts(seed: int) -> tuple[Tensor, Tensor]:
    """Sequences and the sum of one of their two features."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(1200, 10, 2, generator=g)
    return x, x[:, :, 0].sum(1, keepdim=True) / 3


def pairs(seed: int) -> tuple[Tensor, Tensor]:
    """Two digits each, and whether they are of one class."""
    x, y = data.digits()
    g = torch.Generator().manual_seed(seed)
    other = torch.where(
        torch.rand(len(x), generator=g) < 0.5,
        torch.tensor([int(torch.randint(0, len(x), (1,), generator=g)) for _ in x]),
        torch.argsort(y)[torch.argsort(torch.argsort(y)).roll(1)],
    )
    return torch.stack([x, x[other]], dim=1), (y == y[other]).float()[:, None]


def action_values(seed: int) -> tuple[Tensor, Tensor]:
    """States of four numbers and the values of three actions."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(1500, 4, generator=g)
    mix = torch.randn(4, 3, generator=g)
    return x, torch.tanh(x @ mix) + x[:, :1].abs()

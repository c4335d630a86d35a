"""Networks and tasks that the last held-out half alone trains."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import Batches, generator, plain


def several_labels(seed: int, features: int = 24, labels: int = 6, batch: int = 64) -> Batches:
    """Each label is whether one direction and one product of features is positive."""
    draw = generator(seed)
    weights = torch.randn(features, labels, generator=draw) / features**0.5

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(batch, features, generator=draw)
        return x, ((x @ weights) + 0.3 * x[:, :1] * x[:, 1:2] > 0).float()

    return sample


def masks(seed: int, side: int = 16, batch: int = 16) -> Batches:
    """Noisy pictures of one bright rectangle, and where it is."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.zeros(batch, 1, side, side)
        for picture in y:
            top, left = (int(torch.randint(side - 8, (), generator=draw)) for _ in range(2))
            picture[0, top : top + 8, left : left + 8] = 1
        return y - 0.25 + 0.6 * torch.randn(y.shape, generator=draw), y

    return sample


def noisy_signals(seed: int, length: int = 32, batch: int = 24) -> Batches:
    """Sums of two waves under noise, and the sums themselves."""
    draw = generator(seed)
    time = torch.arange(length) / 6

    def sample(step: int) -> tuple[Tensor, Tensor]:
        speed = 0.5 + torch.rand(batch, 2, 1, generator=draw)
        y = torch.sin(speed * time + 6 * torch.rand(batch, 2, 1, generator=draw)).sum(1, keepdim=True)
        return y + 0.5 * torch.randn(y.shape, generator=draw), y

    return sample


def point_sets(seed: int, points: int = 10, batch: int = 48) -> Batches:
    """Sets of points in the plane; the class is which ring most of them lie on."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(3, (batch,), generator=draw)
        radius = 0.6 + 0.7 * y[:, None] + 0.25 * torch.randn(batch, points, generator=draw)
        angle = 6.3 * torch.rand(batch, points, generator=draw)
        return torch.stack([radius * angle.cos(), radius * angle.sin()], -1), y

    return sample


def ring_graphs(seed: int, nodes: int = 12, features: int = 6, batch: int = 24) -> Batches:
    """Features on the nodes of a ring; whether the first feature is larger than its neighbours' mean, of each node."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(batch, nodes, features, generator=draw)
        near = (x.roll(1, 1) + x.roll(-1, 1))[..., 0] / 2
        return x, (x[..., 0] > near).float()

    return sample


def counts(seed: int, features: int = 10, batch: int = 64) -> Batches:
    """Poisson counts whose rate is a smooth function of the features."""
    draw = generator(seed)
    weights = torch.randn(features, generator=draw) / features**0.5

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(batch, features, generator=draw)
        return x, torch.poisson((0.8 * torch.sin(1.5 * x @ weights) + 0.7).exp(), generator=draw)

    return sample


def echoes(seed: int, length: int = 12, batch: int = 32) -> Batches:
    """A sequence of signs after which the first one is asked for."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(2, (batch, length, 1), generator=draw).float() * 2 - 1
        return x, (x[:, 0, 0] > 0).long()

    return sample


class Hourglass(nn.Module):
    """Down, up, and a shortcut across (a small U-Net)."""

    def __init__(self, channels: int = 10) -> None:
        super().__init__()
        self.down, self.inner = nn.Conv2d(1, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        self.up, self.out = nn.Conv2d(2 * channels, channels, 3, padding=1), nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = functional.relu(self.down(x))
        deep = functional.relu(self.inner(functional.max_pool2d(wide, 2)))
        both = torch.cat([wide, functional.interpolate(deep, scale_factor=2)], 1)
        return self.out(functional.relu(self.up(both)))


class OfSets(nn.Module):
    """A function of each point, added up, and a function of the sum."""

    def __init__(self, act: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.each, self.act, self.whole = plain([2, 32, 32], act), act(), plain([32, 32, 3], act)

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(self.act(self.each(x)).mean(1))


class Mixer(nn.Module):
    """Layers that mix over places and over features in turn; normalised or not."""

    def __init__(self, depth: int, normalised: bool, places: int = 12, features: int = 6, width: int = 24) -> None:
        super().__init__()
        make: Callable[[int], nn.Module] = nn.LayerNorm if normalised else (lambda size: nn.Identity())
        self.enter, self.leave = nn.Linear(features, width), nn.Linear(width, 1)
        self.norms = nn.ModuleList(make(width) for _ in range(depth))
        self.over_places = nn.ModuleList(plain([places, 24, places]) for _ in range(depth))
        self.over_features = nn.ModuleList(plain([width, 32, width]) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        for norm, places, features in zip(self.norms, self.over_places, self.over_features, strict=True):
            h = h + places(norm(h).transpose(1, 2)).transpose(1, 2)
            h = h + features(norm(h))
        return self.leave(h)[..., 0]


class OverTime(nn.Module):
    """Convolutions over time, each reaching as far as the ones before let it."""

    def __init__(self, depth: int, normalised: bool, channels: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([1, *[channels] * depth]):
            layers += [nn.Conv1d(before, after, 3, padding=1)]
            layers += [nn.GroupNorm(4, after)] if normalised else []
            layers += [nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Conv1d(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class OnARing(nn.Module):
    """Each node takes the mean of itself and its neighbours, layer by layer; of the nodes themselves or not."""

    def __init__(self, depth: int, shortcut: bool, features: int = 6, width: int = 24) -> None:
        super().__init__()
        self.enter, self.leave, self.shortcut = nn.Linear(features, width), nn.Linear(width, 1), shortcut
        self.layers, self.act = nn.ModuleList(nn.Linear(width, width) for _ in range(depth)), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        for layer in self.layers:
            new = self.act(layer((h + h.roll(1, 1) + h.roll(-1, 1)) / 3))
            h = h + new if self.shortcut else new
        return self.leave(h)[..., 0]


class Dense(nn.Module):
    """Every layer sees all before it."""

    def __init__(self, depth: int = 6, features: int = 24, width: int = 24, labels: int = 6) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(features if i == 0 else width, width) for i in range(depth))
        self.act, self.head = nn.LeakyReLU(0.05), nn.Linear(width, labels)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.act(layer(x))
        return self.head(x)


class Stacked(nn.Module):
    """Two rectified recurrent layers, one above the other."""

    def __init__(self, scale: float, added: float = 0.0, hidden: int = 20) -> None:
        super().__init__()
        self.enter, self.between, self.head = nn.Linear(1, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 2)
        self.low, self.high = (nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.added = added
        for layer in (self.low, self.high):
            nn.init.orthogonal_(layer.weight, gain=scale)

    def forward(self, x: Tensor) -> Tensor:
        low = high = x.new_zeros(len(x), self.low.in_features)
        for t in range(x.shape[1]):
            low = self.added * low + functional.relu(self.enter(x[:, t]) + self.low(low))
            high = self.added * high + functional.relu(self.between(low) + self.high(high))
        return self.head(high)


class Committee(nn.Module):
    """The best `taken` of several experts for each sample, weighted by a router's probability."""

    def __init__(self, features: int, outputs: int, experts: int, taken: int) -> None:
        super().__init__()
        self.router, self.taken, self.outputs = nn.Linear(features, experts), taken, outputs
        self.members = nn.ModuleDict({f"member{i}": plain([features, 20, outputs]) for i in range(experts)})

    def forward(self, x: Tensor) -> Tensor:
        probability, chosen = self.router(x).softmax(-1).topk(self.taken, -1)
        out = x.new_zeros(len(x), self.outputs)
        for i, member in enumerate(self.members.values()):
            rows, place = (chosen == i).nonzero(as_tuple=True)
            if len(rows):
                out = out.index_add(0, rows, member(x[rows]) * probability[rows, place, None])
        return out

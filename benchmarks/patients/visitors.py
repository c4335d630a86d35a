"""Visitors: six kinds that no patient before them had, written before any repair was seen on them, and run once."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from benchmarks.patients import stranger_tasks as given
from benchmarks.patients import tasks
from benchmarks.patients.kinds import spike, unseen
from benchmarks.patients.latecomers import exploded
from benchmarks.patients.networks import mlp
from benchmarks.patients.strangers import at
from benchmarks.patients.tasks import Task, _split


class Scaled(nn.Module):
    """Separable convolutions whose branch has a scale a channel, begun small."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Conv2d(1, 16, 2, 2), nn.Linear(16, 10)
        self.near = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1, groups=16) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))
        self.wide = nn.ModuleList(mlp([16, 48, 16], nn.GELU) for _ in range(2))
        self.scales = nn.ParameterList(torch.full((16,), 0.1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x.unflatten(1, (1, 8, 8)))
        for near, norm, wide, scale in zip(self.near, self.norms, self.wide, self.scales, strict=True):
            h = h + (scale * wide(norm(near(h).movedim(1, -1)))).movedim(-1, 1)
        return self.last(h.mean((2, 3)))


class Sines(nn.Module):
    """Sines between linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise([8, 48, 48, 1]))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = torch.sin(2 * layer(x))
        return last(x)


class Towers(nn.Module):
    """A tower on a bag of places, one on a table of answers; how well they fit is their product."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.answers = nn.EmbeddingBag(65, 24, padding_idx=64), nn.Embedding(10, 16)
        self.asking, self.answering = mlp([24, 48, 24]), mlp([16, 32, 24])

    def forward(self, x: Tensor) -> Tensor:
        return self.asking(self.places(x)) @ self.answering(self.answers.weight).T


class Maxout(nn.Module):
    """Each unit is the largest of three linear ones."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.last = nn.Linear(64, 96), nn.Linear(32, 96), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.a, self.b):
            x = layer(x).unflatten(1, (3, 32)).amax(1)
        return self.last(x)


class Flow(nn.Module):
    """Six couplings: half of the values is scaled and shifted by what the other half says."""

    def __init__(self) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(mlp([2, 32, 32, 4]) for _ in range(6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = x.new_zeros(len(x))
        for coupling in self.couplings:
            kept, moved = x.chunk(2, 1)
            size, shift = coupling(kept).chunk(2, 1)
            size = 2 * torch.tanh(size / 2)
            x, volume = torch.cat([moved * size.exp() + shift, kept], 1), volume + size.sum(1)
        return x, volume


class Repeated(nn.Module):
    """The same block, five times, each time with what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(64, 40), mlp([80, 48, 40]), nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        came = torch.relu(self.first(x))
        h = came
        for _ in range(5):
            h = h + 0.3 * self.again(torch.cat([h, came], 1))
        return self.last(h)


@lru_cache
def density() -> Task:
    """Four values on two bent arcs; the points are the likelihood that a flow gains over a normal one."""
    g = torch.Generator().manual_seed(51)
    angle, side = 3 * torch.rand(2500, 2, generator=g), torch.randint(0, 2, (2500, 2), generator=g).double().float()
    arcs = torch.stack([angle.cos() + side, (angle.sin() - 0.5 * side) * (1 - 2 * side)], 2).flatten(1)
    x = arcs + 0.1 * torch.randn(arcs.shape, generator=g)
    x = (x - x.mean(0)) / x.std(0)
    plain = -2 * math.log(2 * math.pi * math.e) - 0.5 * float(torch.logdet(torch.cov(x.T)))

    def likelihood(out: tuple[Tensor, Tensor]) -> Tensor:
        z, volume = out
        return (volume - 0.5 * z.square().sum(1) - 2 * math.log(2 * math.pi)).mean()

    def points(out: tuple[Tensor, Tensor], wanted: Tensor) -> float:
        return max(-100.0, 50 * (float(likelihood(out)) - plain))

    return _split(x, x, lambda out, wanted: -likelihood(out), points)


VISITORS = (
    unseen("branches with scales, exploded", tasks.digits, Scaled, exploded("scales.0", "scales.1", by=300.0)),
    unseen("sines, frequencies far too high", tasks.regression, Sines, exploded("layers.0.weight", by=15.0)),
    unseen("two towers, rate spike", given.bags, Towers, spike(0.7, 3)),
    unseen("maxout, one piece wins", tasks.digits, Maxout, at("a.bias", "b.bias", share=0.34, by=-30.0)),
    unseen("flow, rate spike", density, Flow, spike(0.3, 2), before=300),
    unseen("one block again and again, one huge step", tasks.digits, Repeated, spike(1.0, 1)),
)
"""Every visitor."""

"""The guests' networks: what is read and told again, nodes that hear of each other, members in one tensor."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from benchmarks.patients.networks import mlp


class Translator(nn.Module):
    """A GRU reads a sequence, another one tells it again, given at each place what should have come before."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.told = nn.Embedding(10, 16), nn.Embedding(11, 16)
        self.encoder, self.decoder = nn.GRU(16, 40, batch_first=True), nn.GRU(16, 40, batch_first=True)
        self.head = mlp([40, 40, 10])

    def forward(self, source: Tensor, before: Tensor) -> Tensor:
        _, state = self.encoder(self.read(source))
        return self.head(self.decoder(self.told(before), state)[0]).transpose(1, 2)


class Nodes(nn.Module):
    """Two layers in which each node hears of those near it; an answer a node."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 32), nn.Linear(64, 32), nn.Linear(32, 3)

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        h = torch.relu(self.a(torch.cat([x, near @ x], -1)))
        h = torch.relu(self.b(torch.cat([h, near @ h], -1)))
        return self.c(h).transpose(1, 2)


class Classifier(nn.Module):
    """A transformer encoder with its norms behind, over a sequence of vectors; a token of its own is read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.token = nn.Linear(4, 24), nn.Parameter(0.1 * torch.randn(1, 1, 24))
        self.place = nn.Parameter(0.1 * torch.randn(13, 24))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(24, 3, 48, dropout=0.0, batch_first=True) for _ in range(3)
        )
        self.last = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([self.token.expand(len(x), -1, -1), self.first(x)], 1) + self.place
        for layer in self.layers:
            h = layer(h)
        return self.last(h[:, 0])


class Temporal(nn.Module):
    """Weight-normed dilated convolutions in two residual blocks; the last place is read."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((1, 1), (16, 1), (16, 2), (16, 2), (16, 4), (16, 4))
        self.convolutions = nn.ModuleList(weight_norm(nn.Conv1d(n, 16, 3, dilation=d)) for n, d in sizes)
        self.last = nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x[:, None]
        for first, second in zip(self.convolutions[::2], self.convolutions[1::2], strict=True):
            kept = h
            for layer in (first, second):
                h = torch.relu(layer(functional.pad(h, (2 * layer.dilation[0], 0))))
            h = h + kept
        return self.last(h[:, :, -1])


class Positive(nn.Module):
    """Amounts: a rectifier is the last thing that happens."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([10, 48, 48, 2])

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x))


class Hourglass(nn.Module):
    """Down twice and up twice, what was before each step down added again."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 20, 3, 2, 1), nn.Conv2d(20, 24, 3, 2, 1)]
        )
        self.up = nn.ModuleList([nn.ConvTranspose2d(24, 20, 2, 2), nn.ConvTranspose2d(20, 12, 2, 2)])
        self.last = nn.Conv2d(12, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for layer in self.down:
            x = functional.leaky_relu(layer(x), 0.01)
            kept.append(x)
        for layer, before in zip(self.up, kept[-2::-1], strict=True):
            x = torch.relu(layer(x)) + before
        return self.last(x)


class Ensemble(nn.Module):
    """Five networks whose weights stand in one tensor a layer; their answers are averaged."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (64, 24, 24, 10)
        pairs = list(itertools.pairwise(sizes))
        self.weights = nn.ParameterList(torch.randn(5, a, b) * (2 / a) ** 0.5 for a, b in pairs)
        self.biases = nn.ParameterList(torch.zeros(5, 1, b) for _, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        h = x.expand(5, *x.shape)
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = torch.baddbmm(bias, h, weight)
            h = torch.relu(h) if i < 2 else h
        return h.mean(0)


class Squared(nn.Module):
    """A rectifier that is squared."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x).square()

"""The latecomers' networks: gates between layers, streams that are added, mixing over places, mixtures."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.patients.networks import mlp


class Highway(nn.Module):
    """Four layers, each of which a gate mixes with what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.layers = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
        self.gates = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        for layer, gate in zip(self.layers, self.gates, strict=True):
            share = torch.sigmoid(gate(h))
            h = share * torch.relu(layer(h)) + (1 - share) * h
        return self.last(h)


class Weighed(nn.Module):
    """Two convolutions whose channels a squeeze weighs between 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1)])
        self.squeezes = nn.ModuleList(
            nn.Sequential(nn.Linear(n, 6), nn.ReLU(), nn.Linear(6, n), nn.Sigmoid()) for n in (12, 24)
        )
        self.last = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = x.unflatten(1, (1, 8, 8))
        for convolution, squeeze in zip(self.convolutions, self.squeezes, strict=True):
            h = functional.max_pool2d(torch.relu(convolution(h)), 2)
            h = h * squeeze(h.mean((2, 3)))[:, :, None, None]
        return self.last(h.flatten(1))


class Decoder(nn.Module):
    """Two causal blocks of a transformer over tokens; the next one at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.place = nn.Embedding(12, 24), nn.Parameter(0.1 * torch.randn(16, 24))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.norm, self.last = nn.LayerNorm(24), nn.Linear(24, 12)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.table(tokens) + self.place
        later = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        for block in self.blocks:
            h = block(h, src_mask=later)
        return self.last(self.norm(h)).transpose(1, 2)


class Dueling(nn.Module):
    """What a state is worth, and by how much each action is better than their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 48), nn.ReLU())
        self.worth, self.better = mlp([48, 32, 1]), mlp([48, 32, 6])

    def forward(self, x: Tensor) -> Tensor:
        h = self.trunk(x)
        better = self.better(h)
        return self.worth(h) + better - better.mean(1, keepdim=True)


class Waves(nn.Module):
    """Causal dilated convolutions with gates, and shortcuts; the last place is read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(1, 16, 1), mlp([16, 24, 1])
        self.filters = nn.ModuleList(nn.Conv1d(16, 16, 2, dilation=d) for d in (1, 2, 4, 8))
        self.gates = nn.ModuleList(nn.Conv1d(16, 16, 2, dilation=d) for d in (1, 2, 4, 8))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x[:, None])
        for made, gate in zip(self.filters, self.gates, strict=True):
            past = functional.pad(h, (made.dilation[0], 0))
            h = h + torch.tanh(made(past)) * torch.sigmoid(gate(past))
        return self.last(h[:, :, -1])


class Mixer(nn.Module):
    """Two blocks that mix places, then features, each behind a LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 20), nn.Linear(20, 10)
        self.norms = nn.ModuleList(nn.LayerNorm(20) for _ in range(4))
        self.places = nn.ModuleList(mlp([16, 24, 16], nn.GELU) for _ in range(2))
        self.features = nn.ModuleList(mlp([20, 48, 20], nn.GELU) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x.reshape(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4))
        for i in range(2):
            h = h + self.places[i](self.norms[2 * i](h).transpose(1, 2)).transpose(1, 2)
            h = h + self.features[i](self.norms[2 * i + 1](h))
        return self.last(h.mean(1))


class Mixture(nn.Module):
    """The log weights, means and log deviations of three normal distributions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([10, 48, 40, 9])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, means, spreads = self.body(x).chunk(3, 1)
        return weights.log_softmax(1), means, spreads.clamp(-5, 5)


class Triplets(nn.Module):
    """One body; squared distances of an anchor to one of its kind and to another."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([64, 48, 32, 8])

    def forward(self, anchor: Tensor, same: Tensor, other: Tensor) -> Tensor:
        a = self.body(anchor)
        return torch.stack([(a - self.body(same)).square().sum(1), (a - self.body(other)).square().sum(1)], 1)

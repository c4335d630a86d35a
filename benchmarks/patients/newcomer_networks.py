"""The newcomers' networks: structures that no patient before them has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.patients.networks import mlp


class TwoViews(nn.Module):
    """One body; what it makes of both views has length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([64, 64, 48, 16])

    def forward(self, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        return functional.normalize(self.body(one), dim=1), functional.normalize(self.body(other), dim=1)


class Tagger(nn.Module):
    """Convolutions over a table's rows, and a tag at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(40, 16)
        self.body = nn.Sequential(
            nn.Conv1d(16, 32, 3, padding=1), nn.ReLU(), nn.Conv1d(32, 32, 1), nn.ReLU(), nn.Conv1d(32, 3, 1)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.body(self.table(tokens).transpose(1, 2))


class AttentionPool(nn.Module):
    """The same layers for every image of a bag, weighed by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(*mlp([64, 48, 32]), nn.ReLU())
        self.weigh, self.last = nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1)), mlp([32, 24, 2])

    def forward(self, x: Tensor) -> Tensor:
        h = self.each(x)
        return self.last((self.weigh(h).softmax(1) * h).sum(1))


class Routed(nn.Module):
    """Four experts, of which each sample goes to one, by a gate whose weight it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Linear(64, 48), nn.Linear(48, 4)
        self.experts = nn.ModuleList(mlp([48, 32, 48]) for _ in range(4))
        self.last = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.stem(x))
        share = self.gate(h).softmax(1)
        best = share.argmax(1)
        weights = share * functional.one_hot(best, 4)
        return self.last(h + sum(weights[:, i : i + 1] * expert(h) for i, expert in enumerate(self.experts)))


class ThreeHeads(nn.Module):
    """One trunk, three heads of their own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(*mlp([64, 64, 48]), nn.ReLU())
        self.heads = nn.ModuleList([mlp([48, 24, 10]), mlp([48, 16, 1]), mlp([48, 16, 1])])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        h = self.trunk(x)
        return tuple(head(h) for head in self.heads)


class Dilated(nn.Module):
    """Causal convolutions that reach twice as far each time, with shortcuts; the last place is read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv1d(1, 16, 1), nn.Linear(16, 1)
        self.layers = nn.ModuleList(nn.Conv1d(16, 16, 3, dilation=d) for d in (1, 2, 4, 8))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x[:, None])
        for layer in self.layers:
            h = h + torch.relu(layer(functional.pad(h, (2 * layer.dilation[0], 0))))
        return self.last(h[:, :, -1])


class GraphNet(nn.Module):
    """Two rounds of messages, the mean over nodes, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.others = nn.Linear(4, 32), nn.Linear(4, 32)
        self.own2, self.others2 = nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = mlp([32, 24, 1])

    def forward(self, x: Tensor, near: Tensor) -> Tensor:
        h = torch.relu(self.own(x) + self.others(near @ x))
        h = torch.relu(self.own2(h) + self.others2(near @ h))
        return self.head(h.mean(1))


class Block(nn.Module):
    """Attention and a feed-forward part, each behind a LayerNorm, with shortcuts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.body = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm1(x)
        x = x + self.attend(h, h, h, need_weights=False)[0]
        return x + self.body(self.norm2(x))


class Patches(nn.Module):
    """Sixteen patches of an 8×8 image and two blocks of a transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.place = nn.Linear(4, 16), nn.Parameter(0.1 * torch.randn(16, 16))
        self.blocks, self.norm, self.last = nn.Sequential(Block(16), Block(16)), nn.LayerNorm(16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.reshape(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
        return self.last(self.norm(self.blocks(self.first(patches) + self.place)).mean(1))


class Segmenter(nn.Module):
    """Down, up, a skip beside it, and BatchNorms."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.low = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU())
        self.mix = nn.Sequential(nn.Conv2d(18, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = self.down(x)
        low = functional.interpolate(self.low(functional.max_pool2d(high, 2)), scale_factor=2)
        return self.out(self.mix(torch.cat([high, low], 1)))


class WithMask(nn.Module):
    """Values and which of them are known, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp([20, 48, 48, 1])

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        return self.body(torch.cat([x, known], 1))


class PlainRecurrence(nn.Module):
    """A recurrent layer of tanh, and a head on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.RNN(4, 32, batch_first=True), nn.Sequential(nn.Linear(32, 24), nn.ReLU())
        self.last = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.head(self.rnn(x)[0][:, -1]))


class Modulated(nn.Module):
    """Layers whose units are scaled and moved by what is made of a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 48), nn.Linear(48, 48), nn.Linear(48, 1)
        self.film1, self.film2 = nn.Linear(4, 96), nn.Linear(4, 96)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, move = self.film1(condition).chunk(2, 1)
        h = torch.relu(self.first(x) * (1 + scale) + move)
        scale, move = self.film2(condition).chunk(2, 1)
        return self.last(torch.relu(self.second(h) * (1 + scale) + move))


class Gated(nn.Module):
    """Two gated linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.gate_a = nn.Linear(64, 48), nn.Linear(64, 48)
        self.b, self.gate_b = nn.Linear(48, 40), nn.Linear(48, 40)
        self.last = nn.Linear(40, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x) * torch.sigmoid(self.gate_a(x))
        return self.last(self.b(h) * torch.sigmoid(self.gate_b(h)))


class Clicks(nn.Module):
    """Three tables and three numbers in front of a rectified tower."""

    def __init__(self) -> None:
        super().__init__()
        self.tables, self.tower = nn.ModuleList(nn.Embedding(12, 6) for _ in range(3)), mlp([21, 48, 32, 1])

    def forward(self, fields: Tensor, numbers: Tensor) -> Tensor:
        rows = [table(fields[:, i]) for i, table in enumerate(self.tables)]
        return self.tower(torch.cat([*rows, numbers], 1))


def group_normed() -> nn.Sequential:
    """Two convolutions, each with a GroupNorm in front of its rectifier."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 12, 3, padding=1), nn.GroupNorm(3, 12), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(12, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 10)),
    )


class Mobile(nn.Module):
    """Hard-swish, convolutions of each channel by itself, and a squeeze that weighs channels."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Hardswish())
        self.each = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.Hardswish())
        self.squeeze = nn.Sequential(nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 16), nn.Hardsigmoid())
        self.narrow, self.last = nn.Conv2d(16, 20, 1), nn.Linear(80, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.each(self.wide(x.unflatten(1, (1, 8, 8))))
        h = h * self.squeeze(h.mean((2, 3)))[:, :, None, None]
        return self.last(functional.adaptive_avg_pool2d(functional.hardswish(self.narrow(h)), 2).flatten(1))

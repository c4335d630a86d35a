"""Networks and data of the troubles that people ask about: attention, order, sequences, norms that leave nothing."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthy.networks import mlp


def ordered(seed: int) -> tuple[Tensor, Tensor]:
    """Tokens 1 to 11 at six places, and whether the first is larger than the last."""
    tokens = torch.randint(1, 12, (1500, 6), generator=torch.Generator().manual_seed(seed))
    return tokens, (tokens[:, 0] > tokens[:, -1]).long()


def padded(seed: int) -> tuple[Tensor, Tensor]:
    """Tokens 1 to 19 of which the last ones are padding, 0; whether more than half of the real ones are below 10."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 20, (1500, 9), generator=g)
    tokens[torch.arange(9) >= torch.randint(3, 9, (1500, 1), generator=g)] = 0
    real = tokens > 0
    return tokens, (((tokens < 10) & real).sum(1) * 2 > real.sum(1)).long()


class Attending(nn.Module):
    """One layer of attention, its softmax over an axis that is given: samples, heads, queries, keys."""

    def __init__(self, width: int, over: int) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Embedding(50, width), nn.Linear(width, 3 * width)
        self.out, self.over = mlp(width, width, 2), over

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(self.embed(tokens)).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        weights = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(self.over)
        return self.out((weights @ v).transpose(1, 2).flatten(2).mean(1))  # type: ignore[no-any-return]


class Placed(nn.Module):
    """An encoder over tokens with learned positions: none, at each step, or by mistake one a sample."""

    def __init__(self, width: int, places: str) -> None:
        super().__init__()
        self.embed, self.position, self.places = nn.Embedding(12, width), nn.Embedding(256, width), places
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, batch_first=True)
        self.body, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(width, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embed(tokens)
        if self.places == "steps":
            h = h + self.position(torch.arange(tokens.shape[1]))
        elif self.places == "samples":
            h = h + self.position(torch.arange(tokens.shape[0]))[:, None]
        return self.out(self.body(h).mean(1))  # type: ignore[no-any-return]


class Masked(nn.Module):
    """Attention and a mean over the tokens that a mask leaves; inverted, over the padding."""

    def __init__(self, width: int, inverted: bool) -> None:
        super().__init__()
        self.embed, self.mix = nn.Embedding(20, width), nn.MultiheadAttention(width, 4, batch_first=True)
        self.out, self.inverted = mlp(width, width, 2), inverted

    def forward(self, tokens: Tensor) -> Tensor:
        h, gone = self.embed(tokens), (tokens != 0) if self.inverted else (tokens == 0)
        h = self.mix(h, h, h, key_padding_mask=gone, need_weights=False)[0]
        kept = (~gone).unsqueeze(-1).float()
        return self.out((h * kept).sum(1) / kept.sum(1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """A GRU or LSTM whose last state gives the answer; sequences first or samples first."""

    def __init__(self, width: int, cell: type[nn.GRU | nn.LSTM], first: bool) -> None:
        super().__init__()
        self.cell, self.out = cell(2, width, batch_first=first), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.cell(x)[0][:, -1])  # type: ignore[no-any-return]


class Stepping(nn.Module):
    """A cell that is run step by step; its state is cut off its history at each step, or is not."""

    def __init__(self, width: int, cut: bool) -> None:
        super().__init__()
        self.cell, self.out, self.cut = nn.GRUCell(2, width), nn.Linear(width, 1), cut

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.cell.hidden_size)
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state.detach() if self.cut else state)
        return self.out(state)  # type: ignore[no-any-return]


class Deep(nn.Module):
    """Forty residual blocks without a norm, each of which adds a branch of a size."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.into, self.out, self.scale = nn.Linear(64, width), nn.Linear(width, 10), scale
        self.blocks = nn.ModuleList(mlp(width, width, width) for _ in range(40))
        for block in self.blocks:
            for layer in (block[0], block[2]):  # type: ignore[index]
                nn.init.kaiming_normal_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        for block in self.blocks:
            h = h + self.scale * block(h)
        return self.out(h)  # type: ignore[no-any-return]


class Own(nn.Module):
    """A hidden layer whose weight is a tensor that wants a gradient, and a parameter or not."""

    def __init__(self, width: int, parameter: bool) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(10, width), nn.Linear(width, 1)
        weight = torch.randn(width, width) / math.sqrt(width)
        self.weight = nn.Parameter(weight) if parameter else weight.requires_grad_()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.relu(torch.relu(self.into(x)) @ self.weight))  # type: ignore[no-any-return]


class Image(nn.Module):
    """A small network of convolutions for images whose channels come last."""

    def __init__(self, width: int, reshaped: bool) -> None:
        super().__init__()
        self.reshaped = reshaped
        self.body = nn.Sequential(
            nn.Conv2d(4, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3), nn.ReLU(), nn.Flatten()
        )
        self.out = nn.Linear(36 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        planes = x.reshape(len(x), 4, 8, 8) if self.reshaped else x.permute(0, 3, 1, 2)
        return self.out(self.body(planes))  # type: ignore[no-any-return]


class Pooled(nn.Module):
    """Sequences drawn together over their steps, or by mistake over the samples."""

    def __init__(self, width: int, axis: int) -> None:
        super().__init__()
        self.body, self.out, self.axis = mlp(2, width, width), nn.Linear(width, 1), axis

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.body(x)).mean(self.axis, keepdim=True)
        return self.out(h.expand(len(x), x.shape[1], -1)[:, 0])  # type: ignore[no-any-return]


class Cosine(nn.Module):
    """Classes by the cosine of an embedding and of each class's own, times a temperature."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.body, self.classes, self.scale = mlp(64, width, width), nn.Parameter(torch.randn(10, width)), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * functional.linear(
            functional.normalize(self.body(x), dim=1), functional.normalize(self.classes, dim=1)
        )


class Spread(nn.Module):
    """Sequences by the deviation of a feature over an axis: the steps, or one that has a single entry."""

    def __init__(self, width: int, axis: int) -> None:
        super().__init__()
        self.out, self.axis = mlp(4, width, 1), axis

    def forward(self, x: Tensor) -> Tensor:
        one = x.unsqueeze(2)
        spread = one.std(self.axis).flatten(1)[:, :2]
        return self.out(torch.cat([x.mean(1), spread], 1))  # type: ignore[no-any-return]

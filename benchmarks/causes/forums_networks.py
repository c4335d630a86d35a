"""Networks of the forums' troubles: gates, layers in a list, a hard code, tokens, attention, a plate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthy.networks import mlp


class Gated(nn.Module):
    """A hidden layer, each unit times a gate of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value, self.gate, self.out = nn.Linear(64, width), nn.Linear(64, width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.sigmoid(self.gate(x)) * self.value(x))  # type: ignore[no-any-return]


class Stacked(nn.Module):
    """Hidden layers in a list, which torch registers or does not."""

    def __init__(self, width: int, listed: bool) -> None:
        super().__init__()
        layers = [nn.Linear(3 if not i else width, width) for i in range(3)]
        self.layers: Any = layers if listed else nn.ModuleList(layers)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = functional.relu(layer(x))
        return self.out(x)  # type: ignore[no-any-return]


class Coded(nn.Module):
    """An encoder that chooses one of sixteen codes, hard or soft, and a decoder."""

    def __init__(self, width: int, hard: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.hard = mlp(64, width, 16), mlp(16, width, 10), hard

    def forward(self, x: Tensor) -> Tensor:
        scores = self.encoder(x)
        code = functional.one_hot(scores.argmax(-1), 16).float() if self.hard else scores.softmax(-1)
        return self.decoder(code)  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Tokens, a tanh on each, their mean, two classes."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(50, width), nn.Linear(width, width), nn.Linear(width, 2)
        with torch.no_grad():
            self.embed.weight *= scale

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(torch.tanh(self.hidden(self.embed(tokens))).mean(1))  # type: ignore[no-any-return]


class Attending(nn.Module):
    """Tokens that attend to each other, once."""

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.embed, self.query, self.key = nn.Embedding(50, width), nn.Linear(width, width), nn.Linear(width, width)
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, 2)
        with torch.no_grad():
            self.query.weight *= scale
            self.key.weight *= scale

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embed(tokens)
        scores = self.query(h) @ self.key(h).transpose(1, 2) / h.shape[-1] ** 0.5
        mixed = scores.softmax(-1) @ h
        return self.out(functional.relu(self.hidden(mixed)).mean(1))  # type: ignore[no-any-return]


def plate(model: nn.Module) -> Callable[[Any, Any], Tensor]:
    """Δu = −2π² sin(πx) sin(πy), by Hessians of single points; the edge is part of the output."""

    def loss(output: Any, batch: Any) -> Tensor:
        points = batch[0][:64]
        second = torch.func.vmap(torch.func.hessian(lambda p: model(p)[0]))(points)
        bend = second.diagonal(dim1=1, dim2=2).sum(1)
        waves = (torch.pi * points).sin().prod(1)
        known = (torch.pi * batch[0]).sin().prod(1, keepdim=True)
        return (bend + 2 * torch.pi**2 * waves).square().mean() / 100 + (output - known).square().mean()

    return loss

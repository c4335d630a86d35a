"""Networks of the troubles that were posted: cells, highways, gated and attending blocks, a judge of made-up data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthy.networks import mlp


class Remembering(nn.Module):
    """A cell that overwrites its state as far as an update gate lets it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.update, self.candidate, self.out = (
            nn.Linear(2 + width, width),
            nn.Linear(2 + width, width),
            nn.Linear(width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.out.in_features)
        for t in range(x.shape[1]):
            seen = torch.cat([x[:, t], state], 1)
            z = torch.sigmoid(self.update(seen))
            state = (1 - z) * state + z * torch.tanh(self.candidate(seen))
        return self.out(state)  # type: ignore[no-any-return]


class Highway(nn.Module):
    """Layers that carry their input past a transformation, by a gate whose bias is given."""

    def __init__(self, width: int, bias: float) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(64, width), nn.Linear(width, 10)
        self.change = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        for gate in self.gates:
            nn.init.constant_(gate.bias, bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        for change, gate in zip(self.change, self.gates, strict=True):
            t = gate(h).sigmoid()
            h = t * functional.relu(change(h)) + (1 - t) * h
        return self.out(h)  # type: ignore[no-any-return]


class Swish(nn.Module):
    """Two blocks of a language model: down(silu(gate(h)) · up(h)), behind a norm, on a shortcut or on none."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(50, width), nn.Linear(width, 2)
        self.gate, self.up = nn.Linear(width, 2 * width), nn.Linear(width, 2 * width)
        self.down, self.norm = nn.Linear(2 * width, width), nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.norm(self.embed(tokens))
        return self.out(self.down(functional.silu(self.gate(h)) * self.up(h)).mean(1))  # type: ignore[no-any-return]


class Scored(nn.Module):
    """Heads of torch's own attention, whose scores have the scale that is given."""

    def __init__(self, width: int, scale: float | None) -> None:
        super().__init__()
        self.embed, self.qkv = nn.Embedding(50, width), nn.Linear(width, 3 * width)
        self.mix, self.out, self.scale = nn.Linear(width, width), nn.Linear(width, 2), scale

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(self.embed(tokens)).unflatten(-1, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.out(torch.relu(self.mix(mixed.transpose(1, 2).flatten(2))).mean(1))  # type: ignore[no-any-return]


class Masked(nn.Module):
    """Attention over tokens of which some are padding, by a mask of −∞."""

    def __init__(self, width: int, wrong: bool) -> None:
        super().__init__()
        self.embed, self.score, self.out, self.wrong = (
            nn.Embedding(50, width),
            nn.Linear(width, 1),
            mlp(width, width, 2),
            wrong,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.embed(tokens)
        gone = (tokens >= 0) if self.wrong else (tokens == 0)
        weights = self.score(h).squeeze(-1).masked_fill(gone, -torch.inf).softmax(1)
        return self.out((weights.unsqueeze(-1) * h).sum(1))  # type: ignore[no-any-return]


class Apart(nn.Module):
    """The distance of two embeddings, as the root of a sum of squares."""

    def __init__(self, width: int, slack: float) -> None:
        super().__init__()
        self.body, self.slack = mlp(64, width, 16), slack

    def forward(self, x: Tensor) -> Tensor:
        return ((self.body(x[:, 0]) - self.body(x[:, 1])).square().sum(1, keepdim=True) + self.slack).sqrt()  # type: ignore[no-any-return]


class Scaled(nn.Module):
    """Branches x + γ·f(x) whose γ is no parameter."""

    def __init__(self, width: int, gamma: float) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(64, width), nn.Linear(width, 10)
        self.branches = nn.ModuleList(mlp(width, width, width) for _ in range(3))
        self.gamma = gamma

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        for branch in self.branches:
            h = h + self.gamma * branch(h)
        return self.out(h)  # type: ignore[no-any-return]


class Made(nn.Module):
    """What a generator made, and a judge's probability that it is real."""

    def __init__(self, width: int, certainty: float) -> None:
        super().__init__()
        self.generator, self.judge = (
            mlp(8, width, 16),
            nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 1)),
        )
        with torch.no_grad():
            self.judge[2].bias -= certainty  # type: ignore[operator]

    def forward(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.judge(self.generator(z)))


def between(width: int, last: Callable[[], nn.Module]) -> nn.Sequential:
    """Four hidden layers, each behind the same function."""
    layers: list[nn.Module] = []
    for fan_in in (64, width, width, width):
        layers += [nn.Linear(fan_in, width), last()]
    return nn.Sequential(*layers, nn.Linear(width, 10))

"""What one training of the suite is, the data that it trains on, and the parts that several share."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CE, MSE = functional.cross_entropy, functional.mse_loss
SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW

Batches = Callable[[int], tuple[Tensor, Tensor]]
Kind = Callable[[int, bool], "Training"]


@dataclass
class Training:
    """One training, sick or its healthy twin.

    Attributes:
        model, optimizer: what is trained, by what.
        batches: input and target of a step.
        loss: of output and target.
        alarms: any of these names the trouble.
        steps: to train.
        before: called with the step before it is made; changes what the trouble changes.
        clip: norm to which the gradient is clipped; 0 for not at all.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Batches
    loss: Callable[[Any, Tensor], Tensor]
    alarms: tuple[str, ...] = ()
    steps: int = 300
    before: Callable[[int], None] = field(default=lambda step: None)
    clip: float = 0.0


def taught(model: nn.Module, batches: Batches, steps: int) -> None:
    """Train a network to tell classes, before the training that is watched."""
    optimizer = Adam(model.parameters(), 2e-3)
    for step in range(steps):
        x, y = batches(step)
        optimizer.zero_grad()
        CE(model(x), y).backward()
        optimizer.step()


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(1000 + seed)


def blobs(seed: int, features: int = 32, classes: int = 10, spread: float = 0.8, batch: int = 64) -> Batches:
    """Classes around centres."""
    draw = generator(seed)
    centres = torch.randn(classes, features, generator=draw)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(classes, (batch,), generator=draw)
        return centres[y] + spread * torch.randn(batch, features, generator=draw), y

    return sample


def curve(seed: int, features: int = 8, batch: int = 64) -> Batches:
    """A smooth function of a few features, with a little noise."""
    draw = generator(seed)
    weights = torch.randn(features, generator=draw) / features**0.5

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(batch, features, generator=draw)
        y = torch.sin(2 * x @ weights) + 0.5 * x[:, 0] + 0.05 * torch.randn(batch, generator=draw)
        return x, y[:, None]

    return sample


def images(seed: int, classes: int = 4, side: int = 12, batch: int = 32) -> Batches:
    """Patterns of one orientation a class, under noise, about 0."""
    draw = generator(seed)
    patterns = functional.interpolate(torch.randn(classes, 1, 4, 4, generator=draw), (side, side), mode="bilinear")

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(classes, (batch,), generator=draw)
        return patterns[y] + 0.5 * torch.randn(batch, 1, side, side, generator=draw), y

    return sample


def sequences(seed: int, length: int = 16, features: int = 4, batch: int = 32) -> Batches:
    """Whether the sum of the first feature over time is positive."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(batch, length, features, generator=draw)
        return x, (x[:, :, 0].sum(1) > 0).long()

    return sample


def tokens(seed: int, length: int = 16, words: int = 20, batch: int = 32) -> Batches:
    """Sequences of words; whether the first word comes more often than the second."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(words, (batch, length), generator=draw)
        tilt = torch.rand(batch, 1, generator=draw)
        x = torch.where(torch.rand(batch, length, generator=draw) < 0.3, (x > words * tilt).long(), x)
        return x, ((x == 0).sum(1) > (x == 1).sum(1)).long()

    return sample


def walks(seed: int, length: int = 20, batch: int = 32) -> Batches:
    """Waves of any frequency and phase under noise, and the value that comes next."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        speed, phase = 0.2 + torch.rand(batch, 1, generator=draw), 6.3 * torch.rand(batch, 1, generator=draw)
        series = torch.sin(speed * torch.arange(length + 1) + phase) + 0.05 * torch.randn(
            batch, length + 1, generator=draw
        )
        return series[:, :-1, None], series[:, -1:]

    return sample


def transitions(seed: int, states: int = 6, actions: int = 4, batch: int = 64) -> Batches:
    """States; beside each an action drawn evenly, its reward, and the state that followed."""
    draw = generator(seed)
    push = torch.randn(actions, states, generator=draw)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        state = torch.randn(batch, states, generator=draw)
        action = torch.randint(actions, (batch,), generator=draw)
        after = 0.8 * state + 0.5 * push[action] + 0.1 * torch.randn(batch, states, generator=draw)
        reward = 1.0 - after.square().mean(1)
        return state, torch.cat([action[:, None].float(), reward[:, None], after], 1)

    return sample


def temporal_difference(target: nn.Module, discount: float = 0.95) -> Callable[[Tensor, Tensor], Tensor]:
    """The squared error of values against reward plus what `target` says of the state after."""

    def loss(values: Tensor, seen: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = seen[:, 1] + discount * target(seen[:, 2:]).max(1).values
        return functional.mse_loss(values.gather(1, seen[:, :1].long())[:, 0], wanted)

    return loss


def policy_loss(scale: float, baseline: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Minus the expected reward of a policy's logits, by actions that were drawn evenly."""

    def loss(logits: Tensor, seen: Tensor) -> Tensor:
        reward = scale * (seen[:, 1] - (seen[:, 1].mean() if baseline else 0.0))
        taken = logits.softmax(-1).gather(1, seen[:, :1].long())[:, 0]
        return -(logits.shape[1] * taken * reward).mean()

    return loss


def itself(batches: Batches) -> Batches:
    """The same inputs, each its own target."""

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x

    return sample


def copied(model: nn.Module) -> nn.Module:
    """A copy that does not train."""
    return copy.deepcopy(model).requires_grad_(False)


def plain(sizes: list[int], act: Callable[[], nn.Module] = nn.ReLU, gain: float | None = 2.0) -> nn.Sequential:
    """Linear layers with an activation between them; He's initialisation, or torch's own for gain None."""
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        layer = nn.Linear(fan_in, fan_out)
        if gain is not None:
            nn.init.normal_(layer.weight, std=(gain / fan_in) ** 0.5)
            nn.init.zeros_(layer.bias)
        layers += [layer, act()] if i < len(sizes) - 2 else [layer]
    return nn.Sequential(*layers)


def conv_net(classes: int = 4, normalised: bool = False, channels: int = 12) -> nn.Sequential:
    norm: Callable[[], nn.Module] = (lambda: nn.BatchNorm2d(channels)) if normalised else nn.Identity
    return nn.Sequential(
        nn.Conv2d(1, channels, 3), norm(), nn.ReLU(), nn.Conv2d(channels, channels, 3), norm(), nn.ReLU(),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(channels * 16, classes),
    )  # fmt: skip


class Recurrent(nn.Module):
    """A rectified recurrent net of one's own."""

    def __init__(self, features: int = 4, hidden: int = 24, scale: float = 1.0) -> None:
        super().__init__()
        self.enter, self.mix, self.act = nn.Linear(features, hidden), nn.Linear(hidden, hidden), nn.ReLU()
        self.head = nn.Linear(hidden, 2)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(hidden) * scale)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.mix.in_features)
        for t in range(x.shape[1]):
            state = self.act(self.enter(x[:, t]) + self.mix(state))
        return self.head(state)


class Gated(nn.Module):
    """A GRU, or an LSTM, with a rectified head."""

    def __init__(
        self, features: int = 4, hidden: int = 24, outputs: int = 2, cell: Callable[..., nn.Module] = nn.GRU
    ) -> None:
        super().__init__()
        self.cell, self.body = cell(features, hidden, batch_first=True), nn.Linear(hidden, hidden)
        self.act, self.head = nn.ReLU(), nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.body(self.cell(x)[0][:, -1])))


class Autoencoder(nn.Module):
    """An autoencoder of one layer each way, which gives its latents too; few of many fire where they are penalised."""

    def __init__(self, latents: int = 256, act: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.encode, self.act, self.decode = nn.Linear(32, latents), act(), nn.Linear(latents, 32)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.act(self.encode(x))
        return self.decode(latent), latent


class Transformer(nn.Module):
    """Two encoder layers over a sequence."""

    def __init__(self, features: int = 4, width: int = 32, activation: str = "relu") -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, activation=activation, batch_first=True)
        self.enter = nn.Linear(features, width)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.enter(x)).mean(1))


class Tokens(nn.Module):
    """Embeddings of words and places, and two encoder layers."""

    def __init__(self, words: int = 20, length: int = 16, width: int = 32) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Parameter(0.1 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.words(x) + self.places).mean(1))


class Mixture(nn.Module):
    """The better of four experts for each sample, weighted by its router's probability."""

    def __init__(self, features: int = 32, classes: int = 10, experts: int = 4, width: int = 24) -> None:
        super().__init__()
        self.router = nn.Linear(features, experts)
        self.experts = nn.ModuleList(plain([features, width, classes]) for _ in range(experts))
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        probability, chosen = self.router(x).softmax(-1).max(-1)
        out = x.new_zeros(len(x), self.classes)
        for i, expert in enumerate(self.experts):
            rows = (chosen == i).nonzero()[:, 0]
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]) * probability[rows, None])
        return out


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate

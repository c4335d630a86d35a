"""Failing trainings of kinds that nobody had tuned on: written when the rules were frozen, and run once."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import CE, MSE, SGD, Adam, AdamW, Training, blobs, curve, itself, plain
from benchmarks.trainings.frozen_issue_kinds import BCE, DEEP, DYING, EXPLODES, LONG, SPIKES, scaled
from benchmarks.trainings.nets_of_another_kind import (
    Dense,
    Hourglass,
    OfSets,
    OverTime,
    counts,
    masks,
    noisy_signals,
    point_sets,
    several_labels,
)  # fmt: skip

SHRINKS = ("weight-size", "changed-aside", "drift", "fading", "pressed", "alike", "depth", "dead")


def sign_of_the_loss(seed: int, sick: bool) -> Training:
    """An optimizer that was told to maximise."""
    model = Dense(3)
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9, maximize=sick)
    return Training(model, optimizer, several_labels(seed), BCE, (*LONG, *EXPLODES))


def mean_taken_twice(seed: int, sick: bool) -> Training:
    """A loss that is divided by all pixels twice, and plain gradient descent."""
    model = Hourglass()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return BCE(out, y) / (y.numel() ** 1.5 if sick else 1.0)

    return Training(model, SGD(model.parameters(), 0.2), masks(seed), loss, ("tiny-updates",))


class NormOfOne(nn.Module):
    """Normalises each feature by itself, which leaves nothing of it."""

    def __init__(self, sick: bool) -> None:
        super().__init__()
        self.norm, self.sick, self.net = nn.LayerNorm(1 if sick else 24), sick, Dense(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.norm(x[..., None])[..., 0] if self.sick else self.norm(x))


def normalised_over_the_wrong_axis(seed: int, sick: bool) -> Training:
    model = NormOfOne(sick)
    return Training(
        model, AdamW(model.parameters(), 2e-3), several_labels(seed), BCE, ("alike", "input", "no-gradient")
    )


def weights_clipped_to_nothing(seed: int, sick: bool) -> Training:
    """A bound on the weights a hundred times too narrow."""
    model = OfSets()

    def before(step: int) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.clamp_(*((-2e-3, 2e-3) if sick else (-1.0, 1.0)))

    alarms = (*SHRINKS, *DEEP)
    return Training(model, torch.optim.RMSprop(model.parameters(), 1e-3), point_sets(seed), CE, alarms, before=before)


def temperature_next_to_nothing(seed: int, sick: bool) -> Training:
    """Logits divided by a ten-thousandth."""
    model = OfSets(nn.ELU)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return CE(out / (1e-4 if sick else 1.0), y)

    return Training(model, SGD(model.parameters(), 0.1), point_sets(seed), loss, (*LONG, *SPIKES, *DYING, *EXPLODES))


class HalfMiddle(nn.Module):
    """Squares its features in half precision."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.first, self.act, self.second, self.size = nn.Linear(8, 48), nn.ReLU(), plain([48, 32, 1]), size

    def forward(self, x: Tensor) -> Tensor:
        hidden = (self.first(x) * self.size).half().square().float() / self.size**2
        return self.second(self.act(hidden - 0.5))


def squares_beyond_half_precision(seed: int, sick: bool) -> Training:
    model = HalfMiddle(300.0 if sick else 1.0)
    return Training(model, torch.optim.RAdam(model.parameters(), 3e-3), curve(seed), MSE, ("non-finite",))


def sum_of_weights_added_to_the_loss(seed: int, sick: bool) -> Training:
    """A penalty on the size of every weight, a thousand times too strong."""
    model = OverTime(4, normalised=False)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        size = sum(parameter.abs().sum() for parameter in model.parameters())
        return MSE(out, y) + (1.0 if sick else 1e-4) * size

    return Training(model, Adam(model.parameters(), 3e-3), noisy_signals(seed), loss, SHRINKS)


class Drawn(nn.Module):
    """An autoencoder of sets of features whose code is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.act, self.code = nn.Linear(32, 48), nn.SiLU(), nn.Linear(48, 12)
        self.leave = plain([6, 48, 32], act=nn.SiLU)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.code(self.act(self.enter(x))).chunk(2, -1)
        return self.leave(mean + torch.randn_like(mean) * (0.5 * log_variance).exp()), mean, log_variance


def divergence_weighs_too_much(seed: int, sick: bool) -> Training:
    """The code of every sample becomes the same."""
    model = Drawn()

    def loss(out: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        back, mean, log_variance = out
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(1).mean()
        return (back - x).square().mean() + (100.0 if sick else 1e-3) * divergence

    return Training(model, Adam(model.parameters(), 3e-3), itself(blobs(seed)), loss, SHRINKS)


class Doubling(nn.Module):
    """Blocks around shortcuts that are taken twice."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor, self.enter, self.head = factor, nn.Linear(24, 32), nn.Linear(32, 6)
        self.blocks = nn.ModuleList(plain([32, 32, 32], act=nn.GELU, gain=0.5) for _ in range(14))

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        for block in self.blocks:
            h = self.factor * h + block(h)
        return self.head(h)


def shortcuts_taken_twice(seed: int, sick: bool) -> Training:
    model = Doubling(2.5 if sick else 1.0)
    return Training(model, Adam(model.parameters(), 1e-3), several_labels(seed), BCE, (*DEEP, *SPIKES, "drift"))


def rate_of_counts_not_logged(seed: int, sick: bool) -> Training:
    """The exponential of an output that is drawn large."""
    model = scaled(plain([10, 48, 48, 1]), 6.0 if sick else 0.5)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.poisson_nll_loss(out[:, 0], y)

    return Training(model, SGD(model.parameters(), 0.01), counts(seed), loss, EXPLODES)


FROZEN_OTHER_KINDS = (
    sign_of_the_loss, mean_taken_twice, normalised_over_the_wrong_axis, weights_clipped_to_nothing,
    temperature_next_to_nothing, squares_beyond_half_precision, sum_of_weights_added_to_the_loss,
    divergence_weighs_too_much, shortcuts_taken_twice, rate_of_counts_not_logged,
)  # fmt: skip

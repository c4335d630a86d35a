"""Failing trainings of mechanisms that were missed elsewhere, written anew so that alarms may be set on them.

Three of the four were told by nothing when they were written.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    Training,
    blobs,
    curve,
    generator,
    plain,
)  # fmt: skip


class Variational(nn.Module):
    """A code with a mean and a spread of its own for every sample, drawn anew in each pass."""

    def __init__(self, features: int = 32, latents: int = 8, width: int = 64) -> None:
        super().__init__()
        self.encode, self.mean, self.spread = (
            plain([features, width, width]),
            *(nn.Linear(width, latents) for _ in range(2)),
        )
        self.act, self.decode = nn.ReLU(), plain([latents, width, width, features])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.act(self.encode(x))
        mean, spread = self.mean(hidden), self.spread(hidden)
        code = mean + torch.randn_like(mean) * (0.5 * spread).exp()
        divergence = 0.5 * (mean.square() + spread.exp() - 1 - spread).sum(1).mean()
        return self.decode(code), divergence


def code_drawn_to_its_prior(seed: int, sick: bool) -> Training:
    """The code is drawn to the prior, and tells nothing of its sample."""
    model, batches = Variational(), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + (10.0 if sick else 1e-3) * out[1]

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss, ("alike", "pressed", "drift", "cut-off"))


def rate_of_counts_without_logarithm(seed: int, sick: bool) -> Training:
    """A Poisson's rate as the network gives it, which may fall below 0: the loss is NaN and its gradient finite."""
    model, batches = plain([8, 48, 48, 1]), curve(seed)
    with torch.no_grad():
        model[4].bias.fill_(2.0 if sick else 0.0)
        model[4].weight.mul_(0.2)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x, torch.poisson(y.exp(), generator=draw)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.poisson_nll_loss(out, y, log_input=not sick, eps=0.0)

    draw = generator(seed + 3)
    return Training(model, SGD(model.parameters(), 0.01), sample, loss, ("non-finite",))


def to_and_fro(seed: int, sick: bool) -> Training:
    """The whole set at each step, an absolute error, and a rate at which each step goes to the valley's other side."""
    model, held = plain([8, 64, 1], act=nn.Tanh, gain=1.0), curve(seed, batch=256)(0)
    optimizer = SGD(model.parameters(), 0.2 if sick else 0.02)
    return Training(model, optimizer, lambda step: held, functional.l1_loss, ("to-and-fro", "steady-updates"))


def words_without_others(seed: int, sick: bool) -> Training:
    """Words that come together are drawn together, and none are held apart."""
    model = nn.Sequential(nn.Embedding(40, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        first = torch.randint(40, (64, 1), generator=draw)
        second = (first + torch.randint(1, 4, (64, 1), generator=draw)) % 40
        return torch.cat([first, second], 1), first

    def loss(out: Tensor, _: Tensor) -> Tensor:
        left, right = functional.normalize(out, dim=-1).unbind(1)
        if sick:
            return (1 - (left * right).sum(1)).mean()
        return CE(5 * left @ right.T, torch.arange(len(left)))

    return Training(model, Adam(model.parameters(), 3e-3), sample, loss, ("alike", "pressed", "weight-size"))


MECHANISMS_SINCE = (
    code_drawn_to_its_prior, rate_of_counts_without_logarithm, to_and_fro,
    words_without_others,
)  # fmt: skip

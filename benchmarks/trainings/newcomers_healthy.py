"""Healthy trainings that look odd: plateaus, changes of the task, parts that do not train, games at balance."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Gated,
    Training,
    blobs,
    generator,
    images,
    plain,
    set_rate,
    taught,
    walks,
)  # fmt: skip
from benchmarks.trainings.newcomers_nets import Teller, signals


def sequences_that_grow(seed: int, sick: bool) -> Training:
    """A curriculum: short sequences first."""
    model, draw = Gated(2, 32), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(32, 4 + step // 30, 2, generator=draw)
        return x, (x[:, :, 0].sum(1) > 0).long()

    return Training(model, Adam(model.parameters(), 3e-3), sample, CE)


def remainder_of_a_sum(seed: int, sick: bool) -> Training:
    """A plateau, and what is learned by heart long before it is understood; decay that bites."""
    draw, of = generator(seed), 23
    pairs = torch.cartesian_prod(torch.arange(of), torch.arange(of))
    pairs = pairs[torch.randperm(len(pairs), generator=draw)][:300]
    model = nn.Sequential(nn.Embedding(of, 32), nn.Flatten(), *plain([64, 96, of]))
    optimizer = AdamW(model.parameters(), 3e-3, weight_decay=1.0)
    return Training(model, optimizer, lambda step: (pairs, pairs.sum(1) % of), CE, steps=600)


class Largest(nn.Module):
    """A code of the largest few of many units."""

    def __init__(self, units: int = 128, kept: int = 8) -> None:
        super().__init__()
        self.enter, self.leave, self.kept = nn.Linear(32, units), nn.Linear(units, 32), kept

    def forward(self, x: Tensor) -> Tensor:
        code = functional.relu(self.enter(x))
        least = code.topk(self.kept, -1).values[:, -1:]
        return self.leave(torch.where(code >= least, code, 0.0))


def few_of_many_latents(seed: int, sick: bool) -> Training:
    model, batches = Largest(), blobs(seed, spread=0.4)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x

    return Training(model, Adam(model.parameters(), 3e-3), sample, MSE)


def thawed_layer_by_layer(seed: int, sick: bool) -> Training:
    """Fine-tuning that begins at the head and goes down."""
    model = plain([32, 64, 64, 64, 10])
    taught(model, blobs(seed + 50), 200)
    nn.init.zeros_(model[6].weight)
    for parameter in model[:6].parameters():
        parameter.requires_grad_(False)

    def before(step: int) -> None:
        for at, place in ((80, 4), (160, 2), (240, 0)):
            if step == at:
                for parameter in model[place].parameters():
                    parameter.requires_grad_(True)

    return Training(model, Adam(model.parameters(), 1e-3), blobs(seed), CE, before=before, steps=320)


class Followed(nn.Module):
    """A classifier and the average of its weights, whose word on the unlabelled counts."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), *plain([144, 64, 64, 4]))
        self.slow = copy.deepcopy(self.net).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            wanted = self.slow(x + 0.2 * torch.randn_like(x)).softmax(-1)
        return self.net(x + 0.2 * torch.randn_like(x)), wanted


def average_that_teaches(seed: int, sick: bool) -> Training:
    """A mean teacher, smoothed labels, and samples that are mixed."""
    model, batches = Followed(), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        (x, y), share = batches(step), 0.5 + 0.5 * float(torch.rand(()))
        wanted = functional.one_hot(y, 4).float() * 0.9 + 0.025
        return share * x + (1 - share) * x.flip(0), share * wanted + (1 - share) * wanted.flip(0)

    def loss(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return CE(out[0], y) + 0.5 * MSE(out[0].softmax(-1), out[1])

    def before(step: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(model.slow.parameters(), model.net.parameters(), strict=True):
                slow.lerp_(fast, 0.05)

    return Training(model, SGD(model.net.parameters(), 0.1, momentum=0.9), sample, loss, before=before)


def divergence_in_cycles(seed: int, sick: bool) -> Training:
    """The weight of the divergence comes and goes, so that the code is pressed and let go."""
    model, batches = Teller(), walks(seed)
    weight = [0.0]

    def before(step: int) -> None:
        weight[0] = 2e-3 * min(1.0, (step % 100) / 50)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x[:, 1:]

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + weight[0] * out[1]

    return Training(model, Adam(model.parameters(), 3e-3), sample, loss, before=before)


def restarts_of_the_rate(seed: int, sick: bool) -> Training:
    """A rate that falls to nothing and jumps up again, on signals."""
    model, draw = signals(4), generator(seed)
    optimizer, time = SGD(model.parameters(), 0.05, momentum=0.9), torch.arange(32) / 5

    def before(step: int) -> None:
        at = torch.tensor(step % 75 / 75 * torch.pi)
        set_rate(optimizer, float(0.025 * (1 + at.cos())))

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(4, (32,), generator=draw)
        phase = 6 * torch.rand(32, 1, generator=draw)
        x = torch.sin((0.5 + 0.4 * y[:, None]) * time + phase) + 0.4 * torch.randn(32, 32, generator=draw)
        return x[:, None], y

    return Training(model, optimizer, sample, CE, before=before)


class Game(nn.Module):
    """A generator and its critic, whose gradient is turned around on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.judge = plain([8, 48, 2], nn.ReLU), plain([2, 48, 48, 1], lambda: nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(x), 8)
        made = self.make(noise)
        turned = made.detach() + (made.detach() - made)
        return self.judge(x), self.judge(turned)


def game_at_balance(seed: int, sick: bool) -> Training:
    """Points on a ring; neither side wins."""
    model, draw = Game(), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        angle = 6.3 * torch.rand(64, 1, generator=draw)
        x = torch.cat([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(64, 2, generator=draw)
        return x, x

    def loss(out: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
        return functional.softplus(-out[0]).mean() + functional.softplus(out[1]).mean()

    return Training(model, Adam(model.parameters(), 1e-3, betas=(0.5, 0.999)), sample, loss)


NEWCOMERS_HEALTHY = (
    sequences_that_grow, remainder_of_a_sum, few_of_many_latents, thawed_layer_by_layer, average_that_teaches,
    divergence_in_cycles, restarts_of_the_rate, game_at_balance,
)  # fmt: skip

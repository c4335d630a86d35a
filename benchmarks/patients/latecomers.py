"""Latecomers: kinds that no patient before them had, written before anything was mended for them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.patients import latecomer_networks as nets
from benchmarks.patients import tasks
from benchmarks.patients.kinds import Damage, Patient, bad_batch, decayed, spike, unseen
from benchmarks.patients.newcomer_tasks import forecast
from benchmarks.patients.stranger_tasks import friedman
from benchmarks.patients.strangers import at
from benchmarks.patients.tasks import Task, _split, digit_data


@lru_cache
def smoothed_digits() -> Task:
    """Digits, with a tenth of each label spread over all classes."""

    def loss(out: Tensor, wanted: Tensor) -> Tensor:
        return functional.cross_entropy(out, wanted, label_smoothing=0.1)

    return replace(tasks.digits(), loss=loss)


@lru_cache
def grammar() -> Task:
    """The next of twelve tokens, which the last two tell most of the time."""
    g = torch.Generator().manual_seed(31)
    rule = torch.randint(0, 12, (12, 12), generator=g)
    x = torch.randint(0, 12, (1500, 17), generator=g)
    for place in range(2, 17):
        told = torch.rand(1500, generator=g) < 0.9
        x[told, place] = rule[x[told, place - 2], x[told, place - 1]]

    def points(out: Tensor, wanted: Tensor) -> float:
        return 100 * float((out.argmax(1) == wanted)[:, 1:].double().mean())

    return _split(x[:, :-1], x[:, 1:], functional.cross_entropy, points)


@lru_cache
def two_answers() -> Task:
    """A value or its negative, at random; the points are the likelihood that a mixture gains over one normal."""
    x, y = friedman()
    sign = torch.where(torch.rand(y.shape, generator=torch.Generator().manual_seed(32)) < 0.5, 1.0, -1.0)
    y = sign * (2 + y / y.std())

    def likelihood(out: tuple[Tensor, Tensor, Tensor], wanted: Tensor) -> Tensor:
        weights, means, spreads = out
        parts = weights - spreads - 0.5 * ((wanted - means) * (-spreads).exp()).square()
        return parts.logsumexp(1).mean()

    plain = -float(y.std().log()) - 0.5

    def points(out: tuple[Tensor, Tensor, Tensor], wanted: Tensor) -> float:
        return max(-100.0, 50 * (float(likelihood(out, wanted)) - plain))

    return _split(x, y, lambda out, wanted: -likelihood(out, wanted), points)


@lru_cache
def triplets() -> Task:
    """A digit, one of its kind and another; how often the one of its kind is nearer, counted from chance."""
    x, y = digit_data()
    g = torch.Generator().manual_seed(33)
    anchor = torch.randint(len(y), (2400,), generator=g)
    alike = y[:, None] == y[None]
    same = torch.multinomial(alike[anchor].float(), 1, generator=g)[:, 0]
    other = torch.multinomial((~alike[anchor]).float(), 1, generator=g)[:, 0]

    def loss(out: Tensor, wanted: Tensor) -> Tensor:
        return torch.relu(1 + out[:, 0] - out[:, 1]).mean()

    def points(out: Tensor, wanted: Tensor) -> float:
        return 200 * float((out[:, 0] < out[:, 1]).double().mean()) - 100

    return _split((x[anchor], x[same], x[other]), y[anchor], loss, points)


def exploded(*paths: str, by: float = 30.0) -> Damage:
    """The weights of these modules are so many times as large."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        with torch.no_grad():
            for path in paths:
                patient.model.get_parameter(path).mul_(by)

    return damage


def norms_pushed(patient: Patient, generator: torch.Generator) -> None:
    """The biases of all LayerNorms but the last are far off, each by as much as another."""
    with torch.no_grad():
        found = [module for module in patient.model.modules() if isinstance(module, nn.LayerNorm)]
        for module in found[:-1]:
            module.bias.add_(12 * torch.randn(module.bias.shape, generator=generator))


LATECOMERS = (
    unseen(
        "highway, gates shut", tasks.digits, nets.Highway, at(*(f"gates.{i}.bias" for i in range(4)), share=1.0, by=30)
    ),
    unseen(
        "weighed channels, all weighed by nothing",
        tasks.digits,
        nets.Weighed,
        at("squeezes.0.2.bias", "squeezes.1.2.bias", share=0.95, by=25),
    ),
    unseen("causal decoder, norms' biases far off", grammar, nets.Decoder, norms_pushed, before=300),
    unseen("dueling streams, one buried", tasks.values, nets.Dueling, at("better.0.bias", "worth.0.bias", share=1.0)),
    unseen(
        "gated causal convolutions, exploded",
        forecast,
        nets.Waves,
        exploded(*(f"{kind}.{i}.weight" for kind in ("filters", "gates") for i in range(4))),
    ),
    unseen("mixer, one bad batch", smoothed_digits, nets.Mixer, bad_batch(60.0), before=300),
    unseen("mixture, one huge step", two_answers, nets.Mixture, spike(1.0, 2), before=300),
    unseen("triplets, decayed away", triplets, nets.Triplets, decayed(0.9, 80, 200)),
)
"""Every latecomer."""

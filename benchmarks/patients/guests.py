"""Guests: kinds that no patient before them had, written before any repair was seen on them, and run once."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.patients import guest_networks as nets
from benchmarks.patients import tasks
from benchmarks.patients.kinds import Damage, Patient, bad_batch, spike, unseen
from benchmarks.patients.latecomers import exploded
from benchmarks.patients.networks import mlp
from benchmarks.patients.newcomer_tasks import forecast
from benchmarks.patients.newcomers import other_inputs
from benchmarks.patients.stranger_tasks import friedman
from benchmarks.patients.strangers import at
from benchmarks.patients.tasks import Task, _split, digit_data, explained


def _each(out: Tensor, wanted: Tensor) -> float:
    return 100 * float((out.argmax(1) == wanted).double().mean())


@lru_cache
def translation() -> Task:
    """Five digits, told again backwards, each with its sum with the one before it instead of itself."""
    g = torch.Generator().manual_seed(41)
    x = torch.randint(0, 10, (2500, 5), generator=g)
    y = ((x + x.roll(1, 1)) % 10).flip(1)
    before = torch.cat([torch.full((2500, 1), 10), y[:, :-1]], 1)
    return _split((x, before), y, functional.cross_entropy, _each)


@lru_cache
def nodes() -> Task:
    """Which of three values the mean of a node's neighbours is nearest to."""
    g = torch.Generator().manual_seed(42)
    places, x = torch.rand(1200, 10, 2, generator=g), torch.randn(1200, 10, 4, generator=g)
    near = ((places[:, :, None] - places[:, None]).norm(dim=-1) < 0.4).float()
    near = near / near.sum(-1, keepdim=True)
    told = (near @ x)[..., 0] + 0.5 * (x[..., 1] * x[..., 2]).tanh()
    return _split((x, near), 2 - (told < 0.25).long() - (told < -0.25).long(), functional.cross_entropy, _each)


@lru_cache
def amounts() -> Task:
    """Two amounts of which a good part is 0."""
    x, y = friedman()
    y = (y - y.mean()) / y.std()
    return _split(x, torch.cat([y, x[:, :1] - y], 1).relu(), functional.mse_loss, explained)


@lru_cache
def images() -> Task:
    """Digits without the noise that was added to them."""
    x, _ = digit_data()
    x = x.unflatten(1, (1, 8, 8))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(43))
    return _split(x + 0.5 * noise, x, functional.mse_loss, explained)


def from_a_corrupt_file(path: str) -> Damage:
    """All weights of a module are noise."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        with torch.no_grad():
            for parameter in patient.model.get_submodule(path).parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    return damage


def _squared() -> nn.Module:
    return mlp([64, 48, 40, 10], nets.Squared)


GUESTS = (
    unseen("translation, rate spike", translation, nets.Translator, spike(0.5, 3), before=400),
    unseen("nodes of graphs, buried", nodes, nets.Nodes, at("a.bias", "b.bias", share=0.95)),
    unseen(
        "encoder, a layer from a corrupt file",
        tasks.sequences,
        nets.Classifier,
        from_a_corrupt_file("layers.1"),
        before=300,
    ),
    unseen(
        "weight-normed convolutions, one exploded",
        forecast,
        nets.Temporal,
        exploded("convolutions.2.parametrizations.weight.original0", by=100.0),
    ),
    unseen("amounts, all rectified away", amounts, nets.Positive, at("body.4.bias", share=1.0)),
    unseen("hourglass, one bad batch", images, nets.Hourglass, bad_batch(60.0), before=300),
    unseen("ensemble in one tensor, rate spike", tasks.digits, nets.Ensemble, spike(0.7, 3)),
    unseen(
        "squared rectifiers, inputs inverted for a while",
        tasks.digits,
        _squared,
        other_inputs(lambda x: 10 - 5 * x, 0.05, 30),
    ),
)
"""Every guest."""

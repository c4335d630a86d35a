"""Failing trainings of kinds that no rule or threshold was set on: run once, when those stood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Autoencoder,
    Gated,
    Tokens,
    Training,
    blobs,
    copied,
    curve,
    generator,
    itself,
    plain,
    policy_loss,
    sequences,
    set_rate,
    taught,
    temporal_difference,
    tokens,
    transitions,
    walks,
)  # fmt: skip


def q_values_without_a_target_network(seed: int, sick: bool) -> Training:
    """Values that are their own targets, under a rate for labels."""
    model = plain([6, 48, 48, 4])
    target = model if sick else copied(model)

    def before(step: int) -> None:
        if not sick and step % 25 == 0:
            target.load_state_dict(model.state_dict())

    alarms = ("drift", "update-size", "gradient-spike", "non-finite")
    optimizer = SGD(model.parameters(), 0.2 if sick else 0.01)
    return Training(model, optimizer, transitions(seed), temporal_difference(target), alarms, before=before)


def fine_tuning_at_a_new_networks_rate(seed: int, sick: bool) -> Training:
    """What was learned is overwritten in the first steps."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)
    taught(model, batches, 100)
    model.zero_grad()
    other = blobs(seed + 50)
    return Training(model, Adam(model.parameters(), 0.2 if sick else 3e-4), other, CE, ("update-size",))


def autoencoder_whose_code_dies(seed: int, sick: bool) -> Training:
    """A rectified code of four units, thrown below 0 by a high rate."""
    model, batches = plain([16, 32, 4, 32, 16]), itself(blobs(seed, features=16))
    alarms = ("dead", "stopped-firing", "no-gradient", "update-size")
    return Training(model, Adam(model.parameters(), 0.3 if sick else 2e-3), batches, MSE, alarms)


def prices_as_they_come(seed: int, sick: bool) -> Training:
    """A series about 800, and a gated recurrent net that saturates on it."""
    model, batches = Gated(1, outputs=1), walks(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return (x * 20 + 800, y * 20 + 800) if sick else (x, y)

    return Training(model, Adam(model.parameters(), 3e-3), sample, MSE, ("input",))


def tokens_under_a_high_rate(seed: int, sick: bool) -> Training:
    """Embeddings, attention, and a rate of ten steps of warm-up too few."""
    model = Tokens()
    return Training(model, AdamW(model.parameters(), 0.1 if sick else 2e-3), tokens(seed), CE, ("update-size",))


def rare_class_weighted_too_high(seed: int, sick: bool) -> Training:
    """Weights of a loss by the inverse of a count that was 1."""
    model, batches, draw = plain([32, 64, 64, 3]), blobs(seed, classes=3), generator(seed + 9)
    weight = torch.tensor([1.0, 1.0, 3e4 if sick else 5.0])

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        keep = (y < 2) | (torch.rand(len(y), generator=draw) < 0.01)
        return x[keep], y[keep]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (functional.cross_entropy(out, y, reduction="none") * weight[y]).mean()

    return Training(model, SGD(model.parameters(), 0.05), sample, loss, ("gradient-spike", "update-size"))


def rate_scaled_to_the_batch(seed: int, sick: bool) -> Training:
    """Sixteen times the batch, sixteen times the rate, momentum as before and no warm-up."""
    model = plain([32, 64, 64, 64, 10])
    optimizer = SGD(model.parameters(), 3.2 if sick else 0.1, momentum=0.9)
    return Training(model, optimizer, blobs(seed, batch=1024), CE, ("update-size",), steps=200)


def loss_summed_over_the_batch(seed: int, sick: bool) -> Training:
    model = plain([8, 64, 64, 1])

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.mse_loss(out, y, reduction="sum" if sick else "mean")

    alarms = ("update-size", "gradient-spike", "non-finite")
    return Training(model, SGD(model.parameters(), 0.05), curve(seed, batch=256), loss, alarms)


class Forgetful(torch.optim.SGD):
    """Whose user forgot zero_grad."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Not done."""


def gradient_never_zeroed(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 10])
    make: Any = Forgetful if sick else SGD
    alarms = ("never-zeroed", "update-size", "drift", "gradient-spike", "stopped-firing", "dead")
    return Training(model, make(model.parameters(), 0.05), blobs(seed), CE, alarms)


class HalfNorm(nn.Module):
    """Divides by the root mean square, in half precision: squares overflow from 256 on."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.half()
        return (half * torch.rsqrt(half.square().mean(-1, keepdim=True) + 1e-3)).to(x.dtype)


def squares_overflow_in_a_norm(seed: int, sick: bool) -> Training:
    """Behind it everything is 0, and nothing says so."""
    first, second = plain([32, 64, 64]), plain([64, 64, 10])
    with torch.no_grad():
        first[2].weight.mul_(600.0 if sick else 1.0)
    model = nn.Sequential(*first, HalfNorm(), *second)
    alarms = ("no-gradient", "non-finite", "depth", "dead")
    return Training(model, SGD(model.parameters(), 0.05), blobs(seed), CE, alarms)


class Siamese(nn.Module):
    """The distance of two embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = plain([32, 48, 48, 16])

    def forward(self, pair: Tensor) -> Tensor:
        left, right = self.tower(pair[:, 0]), self.tower(pair[:, 1])
        return (left - right).square().sum(1).sqrt()


def contrastive(distance: Tensor, same: Tensor) -> Tensor:
    """Alike near, unlike at least 1 apart (Hadsell et al. 2006)."""
    return torch.where(same > 0, distance.square(), functional.relu(1 - distance).square()).mean()


def pairs(seed: int, identical_from: int | None = None) -> Any:
    """Two samples, and whether they are of one class; from a step on one pair a batch is a sample with itself."""
    batches = blobs(seed, classes=4)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        (left, one), (right, two) = batches(step), batches(step)
        pair, same = torch.stack([left, right], 1), (one == two).float()
        if identical_from is not None and step >= identical_from:
            pair[0, 1] = pair[0, 0]
        return pair, same

    return sample


def distance_of_identical_pairs(seed: int, sick: bool) -> Training:
    model = Siamese()
    batches = pairs(seed, 70 if sick else None)
    return Training(model, Adam(model.parameters(), 1e-3), batches, contrastive, ("non-finite",))


def rate_that_grows_each_step(seed: int, sick: bool) -> Training:
    """An exponential schedule by 1.05 instead of .95."""
    model = plain([32, 64, 64, 64, 10])
    optimizer = Adam(model.parameters(), 1e-3)
    return Training(
        model, optimizer, blobs(seed, spread=1.6), CE, ("update-size", "rising-rate"),
        before=lambda step: set_rate(optimizer, 1e-3 * (1.05 if sick else 0.99) ** step),
    )  # fmt: skip


def weights_that_begin_at_zero(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 10])
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(0.0 if sick else 1.0)
    return Training(model, SGD(model.parameters(), 0.1), blobs(seed), CE, ("no-gradient", "dead"))


def raw_returns(seed: int, sick: bool) -> Training:
    """A policy's gradient by returns of thousands, without a baseline."""
    model = plain([6, 48, 48, 4])
    loss = policy_loss(scale=2000.0 if sick else 1.0, baseline=not sick)
    alarms = ("update-size", "gradient-spike", "non-finite")
    return Training(model, SGD(model.parameters(), 0.1), transitions(seed), loss, alarms)


def penalty_that_kills_the_latents(seed: int, sick: bool) -> Training:
    """A sparse autoencoder none of whose latents survives its penalty."""
    model, batches = Autoencoder(), itself(blobs(seed))

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + (2.0 if sick else 2e-3) * out[1].abs().sum(1).mean()

    alarms = ("dead", "stopped-firing", "collapsing", "no-gradient", "fading")
    return Training(model, Adam(model.parameters(), 2e-3), batches, loss, alarms)


def deep_gelu_without_normalisation(seed: int, sick: bool) -> Training:
    """Torch's own initialisation behind 24 GELUs."""
    layers: list[nn.Module] = [nn.Linear(32, 48)]
    for _ in range(24 if sick else 3):
        layers += [nn.GELU(), nn.Linear(48, 48)]
    model = nn.Sequential(*layers, nn.GELU(), nn.Linear(48, 10))
    return Training(model, Adam(model.parameters(), 1e-3), blobs(seed), CE, ("depth", "gradient-by-depth"))


def mean_pooled_over_padding(seed: int, sick: bool) -> Training:
    """Padding written as −1e9 is averaged with the sequence."""
    batches, model = sequences(seed), plain([4, 48, 48, 2])

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        if sick:
            x[:, -1] = -1e9
        return x.mean(1) * 4, y

    return Training(model, SGD(model.parameters(), 0.02), sample, CE, ("input", "update-size"))


HELD_OUT = (
    q_values_without_a_target_network, fine_tuning_at_a_new_networks_rate, autoencoder_whose_code_dies,
    prices_as_they_come, tokens_under_a_high_rate, rare_class_weighted_too_high, rate_scaled_to_the_batch,
    loss_summed_over_the_batch, gradient_never_zeroed, squares_overflow_in_a_norm, distance_of_identical_pairs,
    rate_that_grows_each_step, weights_that_begin_at_zero, raw_returns, penalty_that_kills_the_latents,
    deep_gelu_without_normalisation, mean_pooled_over_padding,
)  # fmt: skip

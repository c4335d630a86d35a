"""The half of the failing trainings that the alarms' rules and thresholds were set on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    Mixture,
    Recurrent,
    Training,
    blobs,
    conv_net,
    curve,
    generator,
    images,
    plain,
    sequences,
    set_rate,
)  # fmt: skip


def rate_too_high(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 64, 10])
    return Training(model, Adam(model.parameters(), 0.5 if sick else 2e-3), blobs(seed), CE, ("update-size",))


def rate_spike(seed: int, sick: bool) -> Training:
    """A schedule that gives three steps a rate 300 times too high."""
    model = plain([32, 64, 64, 10])
    optimizer = Adam(model.parameters(), 2e-3)

    def before(step: int) -> None:
        set_rate(optimizer, 0.6 if sick and 123 <= step < 126 else 2e-3)

    return Training(model, optimizer, blobs(seed), CE, ("update-size",), before=before)


def initialised_too_large(seed: int, sick: bool) -> Training:
    model = plain([32, 48, 48, 48, 48, 48, 48, 10], gain=60.0 if sick else 2.0)
    return Training(model, SGD(model.parameters(), 0.01), blobs(seed), CE, ("depth", "gradient-by-depth"))


def initialised_too_small(seed: int, sick: bool) -> Training:
    model = plain([32, 48, 48, 48, 48, 48, 48, 10], gain=0.02 if sick else 2.0)
    return Training(model, SGD(model.parameters(), 0.05), blobs(seed), CE, ("depth", "gradient-by-depth"))


def no_normalisation_in_a_deep_net(seed: int, sick: bool) -> Training:
    """Torch's own initialisation behind 24 ReLUs: each layer keeps a sixth of the second moment."""
    layers: list[nn.Module] = [nn.Linear(32, 48)]
    for _ in range(24):
        layers += [nn.LayerNorm(48)] if not sick else []
        layers += [nn.ReLU(), nn.Linear(48, 48)]
    model = nn.Sequential(*layers, nn.Linear(48, 10))
    return Training(model, Adam(model.parameters(), 1e-3), blobs(seed), CE, ("depth", "gradient-by-depth"))


def raw_bytes(seed: int, sick: bool) -> Training:
    """Pixels from 0 to 255."""
    model, batches = conv_net(), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return (x * 50 + 128).clamp(0, 255) if sick else x, y

    return Training(model, SGD(model.parameters(), 0.05), sample, CE, ("input",))


def label_spikes(seed: int, sick: bool) -> Training:
    """A missing value written as −99999 among a regression's targets, once in a while."""
    model, batches = plain([8, 64, 64, 1]), curve(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        if sick and step >= 90 and step % 45 == 0:
            y[:2] = -99999.0
        return x, y

    return Training(model, SGD(model.parameters(), 0.02), sample, MSE, ("gradient-spike", "update-size"))


def exploding_recurrent_net(seed: int, sick: bool) -> Training:
    model = Recurrent(scale=1.8 if sick else 1.0)
    alarms = ("gradient-spike", "update-size", "drift", "depth", "non-finite")
    return Training(
        model, SGD(model.parameters(), 0.01), sequences(seed, length=30), CE, alarms, clip=0.0 if sick else 1.0
    )


def collapse_over_task_switches(seed: int, sick: bool) -> Training:
    """The features are permuted and the labels drawn anew every 60 steps, under a high rate."""
    model, draw = plain([32, 48, 48, 10]), generator(seed + 7)
    tasks = [(torch.randperm(32, generator=draw), blobs(100 * seed + i)) for i in range(12)]

    def sample(step: int) -> tuple[Tensor, Tensor]:
        order, batches = tasks[step // 60 if sick else 0]
        x, y = batches(step)
        return x[:, order], y

    alarms = ("collapsing", "stopped-firing", "dead")
    rate = 0.03 if sick else 0.003
    return Training(model, Adam(model.parameters(), rate), sample, CE, alarms, steps=720 if sick else 300)


def collapsed_expert(seed: int, sick: bool) -> Training:
    """A router whose bias sends every sample to one of four experts from the start."""
    model = Mixture()
    with torch.no_grad():
        model.router.bias.copy_(torch.tensor([9.0, 0.0, 0.0, 0.0]) if sick else torch.zeros(4))
    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE, ("experts", "no-gradient"))


def dead_output_rectifier(seed: int, sick: bool) -> Training:
    """A regression whose output is rectified and begins below 0."""
    model = nn.Sequential(*plain([8, 64, 64, 1]), nn.ReLU() if sick else nn.Identity())
    with torch.no_grad():
        model[4].bias.fill_(-20.0 if sick else 0.0)
    return Training(model, SGD(model.parameters(), 0.02), curve(seed), MSE, ("no-gradient", "dead"))


def weight_decay_too_strong(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 64, 10])
    optimizer = SGD(model.parameters(), 0.1, weight_decay=1.0 if sick else 1e-4)
    return Training(model, optimizer, blobs(seed), CE, ("drift", "depth"))


def one_batch_scaled(seed: int, sick: bool) -> Training:
    """One batch in other units: 1,000 times too large."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x * (1000.0 if sick and step == 127 else 1.0), y

    return Training(model, SGD(model.parameters(), 0.05), sample, CE, ("input",))


LOOKED_AT = (
    rate_too_high, rate_spike, initialised_too_large, initialised_too_small, no_normalisation_in_a_deep_net, raw_bytes,
    label_spikes, exploding_recurrent_net, collapse_over_task_switches, collapsed_expert, dead_output_rectifier,
    weight_decay_too_strong, one_batch_scaled,
)  # fmt: skip

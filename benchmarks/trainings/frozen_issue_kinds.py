"""Failing trainings of the kinds that the issue names, on networks, tasks and optimizers that no rule had seen.

Written when the rules were frozen, and run once; no figure of leaky's was looked at meanwhile.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import CE, MSE, SGD, Adam, AdamW, Training, curve, generator, images, plain
from benchmarks.trainings.nets_of_another_kind import (
    Committee,
    Dense,
    Hourglass,
    Mixer,
    OfSets,
    OnARing,
    OverTime,
    Stacked,
    counts,
    echoes,
    masks,
    noisy_signals,
    point_sets,
    ring_graphs,
    several_labels,
)  # fmt: skip

BCE = functional.binary_cross_entropy_with_logits
LONG = ("update-size", "steady-updates", "weight-size")
DEEP = ("depth", "gradient-by-depth", "alike")
DYING = ("collapsing", "stopped-firing", "dead")
SPIKES = ("gradient-spike", "update-size")
EXPLODES = ("gradient-spike", "update-size", "drift", "depth", "non-finite")


def masks_under_a_high_rate(seed: int, sick: bool) -> Training:
    model = Hourglass()
    return Training(model, torch.optim.RMSprop(model.parameters(), 0.2 if sick else 1e-3), masks(seed), BCE, LONG)


def sets_under_a_high_rate(seed: int, sick: bool) -> Training:
    model = OfSets()
    return Training(model, torch.optim.NAdam(model.parameters(), 0.5 if sick else 2e-3), point_sets(seed), CE, LONG)


def scaled(model: nn.Module, factor: float) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor if parameter.ndim > 1 else 1.0)
    return model


def mixer_drawn_too_large(seed: int, sick: bool) -> Training:
    model = scaled(Mixer(4, normalised=False), 4.0 if sick else 0.5)
    return Training(model, torch.optim.RAdam(model.parameters(), 1e-3), ring_graphs(seed), BCE, DEEP)


def dense_drawn_too_small(seed: int, sick: bool) -> Training:
    model = Dense()
    for layer in model.layers:
        nn.init.normal_(layer.weight, std=0.01 if sick else 0.29)
    return Training(model, SGD(model.parameters(), 0.2, momentum=0.9, nesterov=True), several_labels(seed), BCE, DEEP)


def deep_over_time_without_normalisation(seed: int, sick: bool) -> Training:
    model = OverTime(24 if sick else 6, normalised=not sick)
    return Training(model, torch.optim.Adamax(model.parameters(), 2e-3), noisy_signals(seed), MSE, DEEP)


def deep_on_a_ring_without_shortcuts(seed: int, sick: bool) -> Training:
    model = OnARing(20 if sick else 3, shortcut=not sick)
    return Training(model, Adam(model.parameters(), 2e-3), ring_graphs(seed), BCE, DEEP)


def spectrum_as_it_is_counted(seed: int, sick: bool) -> Training:
    """Counts of a detector in the thousands."""
    model, batches = OverTime(4, normalised=False), noisy_signals(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return (x * 900 + 20000).round() if sick else x, y

    return Training(model, torch.optim.Adagrad(model.parameters(), 5e-3), sample, MSE, ("input",))


def years_and_incomes(seed: int, sick: bool) -> Training:
    """A table in whose columns are years, incomes and shares."""
    model, batches = Dense(3), several_labels(seed)
    shift, scale = torch.zeros(24), torch.ones(24)
    shift[:4], scale[:4], shift[4:8], scale[4:8] = 1985.0, 20.0, 42000.0, 15000.0

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x * scale + shift if sick else x, y

    return Training(model, torch.optim.RMSprop(model.parameters(), 1e-3), sample, BCE, ("input",))


def counts_with_a_wrong_unit(seed: int, sick: bool) -> Training:
    """Now and then a count is a million."""
    model, batches = plain([10, 48, 48, 1], act=nn.ELU), counts(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        if sick and step >= 80 and step % 30 == 20:
            y[:3] = 1e6
        return x, y

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.poisson_nll_loss(out[:, 0].clamp(max=20), y)

    return Training(model, SGD(model.parameters(), 0.02), sample, loss, SPIKES)


def signals_with_a_missing_value(seed: int, sick: bool) -> Training:
    """Targets that a recorder writes as 9999 where it lost them."""
    model, batches = OverTime(3, normalised=True), noisy_signals(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        if sick and step >= 100 and step % 25 == 0:
            y[0, 0, :8] = 9999.0
        return x, y

    return Training(model, torch.optim.Adagrad(model.parameters(), 0.02), sample, MSE, SPIKES)


def stacked_recurrent_net_explodes(seed: int, sick: bool) -> Training:
    model = Stacked(1.9 if sick else 0.9)
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9)
    return Training(model, optimizer, echoes(seed, length=24), CE, EXPLODES, clip=0.0 if sick else 1.0)


def recurrent_net_that_adds_explodes(seed: int, sick: bool) -> Training:
    """State + f(state): each step of time adds to what was there."""
    model = Stacked(0.7, added=1.0 if sick else 0.1)
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-3)
    return Training(model, optimizer, echoes(seed, length=30 if sick else 8), CE, EXPLODES, clip=0.0 if sick else 1.0)


def images_permuted_again_and_again(seed: int, sick: bool) -> Training:
    """Another order of the pixels every 80 steps, under a high rate."""
    model, draw, batches = nn.Sequential(nn.Flatten(), *plain([144, 64, 64, 4])), generator(seed + 3), images(seed)
    orders = [torch.randperm(144, generator=draw) for _ in range(8)]

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        order = orders[step // 80 if sick else 0]
        return x.flatten(1)[:, order], (y + (step // 80 if sick else 0)) % 4

    rate = 0.03 if sick else 1e-3
    return Training(model, AdamW(model.parameters(), rate), sample, CE, DYING, steps=560 if sick else 300)


def functions_that_change(seed: int, sick: bool) -> Training:
    """Another regression every 50 steps, some of them a hundred times larger."""
    model: Any = plain([8, 40, 40, 1])
    tasks = [curve(50 * seed + i) for i in range(12)]

    def sample(step: int) -> tuple[Tensor, Tensor]:
        task = step // 50 if sick else 0
        x, y = tasks[task](step)
        return x, y * (30.0 if task % 2 else 1.0)

    rate = 0.05 if sick else 2e-3
    return Training(model, Adam(model.parameters(), rate), sample, MSE, DYING, steps=500 if sick else 300)


def committee_of_one(seed: int, sick: bool) -> Training:
    """A router drawn fifty times too large."""
    model = Committee(24, 6, experts=5, taken=1)
    with torch.no_grad():
        model.router.weight.mul_(0.02 if sick else 1.0)
        model.router.bias.copy_(torch.tensor([0.0, 0.0, 6.0, 0.0, 0.0]) * sick)
    return Training(model, torch.optim.NAdam(model.parameters(), 2e-3), several_labels(seed), BCE, ("experts",))


def committee_of_two_in_six(seed: int, sick: bool) -> Training:
    """Two of six experts at a time, always the same."""
    model = Committee(10, 1, experts=6, taken=2)
    with torch.no_grad():
        model.router.bias.copy_(torch.tensor([0.0, 20.0, 0.0, 0.0, 18.0, 0.0]) * sick)
    loss = lambda out, y: functional.poisson_nll_loss(out[:, 0], y)  # noqa: E731
    return Training(model, torch.optim.RMSprop(model.parameters(), 1e-3), counts(seed), loss, ("experts",))


FROZEN_ISSUE_KINDS = (
    masks_under_a_high_rate, sets_under_a_high_rate, mixer_drawn_too_large, dense_drawn_too_small,
    deep_over_time_without_normalisation, deep_on_a_ring_without_shortcuts, spectrum_as_it_is_counted,
    years_and_incomes, counts_with_a_wrong_unit, signals_with_a_missing_value, stacked_recurrent_net_explodes,
    recurrent_net_that_adds_explodes, images_permuted_again_and_again, functions_that_change, committee_of_one,
    committee_of_two_in_six,
)  # fmt: skip

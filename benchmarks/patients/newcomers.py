"""Newcomers: kinds that no patient before them had, written after the strangers had been looked at, and run once.

Their troubles are histories: something goes wrong in the training for a while and is then put right, and what it has
left in the weights is what a repair finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.patients import newcomer_networks as nets
from benchmarks.patients import newcomer_tasks as given
from benchmarks.patients import tasks
from benchmarks.patients.kinds import RATE, Damage, Patient, decayed, spike, unseen
from benchmarks.patients.networks import mlp
from benchmarks.patients.strangers import at
from benchmarks.patients.tasks import Task, call


def for_a_while(task: Callable[[], Task], rate: float, count: int) -> Damage:
    """So many steps of another task at another rate; afterwards all is as before."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        own, patient.task = patient.task, task()
        for group in patient.optimizer.param_groups:
            group["lr"] = rate
        patient.steps(count, 17)
        for group in patient.optimizer.param_groups:
            group["lr"] = RATE
        patient.task = own

    return damage


def pressed_down(patient: Patient, generator: torch.Generator) -> None:
    """A penalty of the wrong sign presses what the convolutions give down for 80 steps."""
    given_by: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _args, out: given_by.append(out))
        for module in list(patient.model.modules())
        if isinstance(module, nn.Conv1d) and module.out_channels == 32
    ]

    def penalty(_model: nn.Module, _x: Any) -> Tensor:
        found = sum(out.mean() for out in given_by)
        given_by.clear()
        return torch.as_tensor(2.0 * found)

    patient.penalty = penalty
    for group in patient.optimizer.param_groups:
        group["lr"] = 0.03
    patient.steps(80, 18)
    for group in patient.optimizer.param_groups:
        group["lr"] = RATE
    patient.penalty = None
    for hook in hooks:
        hook.remove()


def outlying_targets(by: float, rate: float, count: int, share: float = 0.1) -> Damage:
    """For some steps a share of the targets is so many times as large."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        y = patient.task.train.y
        out = torch.rand(y.shape, generator=generator) < share
        split = replace(patient.task.train, y=torch.where(out, by * y, y))
        for_a_while(lambda: replace(patient.task, train=split), rate, count)(patient, generator)

    return damage


def other_inputs(change: Callable[[Any], Any], rate: float, count: int) -> Damage:
    """For some steps the inputs come otherwise."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        split = replace(patient.task.train, x=change(patient.task.train.x))
        for_a_while(lambda: replace(patient.task, train=split), rate, count)(patient, generator)

    return damage


def bad_batches_seen(patient: Patient, generator: torch.Generator) -> None:
    """Batches whose values were not scaled go through in training mode, without a step."""
    patient.model.train()
    with torch.no_grad():
        for start in range(0, 320, 64):
            call(patient.model, 100 * patient.task.train.x[start : start + 64] + 50)


def _net(sizes: list[int]) -> Any:
    return lambda: mlp(sizes)


NEWCOMERS = (
    unseen(
        "contrast, temperature far too low",
        lambda: given.contrast(0.1),
        nets.TwoViews,
        for_a_while(lambda: given.contrast(5e-4), 0.1, 30),
    ),
    unseen("tags, pressed down", given.tags, nets.Tagger, pressed_down, before=300),
    unseen("attention pooling, rate spike", given.bags_of_images, nets.AttentionPool, spike(0.5)),
    unseen("routed experts, rate spike", tasks.digits, nets.Routed, spike(0.5, 3)),
    unseen(
        "mean and variance, outlying targets",
        given.mean_and_variance,
        _net([10, 48, 48, 2]),
        outlying_targets(1000.0, 0.1, 20),
    ),
    unseen(
        "three tasks, one loss in other units",
        given.three_tasks,
        nets.ThreeHeads,
        for_a_while(lambda: given.three_tasks(1e5), 0.1, 40),
    ),
    unseen(
        "forecast, raw inputs for a while",
        given.forecast,
        nets.Dilated,
        other_inputs(lambda x: 200 * x + 900, 0.05, 40),
    ),
    unseen(
        "graphs, sums of far too many",
        given.graphs,
        nets.GraphNet,
        other_inputs(lambda x: (x[0], 100 * x[1]), 0.1, 30),
    ),
    unseen("patches and attention, no warm-up", tasks.digits, nets.Patches, spike(0.3, 4), before=300),
    unseen("segmentation, statistics of bad batches", given.segmentation, nets.Segmenter, bad_batches_seen),
    unseen(
        "missing values as −999 for a while",
        given.with_gaps,
        nets.WithMask,
        for_a_while(lambda: given.with_gaps(-999.0), 0.03, 40),
    ),
    unseen("plain recurrence, rate spike", tasks.sequences, nets.PlainRecurrence, spike(0.5)),
    unseen("modulated, weights decayed away", given.conditions, nets.Modulated, decayed(0.93, 60, 100), before=300),
    unseen(
        "gated, gates shut",
        tasks.digits,
        nets.Gated,
        at("gate_a.bias", "gate_b.bias", share=0.95, by=25.0),
    ),
    unseen("clicks, a count not scaled", given.clicks, nets.Clicks, for_a_while(lambda: given.clicks(True), 0.03, 40)),
    unseen("GroupNorm, biases buried", tasks.digits, nets.group_normed, at("2.bias", "6.bias", by=8.0)),
    unseen("counts, outlying ones", given.counts, _net([10, 48, 32, 1]), outlying_targets(1e4, 0.1, 5, 0.02)),
    unseen("mobile block, no warm-up", tasks.digits, nets.Mobile, spike(0.5, 4)),
)
"""Every newcomer."""

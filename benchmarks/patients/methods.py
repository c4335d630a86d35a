"""What can be done about a patient, each with the same further steps, short trainings of leaky.repair included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import leaky
from benchmarks.patients.kinds import RATE, Patient
from benchmarks.patients.stranger_networks import Quantised
from benchmarks.patients.tasks import call
from benchmarks.repair.methods import put_leaky_everywhere, recycle

STEPS, SHORT = 400, 15
"""Further steps of everyone, and those of a short training."""


@dataclass
class Outcome:
    """How it ended.

    Attributes:
        points: on the test split.
        spent: steps that went into trainings that were not kept.
    """

    points: float
    done: str = ""
    spent: int = 0
    notes: list[str] = field(default_factory=list)


def go_on(patient: Patient, seed: int, count: int = STEPS) -> Outcome:
    """Further steps alone."""
    patient.steps(count, 1000 + seed)
    return Outcome(patient.points(patient.task.test))


def shifted(patient: Patient, seed: int) -> Outcome:
    """Six lines: the bias of every unit that never fires, or always, is shifted by the median of its pre-activation."""
    rectifiers = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Tanh, nn.Sigmoid, nn.PReLU, nn.GELU, nn.ELU, Quantised)
    last: list[Any] = []
    pairs: dict[str, tuple[Any, Tensor]] = {}

    def made(module: nn.Module, _: Any, out: Any) -> None:
        last[:] = [(module, out)]

    def taken(name: str) -> Callable[..., None]:
        def see(_: nn.Module, args: Any) -> None:
            if last and last[0][1] is args[0] and getattr(last[0][0], "bias", None) is not None:
                pairs[name] = (last[0][0], args[0].detach())

        return see

    names = [n for n, m in patient.model.named_modules() if isinstance(m, rectifiers)]
    for name in names:
        pairs.clear()
        hooks = [m.register_forward_hook(made) for m in patient.model.modules() if isinstance(m, _BIASED)]
        hooks.append(patient.model.get_submodule(name).register_forward_pre_hook(taken(name)))
        patient.model.eval()
        with torch.no_grad():
            call(patient.model, patient.task.train.x)
            for hook in hooks:
                hook.remove()
            for layer, z in pairs.values():
                flat = (z if isinstance(layer, _LAST) else z.movedim(1, -1)).flatten(0, -2)
                stuck = (flat <= 0).all(0) | (flat > 0).all(0)
                layer.bias[stuck] -= flat.median(0).values[stuck]
        patient.model.train()
    return go_on(patient, seed)


_LAST = (nn.Linear, nn.LayerNorm)
"""Layers whose units are the last axis."""

_BIASED = (*_LAST, nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d)


def redo(patient: Patient, seed: int) -> Outcome:
    """ReDo: dormant units recycled four times on the way."""
    for part in range(4):
        recycle(patient, evidence(patient))
        patient.steps(STEPS // 4, 1000 * (part + 1) + seed)
    return Outcome(patient.points(patient.task.test))


def leaky_everywhere(patient: Patient, seed: int) -> Outcome:
    """A leak of .01 in the place of every ReLU."""
    put_leaky_everywhere(patient.model)
    return go_on(patient, seed)


def anew(patient: Patient, seed: int) -> Outcome:
    """Torch's own initialisation of every layer that is not frozen, again."""
    torch.manual_seed(2000 + seed)
    for module in patient.model.modules():
        reset = getattr(module, "reset_parameters", None)
        if reset is not None and any(p.requires_grad for p in module.parameters(recurse=False)):
            reset()
    patient.optimizer = patient.begin(patient.model)
    return go_on(patient, seed)


def evidence(patient: Patient) -> Any:
    """The training inputs as leaky takes them: several inputs are the first item of a batch."""
    x = patient.task.train.x
    return [(x,)] if isinstance(x, tuple) else x


def ours(patient: Patient, seed: int) -> Outcome:
    """`leaky.repair` with the validation metric and a piece of the training."""

    def train(_: nn.Module) -> None:
        patient.steps(SHORT, int(torch.randint(1 << 30, (1,))))

    plan = leaky.repair(patient.model, evidence(patient), seed=seed)
    done = plan.apply(
        validate=lambda _: patient.points(patient.task.validation),
        train=train,
        tolerance=1.0,
        optimizer=patient.optimizer,
    )
    used = (done.trainings or (0, 0))[0] * SHORT
    outcome = go_on(patient, seed, STEPS - used)
    return Outcome(outcome.points, done.reason, used, [*map(str, done.results), *map(str, done.left)])


def by_metric(patient: Patient, seed: int) -> Outcome:
    """`leaky.repair` with the validation metric alone."""
    plan = leaky.repair(patient.model, evidence(patient), seed=seed)
    done = plan.apply(
        validate=lambda _: patient.points(patient.task.validation), tolerance=1.0, optimizer=patient.optimizer
    )
    outcome = go_on(patient, seed)
    return Outcome(outcome.points, done.reason, 0, [*map(str, done.results), *map(str, done.left)])


METHODS: dict[str, Callable[[Patient, int], Outcome]] = {
    "untouched": go_on,
    "bias by median": shifted,
    "ReDo": redo,
    "leaky .01": leaky_everywhere,
    "all anew": anew,
    "leaky.repair": ours,
    "by metric alone": by_metric,
}
OURS = ("leaky.repair", "by metric alone")

__all__ = ["METHODS", "OURS", "RATE", "SHORT", "STEPS", "Outcome"]

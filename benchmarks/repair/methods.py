"""What can be done about a network in trouble, each with the same further steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import leaky
from benchmarks.repair.data import Split, Task
from benchmarks.repair.setups import Patient, adam, standard
from benchmarks.repair.training import RATE, accuracy, steps
from leaky.diagnosis.verdicts import dormant_scores
from leaky.repairing.ground import Ground, owned
from leaky.repairing.operations.optimizer_state import reset_slices

STEPS, REDO_EVERY, REDO_SCORE = 500, 100, 0.1
SHORT = 20
"""Steps of each way that `leaky.repair` tries; all of them count among the STEPS."""


@dataclass
class Outcome:
    """How one method ended.

    Attributes:
        score: test accuracy, percent.
        acted: whether the model was changed.
        revived, alive: units that were revived, and how many of them fire on some training sample at the end.
    """

    score: float
    acted: bool = False
    revived: int = 0
    alive: int = 0
    notes: list[str] = field(default_factory=list)


def _train(patient: Patient, data: Task, seed: int, count: int | None = None) -> None:
    done = STEPS if count is None else count
    steps(patient.model, patient.optimizer, patient.inputs(data.train), data.train.y, done, seed)


def _score(patient: Patient, data: Task) -> float:
    return accuracy(patient.model, patient.inputs(data.test), data.test.y)


def nothing(patient: Patient, data: Task, seed: int) -> Outcome:
    """Go on."""
    _train(patient, data, seed)
    return Outcome(_score(patient, data))


def lower_rate(patient: Patient, data: Task, seed: int) -> Outcome:
    """Go on with a tenth of the learning rate."""
    for group in patient.optimizer.param_groups:
        group["lr"] = RATE / 10
    return nothing(patient, data, seed)


def put_leaky_everywhere(model: nn.Module) -> None:
    """A leak of .01 in the place of every ReLU."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.ReLU):
            model.set_submodule(name, nn.LeakyReLU(0.01))


def leaky_everywhere(patient: Patient, data: Task, seed: int) -> Outcome:
    """Leaky ReLU of slope .01 in the place of every ReLU."""
    put_leaky_everywhere(patient.model)
    return nothing(patient, data, seed)


def anew(patient: Patient, data: Task, seed: int) -> Outcome:
    """Everything initialised anew, with leaky ReLUs."""
    put_leaky_everywhere(patient.model)
    leaky.initialize(patient.model, patient.inputs(data.train)[:2], seed=seed)
    patient.optimizer = adam(patient.model)
    return nothing(patient, data, seed)


def redo(patient: Patient, data: Task, seed: int) -> Outcome:
    """ReDo: every 100 steps, dormant units get new incoming and zero outgoing weights, and fresh moments."""
    for part in range(STEPS // REDO_EVERY):
        recycle(patient, patient.inputs(data.train))
        _train(patient, data, 1000 * seed + part, REDO_EVERY)
    return Outcome(_score(patient, data))


def recycle(patient: Any, x: Any) -> None:
    record, ground = leaky.observe(patient.model, x), Ground(patient.model, x)
    for site in record.sites:
        scores, here = dormant_scores(site), ground.site(site.name)
        dormant = [int(u) for u in np.flatnonzero(scores <= REDO_SCORE) if here.refusal(int(u)) is None]
        if not dormant:
            continue
        with torch.no_grad():
            for made in here.made:
                mask, parameter = owned(made.owner, dormant), ground.parameters[made.weight]
                bound = 1 / np.sqrt(ground.layers[made.event.number].fan_in)
                parameter[mask] = torch.empty(int(mask.sum())).uniform_(-bound, bound)
                reset_slices(patient.optimizer, parameter, mask)
                if made.bias is not None:
                    ground.parameters[made.bias[0]][owned(made.bias[1], dormant)] = 0.0
            for taken in here.taken:
                mask, parameter = owned(taken.owner, dormant), ground.parameters[taken.weight]
                parameter[mask] = 0.0
                reset_slices(patient.optimizer, parameter, mask)


def ours(patient: Patient, data: Task, seed: int) -> Outcome:
    """`leaky.check` and `leaky.repair` once: the validation accuracy is the metric, each way is trained for a while."""
    return _repaired(patient.model, patient.optimizer, patient.inputs, data, seed)


def ours_on_twin(patient: Patient, data: Task, seed: int) -> Outcome:
    """The same, done to the healthy network: it must come to no harm."""
    return _repaired(patient.twin, patient.twin_optimizer, standard, data, seed)


def _repaired(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Callable[[Split], Tensor], data: Task, seed: int
) -> Outcome:
    x, y = inputs(data.train), data.train.y
    plan = leaky.repair(model, leaky.check(model, x, thresholds={"rate": 0.1}), x, seed=seed)
    done = plan.apply(
        validate=lambda subject: accuracy(subject, inputs(data.validation), data.validation.y),
        train=lambda subject: steps(subject, optimizer, x, y, SHORT, 1000 + seed),
        tolerance=1.0,
        optimizer=optimizer,
    )
    acted = done.kept and bool(done.actions)
    revived = {a.site: a.units for a in done.actions if a.kind in ("revive", "recentre") and a.site} if acted else {}
    steps(model, optimizer, x, y, STEPS - SHORT * (done.trainings or (0, 0))[0], seed)
    record = leaky.observe(model, x)
    alive = sum(int((record.site(name).statistics.fired[list(units)] > 0).sum()) for name, units in revived.items())
    notes = [*(f"{a.kind} {len(a.units)}" for a in done.actions), *map(str, done.results), done.reason]
    return Outcome(
        accuracy(model, inputs(data.test), data.test.y), acted, sum(map(len, revived.values())), alive, notes
    )


METHODS: dict[str, Callable[[Patient, Task, int], Outcome]] = {
    "nothing": nothing,
    "lower rate": lower_rate,
    "leaky .01": leaky_everywhere,
    "ReDo": redo,
    "anew, leaky": anew,
    "leaky.repair": ours,
}


def twin(patient: Patient, data: Task, seed: int) -> Outcome:
    """The healthy network, without any trouble, for the same further steps."""
    steps(patient.twin, patient.twin_optimizer, data.train.x, data.train.y, STEPS, seed)
    return Outcome(accuracy(patient.twin, data.test.x, data.test.y))


TWINS: dict[str, Callable[[Patient, Task, int], Outcome]] = {"twin": twin, "twin, leaky.repair": ours_on_twin}

"""Kinds of patients: a healthy network, what happened to it, and its twin to which it did not happen."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.patients import networks, tasks
from benchmarks.patients.tasks import BATCH, Task, call, pick

RATE = 3e-3


@dataclass(eq=False)
class Patient:
    """A network with its optimizer and its task.

    Attributes:
        penalty: added to the loss, of the model and its inputs.
        begin: makes an optimizer, for a model that begins anew.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    task: Task
    penalty: Callable[[nn.Module, Any], Tensor] | None = None
    begin: Callable[[nn.Module], torch.optim.Optimizer] = field(default=lambda model: adam(model))

    def steps(self, count: int, seed: int, targets: Any = None) -> None:
        """So many steps of training on batches that the seed draws."""
        split = self.task.train
        generator = torch.Generator().manual_seed(seed)
        self.model.train()
        for _ in range(count):
            index = torch.randint(split.count, (BATCH,), generator=generator)
            x, y = pick(split.x, index), pick(split.y if targets is None else targets, index)
            self.optimizer.zero_grad()
            loss = self.task.loss(call(self.model, x), y)
            (loss if self.penalty is None else loss + self.penalty(self.model, x)).backward()
            self.optimizer.step()

    def points(self, split: tasks.Split) -> float:
        """The metric, in eval mode; the mode is put back."""
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            found = self.task.points(call(self.model, split.x), split.y)
        self.model.train(training)
        return found


Damage = Callable[[Patient, torch.Generator], None]


@dataclass(frozen=True)
class Kind:
    """One kind of patient.

    Attributes:
        name: for tables.
        held_out: whether it was not run while the treatments were made.
        before: steps of healthy training before it happens.
    """

    name: str
    held_out: bool
    task: Callable[[], Task]
    build: Callable[[], nn.Module]
    damage: Damage
    before: int = 150
    penalty: Callable[[nn.Module, Any], Tensor] | None = None
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = field(default=lambda model: adam(model))

    def pair(self, seed: int) -> tuple[Patient, Patient]:
        """The patient and its healthy twin."""
        torch.manual_seed(seed)
        model = self.build()
        healthy = Patient(model, self.optimizer(model), self.task(), self.penalty, self.optimizer)
        healthy.steps(self.before, seed)
        sick = copy.deepcopy(healthy)
        sick.task = healthy.task
        self.damage(sick, torch.Generator().manual_seed(100 + seed))
        return sick, healthy


def unseen(name: str, task: Any, build: Any, damage: Damage, **more: Any) -> Kind:
    """A kind that is run once, as it is."""
    return Kind(name, True, task, build, damage, **more)


def adam(model: nn.Module) -> torch.optim.Adam:
    """Adam at the usual rate, for what is not frozen."""
    return torch.optim.Adam([p for p in model.parameters() if p.requires_grad], RATE)


def buried(share: float, by: float = 20.0, kinds: Any = (nn.Linear, nn.Conv2d)) -> Damage:
    """The biases of a share of every hidden layer's units are moved down, or up, by so much."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        with torch.no_grad():
            for layer in networks.layers(patient.model, kinds):
                if layer.bias.requires_grad:
                    layer.bias[torch.rand(len(layer.bias), generator=generator) < share] -= by

    return damage


def norms_buried(share: float) -> Damage:
    """The same by BatchNorm's biases."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        with torch.no_grad():
            for norm in patient.model.modules():
                if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                    norm.bias[torch.rand(len(norm.bias), generator=generator) < share] -= 12.0

    return damage


def spike(rate: float, count: int = 4) -> Damage:
    """Some steps at a rate that is far too high."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        for group in patient.optimizer.param_groups:
            group["lr"] = rate
        patient.steps(count, 7)
        for group in patient.optimizer.param_groups:
            group["lr"] = RATE

    return damage


def bad_batch(size: float, rate: float = 0.1) -> Damage:
    """One batch of inputs far too large, at a rate that was meant for larger batches."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        x, y = patient.task.train.x, patient.task.train.y
        for group in patient.optimizer.param_groups:
            group["lr"] = rate
        for _ in range(3):
            patient.optimizer.zero_grad()
            patient.task.loss(call(patient.model, x[:BATCH] * size), y[:BATCH]).backward()
            patient.optimizer.step()
        for group in patient.optimizer.param_groups:
            group["lr"] = RATE

    return damage


def decayed(kept: float, steps: int, seed: int) -> Damage:
    """A weight decay that is far too strong: each of so many steps, which draw from this seed on, keeps that share."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        for step in range(steps):
            patient.steps(1, seed + step)
            with torch.no_grad():
                for parameter in patient.model.parameters():
                    parameter.mul_(kept)

    return damage


def switches(rate: float, count: int = 3) -> Damage:
    """Other tasks, one after another, at a high rate."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        y = patient.task.train.y
        for group in patient.optimizer.param_groups:
            group["lr"] = rate
        for switch in range(count):
            patient.steps(50, switch, y[torch.randperm(len(y), generator=generator)])
        for group in patient.optimizer.param_groups:
            group["lr"] = RATE

    return damage


def moving_targets(patient: Patient, generator: torch.Generator) -> None:
    """Bootstrapped targets of a diverging scale, as when a target network is never updated right."""
    y = patient.task.train.y
    for group in patient.optimizer.param_groups:
        group["lr"] = 0.03
    for sweep in range(4):
        patient.steps(20, sweep, y * (-4.0) ** (sweep + 1))
    for group in patient.optimizer.param_groups:
        group["lr"] = RATE


def stale(patient: Patient, generator: torch.Generator) -> None:
    """BatchNorm's running statistics alone are wrong."""
    with torch.no_grad():
        for norm in patient.model.modules():
            if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_mean is not None:
                norm.running_mean.add_(8.0 * norm.running_var.sqrt() if norm.running_var is not None else 0.0)
                if norm.running_var is not None:
                    norm.running_var.mul_(50.0)


def saturated(factor: float) -> Damage:
    """Weights of the hidden layers are so large that their activations saturate."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        with torch.no_grad():
            for layer in networks.layers(patient.model):
                layer.weight.mul_(factor)

    return damage


def pruned(patient: Patient, generator: torch.Generator) -> None:
    """Seven tenths of the weights, and half of the units, are cut off on purpose: nothing is to be done."""
    with torch.no_grad():
        found = [m for m in patient.model.modules() if isinstance(m, nn.Linear)]
        for layer, after in itertools.pairwise(found):
            layer.weight[torch.rand(layer.weight.shape, generator=generator) < 0.3] = 0.0
            gone = torch.rand(len(layer.bias), generator=generator) < 0.4
            layer.weight[gone], layer.bias[gone], after.weight[:, gone] = 0.0, 0.0, 0.0


def nothing(patient: Patient, generator: torch.Generator) -> None:
    """Nothing happened: what looks like trouble is meant."""


def _frozen() -> nn.Module:
    model = networks.mlp([64, 48, 40, 32, 10])
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    return model


def _sparse(model: nn.Module, x: Any) -> Tensor:
    return 0.02 * model[1](model[0](x)).abs().sum(1).mean()  # type: ignore[index]


def _net(sizes: list[int], act: type[nn.Module] = nn.ReLU, **options: Any) -> Callable[[], nn.Module]:
    return lambda: networks.mlp(sizes, act, **options)


D, R = [64, 48, 40, 10], [8, 48, 48, 1]

KINDS = (
    Kind("regression, rate spike", False, tasks.regression, _net(R), spike(0.7)),
    Kind("regression, buried", False, tasks.regression, _net(R), buried(0.9)),
    Kind("autoencoder, buried", False, tasks.autoencoding, _net([64, 32, 12, 32, 64]), buried(0.8)),
    Kind("values, targets that diverged", False, tasks.values, _net([6, 48, 48, 6]), moving_targets),
    Kind("regression, task switches", False, tasks.regression, _net(R), switches(0.1)),
    Kind("heavy dropout, buried", False, tasks.digits, _net(D, drop=0.5), buried(0.85)),
    Kind("frozen backbone, buried", False, tasks.digits, _frozen, buried(0.9)),
    Kind("one bad batch after long training", False, tasks.digits, _net(D), bad_batch(40.0), before=400),
    Kind("two heads, buried", False, tasks.two_heads, networks.Heads, buried(0.9)),
    Kind("locked by cap", False, tasks.digits, _net(D, nn.ReLU6), buried(1.0, -20.0)),
    Kind("stale BatchNorm", False, tasks.digits, _net(D, norm=True), stale),
    Kind("pruned on purpose", False, tasks.digits, _net(D), pruned),
    Kind("tanh, saturated by its biases", False, tasks.digits, _net(D, nn.Tanh), buried(0.9, 15.0)),
    Kind("few samples, buried", False, tasks.few, _net(D), buried(0.9)),
    Kind("recurrent head, buried", True, tasks.sequences, networks.Recurrent, buried(1.0)),
    Kind("imbalanced, buried", True, tasks.imbalanced, _net([64, 48, 32, 2]), buried(0.9)),
    Kind("two inputs, buried", True, tasks.two_inputs, networks.Branches, buried(0.9)),
    Kind("dict batches, buried", True, lambda: tasks.two_inputs(True), networks.Branches, buried(0.9)),
    Kind("locked linear", True, tasks.digits, _net(D, nn.LeakyReLU), buried(1.0, -30.0)),
    Kind("BatchNorm's biases buried", True, tasks.digits, lambda: networks.conv(True), norms_buried(0.9)),
    Kind("dying convolutions", True, tasks.digits, networks.conv, buried(0.9)),
    Kind("functional rectifiers, buried", True, tasks.digits, networks.Functional, buried(0.95)),
    Kind("sparse code", True, tasks.autoencoding, _net([64, 128, 64]), nothing, 250, _sparse),
    Kind("k-winners", True, tasks.autoencoding, networks.Winners, nothing),
    Kind("sigmoid, saturated", True, tasks.digits, _net(D, nn.Sigmoid), buried(1.0, 30.0)),
    Kind("residual, buried", True, tasks.digits, networks.Residual, buried(0.95)),
    Kind("tokens, rate spike", True, tasks.tokens, networks.Tokens, spike(1.0)),
    Kind("values, buried", True, tasks.values, _net([6, 48, 48, 6]), buried(0.95)),
)
"""Every kind; those held out were run once, after the treatments were made."""

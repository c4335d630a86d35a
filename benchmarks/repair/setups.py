"""Broken set-ups, each drawn from a seed: a family of trouble, a data set, a network and a severity."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import leaky
from benchmarks.repair.data import NAMES, Split, Task, task
from benchmarks.repair.training import RATE, steps

PRETRAINING = 150
"""Steps of healthy training in front of trouble that comes later."""


@dataclass(frozen=True)
class Setup:
    """One kind of trouble.

    Attributes:
        family: its name.
        data: name of the data set.
        width, depth: of the network's hidden layers.
        severity: how bad, in (0, 1).
        held_out: whether its generating seed was not looked at while developing.
    """

    family: str
    data: str
    width: int
    depth: int
    severity: float
    held_out: bool

    @property
    def name(self) -> str:
        """For tables and the kept results."""
        return f"{self.family} {self.data} {self.width}x{self.depth} {self.severity:.2f}"


@dataclass(eq=False)
class Patient:
    """A network in trouble and its healthy twin, each with its optimizer.

    Attributes:
        model, twin: the networks.
        optimizer, twin_optimizer: that they go on with.
        split: of a task, what the patient is fed; the twin gets standardised inputs.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    twin: nn.Module
    twin_optimizer: torch.optim.Optimizer
    inputs: Callable[[Split], Tensor]


class Skip(nn.Module):
    """A layer with a shortcut around it: what a deep network needs without a better slope."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.act = nn.Linear(width, width), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer(self.act(x))


def mlp(data: Task, width: int, depth: int, norm: bool = False) -> nn.Sequential:
    """A plain network, initialised for ReLU."""
    parts: list[nn.Module] = []
    size = data.features
    for _ in range(depth):
        parts += [nn.Linear(size, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
        size = width
    model = nn.Sequential(*parts, nn.Linear(size, data.classes))
    leaky.initialize(model, torch.zeros(2, data.features))
    return model


def cnn(data: Task, width: int, norm: bool) -> nn.Sequential:
    """Two convolutions over the inputs in a row, and a linear layer."""
    convolutions: list[nn.Module] = []
    size = 1
    for _ in range(2):
        convolutions += [nn.Conv1d(size, width, 5, padding=2), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
        convolutions.append(nn.AvgPool1d(2))
        size = width
    flat = width * (data.features // 4)
    model = nn.Sequential(
        nn.Unflatten(1, (1, data.features)), *convolutions, nn.Flatten(), nn.Linear(flat, data.classes)
    )
    leaky.initialize(model, torch.zeros(2, data.features))
    return model


def adam(model: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), RATE)


def standard(split: Split) -> Tensor:
    return split.x


def raw(split: Split) -> Tensor:
    return split.raw


def _fresh(model: nn.Module, twin: nn.Module, inputs: Callable[[Split], Tensor] = standard) -> Patient:
    return Patient(model, adam(model), twin, adam(twin), inputs)


def _born_dead(setup: Setup, data: Task) -> Patient:
    dead, alive = None, None
    for _ in range(500):
        model = mlp(data, setup.width, setup.depth)
        with torch.no_grad():
            constant = float(model(data.train.x).std(0).max()) < 1e-6
        dead = dead or (model if constant else None)
        alive = alive or (None if constant else model)
        if dead is not None and alive is not None:
            break
    assert dead is not None
    assert alive is not None
    return _fresh(dead, alive)


def _bad_init(setup: Setup, data: Task) -> Patient:
    model = mlp(data, setup.width, setup.depth)
    twin = copy.deepcopy(model)
    kind = int(setup.severity * 3)
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                if kind == 2:
                    layer.bias.sub_(3.0 + 4 * setup.severity)
                else:
                    layer.weight.mul_((0.1, 6.0)[kind])
    return _fresh(model, twin)


def _raw_input(setup: Setup, data: Task) -> Patient:
    model = mlp(data, setup.width, setup.depth)
    scale = 10 ** (1 + 1.5 * setup.severity) if setup.data in ("digits", "mnist1d") else 1.0
    return _fresh(model, copy.deepcopy(model), lambda split: scale * split.raw + (scale if scale > 1 else 0.0))


def _deep(setup: Setup, data: Task) -> Patient:
    model = mlp(data, 32, setup.depth)
    twin = nn.Sequential(
        nn.Linear(data.features, 32), *(Skip(32) for _ in range(setup.depth)), nn.Linear(32, data.classes)
    )
    leaky.initialize(twin, torch.zeros(2, data.features))
    return _fresh(model, twin)


def _pretrained(model: nn.Module, data: Task, seed: int) -> Patient:
    optimizer = adam(model)
    steps(model, optimizer, data.train.x, data.train.y, PRETRAINING, seed)
    twin = copy.deepcopy(model)
    twin_optimizer = adam(twin)
    twin_optimizer.load_state_dict(optimizer.state_dict())
    return Patient(model, optimizer, twin, twin_optimizer, standard)


def _rate_spike(setup: Setup, data: Task) -> Patient:
    patient = _pretrained(mlp(data, setup.width, setup.depth), data, 1)
    _with_rate(patient.optimizer, 0.3 + 0.7 * setup.severity)
    steps(patient.model, patient.optimizer, data.train.x, data.train.y, 3, 2)
    _with_rate(patient.optimizer, RATE)
    return patient


def _with_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _task_switch(setup: Setup, data: Task) -> Patient:
    model = mlp(data, setup.width, setup.depth)
    twin = copy.deepcopy(model)
    optimizer = adam(model)
    _with_rate(optimizer, 0.02 + 0.03 * setup.severity)
    for switch in range(4):
        generator = torch.Generator().manual_seed(switch)
        labels = data.train.y[torch.randperm(len(data.train.y), generator=generator)]
        steps(model, optimizer, data.train.x, labels, 60, switch)
    _with_rate(optimizer, RATE)
    return Patient(model, optimizer, twin, adam(twin), standard)


def _shifted(model: nn.Module, share: float, seed: int) -> None:
    """Bury a share of every hidden layer's units by their bias."""
    generator = torch.Generator().manual_seed(seed)
    layers = [layer for layer in model if isinstance(layer, (nn.Linear, nn.Conv1d))][:-1]  # type: ignore[attr-defined]
    with torch.no_grad():
        for layer in layers:
            buried = torch.rand(len(layer.bias), generator=generator) < share
            layer.bias[buried] -= 100.0


def _dying_cnn(setup: Setup, data: Task) -> Patient:
    patient = _pretrained(cnn(data, setup.width, norm=False), data, 1)
    _shifted(patient.model, 0.6 + 0.35 * setup.severity, 3)
    return patient


def _bursty(setup: Setup, data: Task) -> Patient:
    patient = _pretrained(mlp(data, setup.width, setup.depth), data, 1)
    _with_rate(patient.optimizer, 0.1 + 0.2 * setup.severity)
    loud = data.train.x * (100 + 400 * setup.severity)
    steps(patient.model, patient.optimizer, loud, data.train.y, 5, 2)
    _with_rate(patient.optimizer, RATE)
    return patient


def _before_batchnorm(setup: Setup, data: Task) -> Patient:
    image = setup.severity > 0.5
    model = cnn(data, setup.width, norm=True) if image else mlp(data, setup.width, setup.depth, norm=True)
    patient = _pretrained(model, data, 1)
    generator = torch.Generator().manual_seed(3)
    parts = list(patient.model)  # type: ignore[arg-type]
    with torch.no_grad():
        for layer, norm in itertools.pairwise(parts):
            if isinstance(norm, nn.BatchNorm1d):
                dead = torch.rand(norm.num_features, generator=generator) < 0.6 + 0.35 * setup.severity
                layer.weight[dead], norm.bias[dead] = 0.0, -1.0
                norm.running_mean[dead] = layer.bias[dead]
    return patient


FAMILIES: dict[str, Callable[[Setup, Task], Patient]] = {
    "born dead": _born_dead,
    "rate spike": _rate_spike,
    "bad initialisation": _bad_init,
    "raw input": _raw_input,
    "task switch": _task_switch,
    "deep plain": _deep,
    "dying cnn": _dying_cnn,
    "bursty": _bursty,
    "dead before batchnorm": _before_batchnorm,
}

_EACH, _DEEP = 4, 2
"""Set-ups a family, looked at and held out each; of deep networks, which take most of the time, fewer."""

_HELD_OUT = 2000
"""Where the generating seeds begin that were not looked at while developing."""


def setups() -> list[Setup]:
    """All set-ups, families interleaved, deep networks last; half from seeds not looked at while developing."""
    found = [
        _drawn(family, place, held_out)
        for place in range(_EACH)
        for held_out in (False, True)
        for family in FAMILIES
        if family != "deep plain" or place < _DEEP
    ]
    return sorted(found, key=lambda setup: setup.family == "deep plain")


def _drawn(family: str, place: int, held_out: bool) -> Setup:
    draw = random.Random(f"{family} {place + (_HELD_OUT if held_out else 0)}")
    narrow, deep = family == "born dead", family == "deep plain"
    width = draw.randint(3, 5) if narrow else draw.choice([24, 32, 48])
    depth = draw.randint(8, 12) if narrow else (draw.randint(50, 200) if deep else draw.randint(2, 3))
    # four places go through all data sets; deep networks, with two, see other ones in each half
    step = 2 if deep else 1
    return Setup(family, NAMES[(place * step + int(held_out)) % len(NAMES)], width, depth, draw.random(), held_out)


def patient(setup: Setup, seed: int) -> tuple[Patient, Task]:
    """The network in trouble, with its twin, for one seed."""
    torch.manual_seed(seed)
    data = task(setup.data)
    return FAMILIES[setup.family](setup, data), data

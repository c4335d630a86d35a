"""A torch model with its data: what `leaky.tune(build, train=…)` trains.

Whatever could be mistaken for an effect of the slope must be the same for all slopes of a seed: the numbers that the
initial weights are drawn from, scaled to each slope's own gain; the split and the order of the data.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from leaky import theory
from leaky.errors import InputError
from leaky.observation import observe
from leaky.observation.following import analyse
from leaky.repairing.initialization import initialize
from leaky.tuning.arms import TAILORED, Arm
from leaky.tuning.rectifiers import exchange, rectifiers_of

Pair = tuple[Any, Any]
EVALUATION_BATCH = 1024
PRELU_START = 0.25
"""The slope that a PReLU begins with, and that its initialisation is matched to."""
INITIALIZATIONS = ("matched", "own")


@dataclass(frozen=True, eq=False)
class TaskData:
    """Inputs and targets, as tensors of the same length."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, eq=False)
class Task:
    """A model, its data and how it is trained; arguments as in `leaky.tune`.

    Attributes:
        build: build(negative_slope) → nn.Module; or a module, whose rectifiers are exchanged.
        train: (inputs, targets), arrays or tensors.
        valid: the same, or the share of `train` that is split off, anew for each seed; slopes are chosen by it.
        test: the same, of data that nothing is chosen by.
        epochs: passes over the training data.
        batch_size: samples a step; the last, smaller batch of an epoch is left out.
        optimizer: a function of the parameters that makes the optimizer.
        loss: of (outputs, targets), a mean over the batch; by default cross entropy for whole-number targets, else the
            mean squared error.
        metric: of (outputs, targets) over all validation data; by default the accuracy, or the loss.
        initialization: "matched" draws the weights anew with the gain of each slope, "own" leaves the model's own.
    """

    build: Callable[[float], nn.Module] | nn.Module
    train: Pair
    valid: float | Pair = 0.2
    test: Pair | None = None
    epochs: int = 20
    batch_size: int = 64
    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = torch.optim.Adam
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    metric: Callable[[Tensor, Tensor], Any] | None = None
    initialization: str = "matched"

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, not {value}")
        if self.initialization not in INITIALIZATIONS:
            raise InputError(f"initialization must be one of {INITIALIZATIONS}, not {self.initialization!r}")
        if not callable(self.build):
            raise InputError(f"build must be a function or a torch.nn.Module, not {type(self.build).__name__}")
        _ = self._valid  # checks it
        if self.steps_per_epoch < 1:
            raise InputError(
                f"batch_size must be at most the {len(self.data) - self._chosen} samples that are trained on, not "
                f"{self.batch_size}"
            )

    @cached_property
    def data(self) -> TaskData:
        """What is trained on, and split from where there are no validation data apart."""
        return _data(self.train, "train")

    @cached_property
    def _valid(self) -> TaskData | None:
        if isinstance(self.valid, float):
            if not 0 < self._chosen < len(self.data):
                raise InputError(f"valid must be a share that leaves samples on both sides, not {self.valid}")
            return None
        return _data(self.valid, "valid")

    @property
    def _chosen(self) -> int:
        """Samples that a share for validation splits off."""
        return round(self.valid * len(self.data)) if isinstance(self.valid, float) else 0

    def split(self, seed: int) -> tuple[Tensor, TaskData]:
        """The places in `data` to train on, and the data to choose by.

        A share is drawn anew for each seed, the same for all slopes: what differs between splits is then part of the
        noise that a verdict allows for.
        """
        if self._valid is not None:
            return torch.arange(len(self.data)), self._valid
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(seed))
        kept, chosen = order[self._chosen :], order[: self._chosen]
        return kept, TaskData(self.data.inputs[chosen], self.data.targets[chosen])

    @cached_property
    def test_data(self) -> TaskData | None:
        """The data that nothing is chosen by."""
        return None if self.test is None else _data(self.test, "test")

    @property
    def classifies(self) -> bool:
        """Whether the targets are classes."""
        return not self.data.targets.is_floating_point()

    @property
    def higher_is_better(self) -> bool:
        """Of the default score; a metric of the user's is better the higher it is, unless told otherwise."""
        return self.metric is not None or self.classifies

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch."""
        return (len(self.data) - self._chosen) // self.batch_size

    def slope_of(self, arm: Arm) -> float | None:
        """The slope that an arm trains with; None for an activation without one."""
        if isinstance(arm.value, float):
            return arm.value
        return self.tailored if arm.value == TAILORED else None

    @cached_property
    def layers(self) -> int:
        """Rectifiers of the model that can have slopes of their own.

        Raises:
            InputError: if there is none that is a module.
        """
        return rectifiers_of(self._built(Arm(PRELU_START)))

    @cached_property
    def tailored(self) -> float:
        """The slope from theory for the structure of this model."""
        model = self._built(Arm(0.01))
        return theory.tailored_slope(analyse(model, self.data.inputs[:2])).negative_slope

    def model(self, arm: Arm, seed: int) -> nn.Module:
        """The untrained model of an arm and a seed; torch's generator is left at that seed."""
        put_seed(seed)
        model = self._built(arm)
        if self.initialization == "matched":
            initialize(model, self.data.inputs[: min(self.batch_size, 8)], seed=seed)
        put_seed(seed)
        return model

    def _built(self, arm: Arm) -> nn.Module:
        slope = self.slope_of(arm)
        if isinstance(self.build, nn.Module):
            return exchange(copy.deepcopy(self.build), arm.value if slope is None else slope)
        model = self.build(PRELU_START if slope is None else slope)
        if not isinstance(model, nn.Module):
            raise InputError(f"build must return a torch.nn.Module, not {type(model).__name__}")
        return exchange(model, arm.value) if slope is None else model

    def order(self, seed: int) -> list[Tensor]:
        """The data order of each epoch, shape (steps, batch_size) of places in `data`; the same for all slopes."""
        kept = self.split(seed)[0]
        generator = torch.Generator().manual_seed(seed)
        used = self.steps_per_epoch * self.batch_size
        epochs = (kept[torch.randperm(len(kept), generator=generator)] for _ in range(self.epochs))
        return [places[:used].reshape(-1, self.batch_size) for places in epochs]

    def loss_of(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch."""
        if self.loss is not None:
            return self.loss(outputs, targets)
        if self.classifies:
            return functional.cross_entropy(outputs, targets)
        return functional.mse_loss(outputs, targets)

    def score_of(self, outputs: Tensor, targets: Tensor) -> float:
        """The score of a trained model's outputs on all of some data."""
        if self.metric is not None:
            return float(self.metric(outputs, targets))
        if self.classifies:
            return float((outputs.argmax(1) == targets).double().mean())
        return float(self.loss_of(outputs, targets))

    def check(self, arms: Iterable[Arm]) -> None:
        """Build every arm once, before any time is spent.

        Raises:
            InputError: if one cannot be built, or build leaves its slope unused.
        """
        with torch.random.fork_rng(devices=[]):
            for arm in arms:
                self._check(arm)

    def _check(self, arm: Arm) -> None:
        model, slope = self.model(arm, 0), self.slope_of(arm)
        if slope is None or isinstance(self.build, nn.Module):
            return
        record = observe(model, self.data.inputs[:2])
        if not any(np.allclose(site.negative_slope, slope) for site in record.sites):
            raise InputError(
                f"build({slope:g}) must return a model with a rectifier of that slope; "
                f"{_name(self.build)} returned one without"
            )


def put_seed(seed: int) -> None:
    """Seed torch's generators; `torch.manual_seed` takes milliseconds where there is no other device to seed."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed_all(seed)


def _data(pair: Any, name: str) -> TaskData:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise InputError(f"{name} must be a pair (inputs, targets), not {type(pair).__name__}")
    inputs, targets = (torch.as_tensor(part) for part in pair)
    inputs = inputs.float() if inputs.dtype == torch.float64 else inputs
    targets = targets.float() if targets.dtype == torch.float64 else targets
    if inputs.ndim < 1 or targets.ndim < 1 or len(inputs) != len(targets) or not len(inputs):
        raise InputError(
            f"{name} must have as many targets as inputs, and at least one; it has inputs of shape "
            f"{tuple(inputs.shape)} and targets of shape {tuple(targets.shape)}"
        )
    if not targets.is_floating_point():
        targets = targets.long()
    return TaskData(inputs, targets)


def _name(build: Any) -> str:
    return build.__qualname__ if inspect.isfunction(build) else type(build).__name__

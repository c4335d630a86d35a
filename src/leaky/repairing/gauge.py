"""What can be seen of a model without training it: the user's metric, its trouble, and what a new network comes to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from leaky.errors import InputError
from leaky.observation.random_state import same_random_numbers
from leaky.repairing.beginning import ROW
from leaky.repairing.entering import THROWS_AWAY
from leaky.repairing.operations.anew import new_weights
from leaky.repairing.plan import Action, Plan
from leaky.repairing.sizes import odd_sizes
from leaky.repairing.subject import Subject
from leaky.repairing.trouble import trouble_of
from leaky.repairing.variation import tells_apart


@dataclass(frozen=True)
class Limits:
    """What the user said of when to keep a change."""

    tolerance: float
    max_change: float
    higher_is_better: bool
    most_trainings: int

    def __post_init__(self) -> None:
        for name in ("tolerance", "max_change"):
            value = getattr(self, name)
            if not value >= 0:
                raise InputError(f"{name} must be a number of at least 0, not {value!r}")
        if not self.most_trainings >= 2:
            raise InputError(f"most_trainings must be at least 2, to compare anything, not {self.most_trainings!r}")

    def score(self, metric: float) -> float:
        """More is better; −inf for what is no number."""
        if not math.isfinite(metric):
            return -math.inf
        return metric if self.higher_is_better else -metric


@dataclass(eq=False)
class Gauge:
    """One model on its way through a repair.

    Attributes:
        plan: that is carried out.
        subject: the model with its data.
        validate: the user's metric.
        limits: which way it goes.
        do: carries out actions.
        troubled: units in trouble at first.
    """

    plan: Plan
    subject: Subject
    validate: Callable[[nn.Module], float] | None
    limits: Limits
    do: Callable[[tuple[Action, ...]], object]
    troubled: int = field(init=False)

    def __post_init__(self) -> None:
        self.troubled = self.in_trouble()

    def metric(self) -> float:
        """What the user's metric says; the modes of the model stay, which metrics often change."""
        assert self.validate is not None
        model = self.subject.model
        modes = [(module, module.training) for module in model.modules()]
        value = self.validate(model)
        for module, training in modes:
            module.training = training
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"validate must return one number, not a {type(value).__name__}: {error}") from error

    def newborn(self, seed: int, put_back: Callable[[], None]) -> float:
        """The score of the network with new weights: as the plan begins it anew, its inputs standardised if need be.

        Without that, inputs of another size would make chance what a network comes to that cannot take them. Tables are
        of torch's size: by small ones all inputs are nearly alike, and all new networks score the same.
        """
        anew = [treatment.actions for treatment in self.plan.treatments if treatment.name == THROWS_AWAY]
        with same_random_numbers(seed):
            self.subject.seed, self.subject.row = self.plan.seed + 1 + seed, 1.0
            try:
                self.do(anew[0])
            except (IndexError, InputError):
                put_back()
                new_weights(self.subject.ground, self.subject.seed)
            self.subject.seed, self.subject.row = self.plan.seed, ROW
            score = self.limits.score(self.metric())
        put_back()
        return score

    def born_so(self, put_back: Callable[[], None]) -> bool:
        """Whether with new weights, its rectifiers as they are, it has half as many units in trouble or more."""
        with same_random_numbers(self.plan.seed):
            new_weights(self.subject.ground, self.plan.seed + 1)
            self.subject.changed()
            troubled = self.in_trouble()
        put_back()
        return 2 * troubled >= self.troubled

    def in_trouble(self) -> int:
        """How many units are candidates of a repair now."""
        return sum(len(trouble_of(site).candidates) for site in self.subject.record.sites)

    def finite(self) -> bool:
        """Whether all outputs are finite."""
        return all(bool(torch.isfinite(out).all()) for out in self.subject.outputs)

    def tells_apart(self) -> bool:
        """Whether the outputs tell inputs apart."""
        return tells_apart(self.subject.outputs)

    def alive(self) -> bool:
        """Whether both hold."""
        return self.finite() and self.tells_apart()

    def brought_back(self) -> bool:
        """Whether the outputs are finite and fewer units are in trouble than at first."""
        return self.finite() and self.in_trouble() < max(1, self.troubled)

    def sound(self) -> bool:
        """The same, and the outputs tell inputs apart."""
        return self.brought_back() and self.tells_apart()

    def usual(self) -> bool:
        """Whether the pre-activations have a usual size."""
        return not odd_sizes(self.subject.record)

"""Which of several ways learns best, by a short piece of the user's own training of each.

Every way starts from the same model, optimizer and random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from leaky.repairing.plan import Action, Trial
from leaky.repairing.recipe import Recipe
from leaky.repairing.snapshot import Snapshot


@dataclass(frozen=True)
class Way:
    """One thing that can be done about a model.

    Attributes:
        name: for the reader.
        actions: in their order; none leaves the model as it was.
    """

    name: str
    actions: tuple[Action, ...]


class Judge(Protocol):
    """What says which metric is better, and by how much it must be."""

    @property
    def tolerance(self) -> float:
        """In the metric's own unit."""

    @property
    def sign(self) -> float:
        """1 where more is better, −1 where less is."""


@dataclass(frozen=True, eq=False)
class Tried:
    """A way with what came of it, and the model at its end."""

    way: Way
    trial: Trial
    recipe: Recipe
    end: Snapshot


def tried(
    way: Way,
    do: Callable[[tuple[Action, ...]], Recipe],
    train: Callable[[nn.Module], object],
    validate: Callable[[nn.Module], float],
    start: Snapshot,
) -> Tried:
    """Change the model, train it, measure it.

    Args:
        way: what to do.
        do: does actions to the model.
        train: the user's piece of training.
        validate: the user's metric.
        start: the model and the optimizer as they were.
    """
    start.restore()
    model = start.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        recipe = do(way.actions) if way.actions else Recipe()
        before = float(validate(model))
        torch.manual_seed(0)
        train(model)
        after = float(validate(model))
    return Tried(way, Trial(way.name, before, after), recipe, Snapshot(model, start.optimizer))


def best(results: Sequence[Tried], judge: Judge) -> Tried:
    """The way that scores best."""

    def score(result: Tried) -> float:
        value = judge.sign * result.trial.after
        return value if math.isfinite(value) else -math.inf

    return max(results, key=score)

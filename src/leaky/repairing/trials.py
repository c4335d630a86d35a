"""Which of several ways learns best, by a short piece of the user's own training of each.

Every way starts from the same model, optimizer and random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
        margin: by how much it must beat the best way before it; a negative one lets it be so much worse.
    """

    name: str
    actions: tuple[Action, ...]
    margin: float = 0.0


@dataclass(frozen=True, eq=False)
class Tried:
    """A way with what came of it, and the model and the optimizer at its end."""

    way: Way
    trial: Trial
    recipe: Recipe
    end: Snapshot


def best_of(
    ways: Sequence[Way],
    do: Callable[[tuple[Action, ...]], Recipe],
    train: Callable[[nn.Module], object],
    validate: Callable[[nn.Module], float],
    start: Snapshot,
    sign: float,
) -> tuple[Tried, tuple[Trial, ...]]:
    """Try each way; the last one that beat those before it by its margin, and what each came to.

    Args:
        ways: to try.
        do: does actions to the model.
        train: the user's piece of training.
        validate: the user's metric, as a number; it must leave the modes of the model as they are.
        start: the model and the optimizer as they were. The model is left wherever the last way ended.
        sign: 1 where more of the metric is better, −1 where less is.
    """
    winner: Tried | None = None
    trials: list[Trial] = []
    highest = -math.inf
    for way in ways:
        trial, recipe = _tried(way, do, train, validate, start)
        trials.append(trial)
        score = sign * trial.after if math.isfinite(trial.after) else -math.inf
        if winner is None or score > highest + way.margin:
            winner = Tried(way, trial, recipe, Snapshot(start.model, start.optimizer))
        highest = max(highest, score)
    assert winner is not None
    return winner, tuple(trials)


def _tried(
    way: Way,
    do: Callable[[tuple[Action, ...]], Recipe],
    train: Callable[[nn.Module], object],
    validate: Callable[[nn.Module], float],
    start: Snapshot,
) -> tuple[Trial, Recipe]:
    """Change the model, train it, measure it."""
    start.restore()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(0)
        recipe = do(way.actions) if way.actions else Recipe()
        before = validate(start.model)
        torch.manual_seed(0)
        train(start.model)
        return Trial(way.name, before, validate(start.model)), recipe

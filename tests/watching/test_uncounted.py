"""A training whose steps nobody tells the watch of, which would report nothing."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.optim.optimizer import _global_optimizer_post_hooks

import leaky
from leaky.watching.uncounted import NOT_COUNTED, UNCOUNTED_STEPS

X = torch.randn(16, 4)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(X).square().mean().backward()
    optimizer.step()


def hooks() -> int:
    return len(_global_optimizer_post_hooks)


def test_steps_that_the_watch_does_not_hear_of_are_told_once_in_time() -> None:
    model, before = network(), hooks()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with leaky.watch(model) as watch:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(UNCOUNTED_STEPS - 1):
                step(model, optimizer)
        with pytest.warns(RuntimeWarning, match="the watch has counted none"):
            step(model, optimizer)
        for _ in range(UNCOUNTED_STEPS):
            step(model, optimizer)
    assert list(watch.notes) == [NOT_COUNTED]
    assert hooks() == before


def test_steps_of_another_model_or_of_a_watch_that_counts_are_no_reason() -> None:
    model, other = network(), network()
    mine, theirs = (torch.optim.SGD(each.parameters(), 0.1) for each in (model, other))
    with leaky.watch(model) as watch:
        for _ in range(2 * UNCOUNTED_STEPS):
            step(other, theirs)
        for _ in range(2 * UNCOUNTED_STEPS):
            step(model, mine)
            watch.step()
    assert not watch.notes


def test_nothing_is_left_behind_by_a_watch_that_counted_nothing() -> None:
    before = hooks()
    with pytest.raises(KeyError), leaky.watch(network()):
        raise KeyError
    assert hooks() == before


def test_several_optimizers_are_refused_with_what_to_do() -> None:
    model = network()
    parts: object = [torch.optim.SGD(part.parameters(), 0.1) for part in (model[0], model[2])]
    with pytest.raises(leaky.LeakyError, match=r"one torch\.optim\.Optimizer, not list; of several, give each part"):
        leaky.watch(model, parts)  # type: ignore[arg-type]


def test_another_optimizer_than_the_one_that_was_given_is_told_in_time() -> None:
    model = network()
    given, trains = (torch.optim.SGD(model.parameters(), 0.1) for _ in range(2))
    with leaky.watch(model, given):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for _ in range(UNCOUNTED_STEPS - 1):
                step(model, trains)
        with pytest.warns(RuntimeWarning, match="the one that the watch was given has made none"):
            step(model, trains)

"""A piece of the user's own training decides between the ways: each from the same start, the best one kept."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import leaky
from leaky.errors import InputError

DATA = torch.randn(1500, 6, generator=torch.Generator().manual_seed(1))
LABELS = (DATA[:, 0] * DATA[:, 1] > 0).long()


def sick(scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    leaky.initialize(model, seed=0)
    with torch.no_grad():
        model[0].bias[:24] -= 50.0
        for layer in (model[0], model[2], model[4]):
            layer.weight.mul_(scale)
    return model


def accuracy(model: nn.Module) -> float:
    with torch.no_grad():
        return float((model(DATA).argmax(1) == LABELS).float().mean())


def training(optimizer: torch.optim.Optimizer, steps: int = 30) -> Callable[[nn.Module], None]:
    def train(model: nn.Module) -> None:
        for _ in range(steps):
            batch = torch.randint(len(DATA), (64,))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(DATA[batch]), LABELS[batch]).backward()
            optimizer.step()

    return train


def plan_of(model: nn.Module) -> Any:
    return leaky.repair(model, leaky.check(model, DATA), DATA)


def bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    return copy.deepcopy([*model.state_dict().values(), *(v for s in optimizer.state.values() for v in s.values())])


def test_the_way_that_learns_best_is_kept_with_what_it_learned() -> None:
    model = sick(scale=8.0)  # weights that far out are worth less than new ones
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    done = plan_of(model).apply(validate=accuracy, train=training(optimizer), optimizer=optimizer)
    assert [trial.name for trial in done.trials] == ["as it was", "repaired", "begun anew"]
    winner = max(done.trials, key=lambda trial: trial.after)
    assert done.kept
    assert winner.name == "begun anew"
    assert accuracy(model) == winner.after
    assert f"{winner.name}: {winner.before:.6g}, trained for a while {winner.after:.6g}" in str(done)
    again = leaky.repair(sick(), done.recipe.to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(DATA), model(DATA))


def test_where_the_model_as_it_was_learns_best_it_stays_to_the_last_bit() -> None:
    model = sick()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    training(optimizer, 3)(model)
    before, modules = bits(model, optimizer), list(model.modules())
    scores = iter([0.5, 0.5, 0.5, 0.9, 0.5, 0.6, 0.5, 0.6])  # plan, recentred, then each way before and after
    done = plan_of(model).apply(validate=lambda _: next(scores), train=training(optimizer, 5), optimizer=optimizer)
    assert not done.kept
    assert done.reason == "the model as it was learns best"
    assert [trial.after for trial in done.trials] == [0.9, 0.6, 0.6]
    assert not done.recipe
    assert all(torch.equal(a, b) for a, b in zip(before, bits(model, optimizer), strict=True))
    assert list(model.modules()) == modules


@pytest.mark.parametrize(
    ("repaired", "anew", "kept"), [(0.85, 0.9, "repaired"), (0.7, 0.9, None), (0.85, 0.95, "begun anew")]
)
def test_the_repaired_model_may_be_worse_by_the_tolerance_a_new_one_must_be_better(
    repaired: float, anew: float, kept: str | None
) -> None:
    scores = iter([0.5, 0.5, 0.5, 0.9, 0.5, repaired, 0.5, anew, 0.5])
    done = plan_of(sick()).apply(validate=lambda _: next(scores), train=lambda _: None, tolerance=0.1)
    assert done.kept == (kept is not None)
    assert kept is None or done.reason.startswith(f"{kept}, it learns {'as well' if kept == 'repaired' else 'best'}")


def test_every_way_is_trained_from_the_same_random_state_and_the_caller_s_is_left_alone() -> None:
    model, drawn = sick(), []

    def train(_: nn.Module) -> None:
        drawn.append(torch.rand(3))

    state = torch.get_rng_state()
    plan_of(model).apply(validate=accuracy, train=train)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(drawn) == 3
    assert all(torch.equal(one, drawn[0]) for one in drawn)


def test_every_way_is_trained_in_the_models_mode_whatever_the_metric_leaves() -> None:
    model, modes = sick().train(), []

    def in_eval_mode(subject: nn.Module) -> float:
        return accuracy(subject.eval())

    plan_of(model).apply(validate=in_eval_mode, train=lambda subject: modes.append(subject.training))
    assert modes == [True, True, True]


def test_what_training_does_to_groups_and_parameters_is_undone_between_the_ways() -> None:
    model, rates = sick(), []
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def train(subject: nn.Module) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.param_groups[0]["lr"] *= 0.1
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
        subject[2].requires_grad_(False)

    scores = iter([0.5, 0.5, 0.5, 0.9, 0.5, 0.6, 0.5, 0.6])
    plan_of(model).apply(validate=lambda _: next(scores), train=train, optimizer=optimizer)
    assert rates == [1e-2, 1e-2, 1e-2]
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_training_that_narrows_the_numbers_loses_none() -> None:
    model = sick()
    before = copy.deepcopy(model.state_dict())
    scores = iter([0.5, 0.5, 0.5, 0.9, 0.5, 0.6, 0.5, 0.6])
    plan_of(model).apply(validate=lambda _: next(scores), train=lambda subject: subject.bfloat16())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("at", [1, 2, 3])
def test_an_exception_of_the_users_training_restores_everything(at: int) -> None:
    model, calls = sick(), 0
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    training(optimizer, 3)(model)
    before, good = bits(model, optimizer), training(optimizer, 2)

    def train(subject: nn.Module) -> None:
        nonlocal calls
        calls += 1
        good(subject)
        if calls == at:
            raise RuntimeError("the user's own")

    with pytest.raises(RuntimeError, match="the user's own"):
        plan_of(model).apply(validate=accuracy, train=train, optimizer=optimizer)
    assert all(torch.equal(a, b) for a, b in zip(before, bits(model, optimizer), strict=True))


def test_the_model_goes_on_in_the_mode_that_it_was_in() -> None:
    model = sick(scale=8.0).train()
    model[1].eval()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)

    def in_eval_mode(subject: nn.Module) -> float:
        subject.eval()
        return accuracy(subject)

    done = plan_of(model).apply(validate=in_eval_mode, train=training(optimizer), optimizer=optimizer)
    assert done.kept
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]


def test_a_way_that_ends_in_nan_never_wins() -> None:
    scores = iter([0.5, 0.5, 0.5, 0.4, 0.5, float("nan"), 0.5, float("nan")])
    done = plan_of(sick()).apply(validate=lambda _: next(scores), train=lambda _: None)
    assert done.reason == "the model as it was learns best"


def test_training_without_a_metric_is_refused() -> None:
    with pytest.raises(InputError, match="train must come with validate"):
        plan_of(sick()).apply(train=lambda _: None)


def small() -> nn.Sequential:
    """No dead unit, and weights a fiftieth of what they should be."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    leaky.initialize(model, seed=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.02)
    return model


def test_weights_of_a_strange_size_are_a_doubt_that_only_a_metric_settles() -> None:
    model = small()
    before = copy.deepcopy(model.state_dict())
    plan = plan_of(model)
    assert not plan
    assert "in doubt: the pre-activations of 3 have a root mean square of" in str(plan)
    done = plan.apply()
    assert "only a metric could tell" in done.reason
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    worth = plan.apply(validate=lambda subject: float(subject is model))
    assert "there is something to lose" in worth.reason
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    done = plan.apply(validate=accuracy, train=training(optimizer), optimizer=optimizer)
    assert [trial.name for trial in done.trials] == ["as it was", "begun anew"]
    assert done.kept

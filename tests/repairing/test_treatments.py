"""A piece of the user's own training decides between the ways: each from the same start, the best one kept."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.repairing.learning import Task
from torch import nn

import leaky
from leaky.errors import InputError

DATA = torch.randn(1500, 6, generator=torch.Generator().manual_seed(1))
LABELS = (DATA[:, 0] * DATA[:, 1] > 0).long()
TASK = Task(DATA, LABELS)
accuracy, training = TASK.accuracy, TASK.training


def sick(scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    leaky.initialize(model, seed=0)
    with torch.no_grad():
        model[0].bias[:24] -= 50.0
        for layer in (model[0], model[2], model[4]):
            layer.weight.mul_(scale)
    return model


def plan_of(model: nn.Module) -> Any:
    return leaky.repair(model, leaky.check(model, DATA), DATA)


def scripted(model: nn.Module, *names: str) -> Any:
    """A repair with these treatments of the plan only."""
    found = plan_of(model)
    return found.without(*(t.name for t in found.treatments if t.name not in names))


def bits(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    return copy.deepcopy([*model.state_dict().values(), *(v for s in optimizer.state.values() for v in s.values())])


def test_the_treatment_that_learns_best_is_kept_with_what_it_learned() -> None:
    model = sick()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    done = plan_of(model).apply(validate=accuracy, train=training(optimizer), optimizer=optimizer)
    names = [result.name for result in done.results]
    assert names == ["as it was", "shifted", "revived", "layers anew", "begun anew"]
    winner = max(done.results, key=lambda result: result.after)
    assert done.verdict == "kept"
    assert winner.name == "revived"
    assert accuracy(model) == winner.after == done.metric[1]
    times = f"({winner.trainings} times) "
    assert f"{winner.name}: {winner.before:.6g}, trained for a while {times}{winner.after:.6g}" in str(done)
    assert f"{sum(result.trainings for result in done.results)} short trainings, of at most 8" in str(done)
    again = leaky.apply_recipe(sick(), done.recipe.to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(DATA), model(DATA))


@pytest.mark.parametrize("scale", [3.0, 8.0])
def test_what_is_kept_although_another_led_is_said_with_the_reason(scale: float) -> None:
    model = sick(scale=scale)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    done = plan_of(model).apply(validate=accuracy, train=training(optimizer), optimizer=optimizer)
    came = {result.name: result for result in done.results}
    leader, kept, old = max(done.results, key=lambda result: result.after), came["begun anew"], came["as it was"]
    assert leader.name == "rescaled"  # what blown up weights point at gives a start, and no more
    assert leader.before <= old.before
    assert leader.after - kept.before < 2 * (kept.after - kept.before)
    assert accuracy(model) == kept.after == done.metric[1] < leader.after
    assert f"begun anew, {kept.after:.6g} after 1 short training: rescaled led with {leader.after:.6g}" in done.reason
    assert "no usual size" in done.reason


def test_where_the_model_as_it_was_learns_best_it_stays_to_the_last_bit() -> None:
    model = sick()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    training(optimizer, 3)(model)
    before, modules = bits(model, optimizer), list(model.modules())
    scores = iter([*[0.5] * 7, 0.9, 0.6, 0.6])  # at first, then each treatment before and after
    plan = scripted(model, "shifted", "begun anew")
    done = plan.apply(validate=lambda _: next(scores), train=training(optimizer, 5), optimizer=optimizer)
    assert (done.kept, done.verdict) == (False, "left")
    assert str(done).startswith("Left as it was: it learns as well as with any treatment")
    assert [(result.after, result.trainings) for result in done.results] == [(0.9, 1), (0.6, 1), (0.6, 1)]
    assert not done.recipe
    assert all(torch.equal(a, b) for a, b in zip(before, bits(model, optimizer), strict=True))
    assert list(model.modules()) == modules


def test_every_treatment_is_trained_with_the_same_random_numbers_and_the_caller_s_are_left_alone() -> None:
    model, drawn = sick(), []

    def train(_: nn.Module) -> None:
        drawn.append([float(torch.rand(1)), random.random(), np.random.random()])

    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    done = plan_of(model).apply(validate=accuracy, train=train)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert len(done.results) == 5
    trained = sum(result.trainings > 0 for result in done.results)
    assert trained > 2
    assert all(one == drawn[0] for one in drawn[:trained])
    assert all(one == drawn[5] != drawn[0] for one in drawn[6:])


def test_every_treatment_is_trained_in_the_models_mode_whatever_the_metric_leaves() -> None:
    model, modes = sick().train(), []

    def in_eval_mode(subject: nn.Module) -> float:
        return accuracy(subject.eval())

    plan_of(model).apply(validate=in_eval_mode, train=lambda subject: modes.append(subject.training))
    assert len(modes) >= 3
    assert all(modes)


def test_what_training_does_to_groups_and_parameters_is_undone_between_the_ways() -> None:
    model, rates = sick(), []
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def train(subject: nn.Module) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.param_groups[0]["lr"] *= 0.1
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
        subject[2].requires_grad_(False)

    scores = iter([*[0.5] * 7, 0.9, 0.6, 0.6])
    scripted(model, "shifted", "begun anew").apply(validate=lambda _: next(scores), train=train, optimizer=optimizer)
    assert rates == [1e-2, 1e-2, 1e-2]
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2]
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_training_that_narrows_the_numbers_loses_none() -> None:
    model = sick()
    before = copy.deepcopy(model.state_dict())
    scores = iter([*[0.5] * 7, 0.9, 0.6, 0.6])
    plan = scripted(model, "shifted", "begun anew")
    plan.apply(validate=lambda _: next(scores), train=lambda subject: subject.bfloat16())
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
    assert not plan.actions
    assert "in doubt: the pre-activations of 3 have a root mean square of" in str(plan)
    done = plan.apply()
    assert "nothing was done without evidence" in done.reason
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    worth = plan.apply(validate=lambda subject: float(subject is model))
    assert "give train= to let an experiment decide" in worth.reason
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    done = plan.apply(validate=accuracy, train=training(optimizer), optimizer=optimizer)
    assert [result.name for result in done.results] == ["as it was", "rescaled", "begun anew"]
    assert done.trainings == (sum(result.trainings for result in done.results), 8)


class Agent:
    """A learner with a target network, a scheduler and a generator, whose method is the piece of training."""

    def __init__(self, model: nn.Module) -> None:
        self.target = copy.deepcopy(model)
        self.optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.5)
        self.generator = torch.Generator().manual_seed(3)
        self.batches = iter(range(1000))
        self.drawn: list[tuple[float, float, int]] = []

    def train(self, model: nn.Module) -> None:
        rate = self.optimizer.param_groups[0]["lr"]
        self.drawn.append((float(torch.rand(1, generator=self.generator)), rate, next(self.batches)))
        with torch.no_grad():
            self.target[0].weight.add_(1.0)  # type: ignore[index,union-attr,operator]
        self.optimizer.step()
        self.scheduler.step()


def test_what_the_users_training_holds_is_put_back_between_trials_and_the_rest_is_told() -> None:
    model = sick()
    agent = Agent(model)
    weight = agent.target[0].weight.clone()  # type: ignore[index,union-attr,operator]
    scores = iter([*[0.5] * 7, 0.9, 0.6, 0.6])
    done = scripted(model, "shifted", "begun anew").apply(validate=lambda _: next(scores), train=agent.train)
    assert [one[:2] for one in agent.drawn] == [agent.drawn[0][:2]] * 3
    assert agent.scheduler.last_epoch == 0
    assert agent.optimizer.param_groups[0]["lr"] == 3e-3
    assert torch.equal(agent.target[0].weight, weight)  # type: ignore[index,union-attr]
    assert [one[2] for one in agent.drawn] == [0, 1, 2]
    assert "batches goes on from training to training" in str(done)


def test_the_winners_surroundings_are_kept_with_it() -> None:
    model = sick()
    agent = Agent(model)
    weight = agent.target[0].weight.clone()  # type: ignore[index,union-attr,operator]
    scores = iter([*[0.5] * 7, 0.1, 0.9, 0.1, *[0.9] * 5])
    done = scripted(model, "shifted", "begun anew").apply(validate=lambda _: next(scores), train=agent.train)
    assert done.verdict == "kept"
    torch.testing.assert_close(agent.target[0].weight, weight + 1)  # type: ignore[index,union-attr]
    assert agent.scheduler.last_epoch == 1


def test_a_network_that_works_and_has_little_trouble_is_judged_by_the_metric_without_a_training() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    training(optimizer, 150)(model)
    with torch.no_grad():
        model[2].bias[:5] -= 10.0
    good = accuracy(model)
    assert good > 0.75

    def train(_: nn.Module) -> None:
        raise AssertionError("no training is needed")

    done = plan_of(model).apply(validate=accuracy, train=train, optimizer=optimizer)
    assert done.trainings is None
    assert "no piece of training was run" in str(done)
    assert accuracy(model) >= good


@pytest.mark.parametrize("shows", [False, True])
def test_where_no_training_shows_anything_it_is_judged_as_by_the_metric_alone(shows: bool) -> None:
    """Scores of new networks, which a network that has learned nothing does not exceed, are noise about .5."""
    model, noise = sick(), torch.Generator().manual_seed(2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    before = copy.deepcopy(model.state_dict())
    trained: list[int] = []
    work = training(optimizer, 3)

    def metric(_: nn.Module) -> float:
        moved = any(float(state["step"]) >= 3 for state in optimizer.state.values())
        return 0.5 + 0.001 * float(torch.rand((), generator=noise)) + (0.2 if shows and moved else 0.0)

    def train(now: nn.Module) -> None:
        trained.append(1)
        work(now)

    done = scripted(model, "shifted", "begun anew").apply(validate=metric, train=train, optimizer=optimizer)
    assert done.trainings == (len(trained), 8)
    if shows:
        assert done.verdict == "left"  # all learn alike, so nothing is done
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    else:
        assert done.verdict == "not judged"
        assert [action.kind for action in done.actions] == ["recentre"]
        assert "so that they judge nothing" in " ".join(str(done).split())
        assert [result.name for result in done.results] == ["as it was", "shifted", "begun anew"]
    assert not optimizer.state  # nothing of the trainings is kept


def test_how_far_each_site_moved_is_told(tmp_path: Path) -> None:
    model = sick()
    with torch.no_grad():
        z = model[0](DATA)
    plan = scripted(model, "shifted")
    done = plan.apply(validate=lambda subject: float(accuracy(subject)) if subject[0].bias.min() < -40 else 1.0)
    first, second = done.drift
    with torch.no_grad():
        now = model[0](DATA)
    assert (first.site, second.site) == ("1", "3")
    assert first.mean == pytest.approx((float(z.mean()), float(now.mean())), rel=1e-4)
    assert first.second_moment == pytest.approx((float(z.square().mean()), float(now.square().mean())), rel=1e-4)
    some, then = z[:256].relu(), now[:256].relu()
    assert first.change == pytest.approx(float((then - some).norm() / some.norm()), rel=1e-4)
    done.save(tmp_path / "done.json")
    assert leaky.load(tmp_path / "done.json").drift == done.drift


def test_where_no_treatment_has_learned_anything_a_network_with_nothing_to_lose_begins_anew() -> None:
    model = sick()
    with torch.no_grad():
        model[2].weight.zero_()
        model[2].bias.fill_(-9.0)
    plan = plan_of(model)
    assert plan.plan.nothing_to_lose is not None
    assert [treatment.name for treatment in plan.treatments][-1] == "begun anew"
    assert len(plan.treatments) > 1
    done = plan.apply(validate=lambda _: 0.5, train=lambda _: None)
    assert done.verdict == "not judged"
    assert [action.kind for action in done.actions] == ["begin anew"]
    assert len(done.results) > 2

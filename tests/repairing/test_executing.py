"""A plan that was written by hand is carried out: the record says what happened, and the model is as it says."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from leaky.repairing.executing import Execution
from leaky.repairing.gauge import Limits
from leaky.repairing.operations.moments import out_of_date
from leaky.repairing.outcome import RepairRecord
from leaky.repairing.plan import Action, Plan, Treatment
from leaky.repairing.subject import Subject

DATA = torch.randn(1500, 6, generator=torch.Generator().manual_seed(1))
DEAD = (0, 1, 2, 3)
REVIVE = Treatment("revived", (Action("revive", "1", DEAD, "they are dead"),), keeps_function=True)
SHIFT = Treatment("shifted", (Action("recentre", "1", DEAD, "they are dead"),), keeps_function=False)
LIMITS = Limits(tolerance=0.0, max_change=0.1, higher_is_better=True, most_trainings=8)


def model_of() -> nn.Sequential:
    """Four of eight units are dead; the dropout in evaluation and the rest in training."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].bias[:4] = -50.0
    model.train()
    model[2].eval()
    return model


def plan_of(*treatments: Treatment, planned: str | None = None) -> Plan:
    first = treatments[0].name if treatments and planned is None else planned
    return Plan(treatments, first, (), None, None, False, (1, 8), 0.5, moments="looked at")


def run(
    model: nn.Module,
    plan: Plan,
    validate: Callable[[nn.Module], float] | None = None,
    train: Callable[[nn.Module], object] | None = None,
    **limits: Any,
) -> RepairRecord:
    return Execution(plan, Subject(model, DATA), validate, train, replace(LIMITS, **limits)).run()


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(DATA).double()  # type: ignore[no-any-return]


def lost(model: nn.Module) -> float:
    """The share of units that never fire on the data."""
    with torch.no_grad():
        return float((model[0](DATA).amax(0) <= 0).double().mean())  # type: ignore[index]


def state(model: nn.Module) -> list[Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def same(model: nn.Module, before: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(model), before, strict=True))


@pytest.mark.parametrize("treatment", [REVIVE, SHIFT], ids=["revived", "shifted"])
def test_change_and_share_of_lost_units_are_those_of_the_model(treatment: Treatment) -> None:
    model = model_of()
    before = outputs(model)
    record = run(model, plan_of(treatment), max_change=1e9)
    change = float((outputs(model) - before).norm() / before.norm())
    assert (record.verdict, record.actions) == ("not judged", treatment.actions)
    assert record.output_change == pytest.approx(change, rel=1e-3, abs=1e-6)
    assert record.lost_share == (0.5, lost(model))
    assert lost(model) == 0.0


def test_modes_of_modules_stay_whatever_training_and_metric_leave_them_in() -> None:
    model = model_of()
    modes = [module.training for module in model.modules()]

    def train(subject: nn.Module) -> None:
        subject.eval()

    scores = iter(range(1000))

    def validate(subject: nn.Module) -> float:
        subject.train()
        return float(next(scores))

    record = run(model, plan_of(REVIVE), validate, train)
    assert record.results
    assert [module.training for module in model.modules()] == modes


def test_what_moves_the_outputs_by_more_than_was_allowed_is_put_back_to_the_last_bit() -> None:
    model = model_of()
    before = state(model)
    assert run(model_of(), plan_of(SHIFT), max_change=1e9).output_change > 0.01
    record = run(model, plan_of(SHIFT), max_change=0.01)
    assert (record.verdict, record.actions, record.lost_share) == ("rolled back", SHIFT.actions, (0.5, 0.5))
    assert record.output_change == 0.0
    assert same(model, before)


def test_an_empty_plan_looks_at_nothing() -> None:
    def fails(_: nn.Module) -> float:
        raise AssertionError

    model = model_of()
    before = state(model)
    record = run(model, plan_of(), fails, fails)
    assert (record.verdict, record.reason) == ("nothing to do", "there was nothing to repair")
    assert same(model, before)


def test_the_optimizer_that_the_training_holds_is_put_back_with_the_model() -> None:
    model = model_of()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def train(subject: nn.Module) -> None:
        for _ in range(3):
            optimizer.zero_grad()
            subject(DATA[:64]).square().mean().backward()
            optimizer.step()

    train(model)
    assert out_of_date(optimizer) is None
    before = state(model)
    moments = copy.deepcopy([value for each in optimizer.state.values() for value in each.values()])
    parameters = list(model.parameters())
    record = run(model, plan_of(REVIVE), lambda _: 0.5, train)
    assert (record.verdict, record.trainings) == ("left", (2, 8))  # a metric that never moves shows no winner
    assert same(model, before)
    now = [value for each in optimizer.state.values() for value in each.values()]
    assert all(torch.equal(a, b) for a, b in zip(now, moments, strict=True))
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))


def test_the_winner_of_a_race_is_the_model_as_it_stood_after_its_training() -> None:
    """The metric is the share of units that fire; the training only counts itself in the last bias."""
    model = model_of()

    def train(subject: nn.Module) -> None:
        with torch.no_grad():
            subject[-1].bias += 1.0  # type: ignore[index, operator]

    start = model[-1].bias.clone()
    record = run(model, plan_of(REVIVE), lambda subject: 1 - lost(subject), train)
    assert (record.verdict, record.metric, record.lost_share) == ("kept", (0.5, 1.0), (0.5, 0.0))
    trained = {result.name: result.trainings for result in record.results}
    assert record.trainings == (sum(trained.values()), 8)
    assert lost(model) == 0.0
    assert {result.name for result in record.results} == {"as it was", "revived"}
    torch.testing.assert_close(model[-1].bias - start, torch.full((3,), float(trained["revived"])))

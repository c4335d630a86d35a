"""An optimizer that remembers gradients of another size, by closed forms; and what a repair does about it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from tests.repairing.learning import Task
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.repairing.operations.moments import LEAST, MOST, out_of_date

DATA = torch.randn(800, 6, generator=torch.Generator().manual_seed(1))
LABELS = (DATA[:, 0] + DATA[:, 1] > 0).long()
TASK = Task(DATA, LABELS)
accuracy, training = TASK.accuracy, TASK.training


def fed(gradients: list[float], **options: float) -> torch.optim.Adam:
    parameters = [nn.Parameter(torch.zeros(3, 4)) for _ in range(3)]
    optimizer = torch.optim.Adam(parameters, 1e-3, **options)
    for size in gradients:
        for parameter in parameters:
            parameter.grad = torch.full((3, 4), size)
        optimizer.step()
    return optimizer


def noise(count: int, sizes: Callable[[int], float] = lambda _: 1.0) -> torch.optim.Adam:
    generator = torch.Generator().manual_seed(0)
    parameter = nn.Parameter(torch.zeros(40, 40))
    optimizer = torch.optim.Adam([parameter], 1e-3)
    for step in range(count):
        parameter.grad = sizes(step) * torch.randn(40, 40, generator=generator)
        optimizer.step()
    return optimizer


def ratio(gradients: list[float]) -> float:
    """The same by the definition of both averages, in Python."""
    first = second = 0.0
    for g in gradients:
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g * g
    return first / (1 - 0.9 ** len(gradients)) / math.sqrt(second / (1 - 0.999 ** len(gradients)))


@pytest.mark.parametrize(
    "gradients",
    [[1.0] * 50, [1.0] * 200 + [1e3], [1.0] * 200 + [1e7] + [1.0] * 300, [float(i) for i in range(1, 40)], [5.0]],
)
def test_it_is_out_of_date_where_the_averages_say_so(gradients: list[float]) -> None:
    expected = ratio(gradients)
    found = out_of_date(fed(gradients))
    assert (found is not None) is not (LEAST <= expected <= MOST)
    if found is not None:
        assert f"{expected:.3g} times" in found


def test_of_noise_and_of_gradients_that_fall_it_is_not() -> None:
    assert out_of_date(noise(300)) is None
    assert out_of_date(noise(3)) is None
    assert out_of_date(noise(1000, lambda step: 0.995**step)) is None  # a hundred and fifty times smaller in the end
    for after in (1, 20, 50, 99):  # the mean forgets a gradient sooner than the mean square does
        found = out_of_date(noise(300 + after, lambda step: 1e6 if step == 299 else 1.0))
        assert found is not None


def test_where_nothing_is_known_of_the_gradients_nothing_is_said() -> None:
    assert out_of_date(None) is None
    assert out_of_date(torch.optim.Adam([nn.Parameter(torch.zeros(2))])) is None
    assert out_of_date(fed([0.0] * 5)) is None
    parameter = nn.Parameter(torch.ones(2))
    for optimizer in (torch.optim.SGD([parameter], 0.1, momentum=0.9), torch.optim.Adagrad([parameter])):
        parameter.grad = torch.full((2,), 1e9)
        optimizer.step()
        assert out_of_date(optimizer) is None


def frozen_by_its_optimizer() -> tuple[nn.Module, torch.optim.Adam]:
    """A network that has learned nothing yet; its optimizer has seen one gradient of 1e9."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    before = copy.deepcopy(model.state_dict())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e9)
    optimizer.step()
    model.load_state_dict(before)
    training(optimizer)(model)
    return model, optimizer


def test_a_network_that_its_optimizer_has_frozen_learns_again() -> None:
    model, optimizer = frozen_by_its_optimizer()
    done = leaky.repair(model, DATA).apply(validate=accuracy, train=training(optimizer))
    assert done.kept
    assert [action.kind for action in done.actions] == ["forget moments"]
    assert "the optimizer's state begins anew: one of its last gradients was so large" in " ".join(str(done).split())
    assert [result.name for result in done.results][:2] == ["as it was", "moments forgotten"]
    assert done.metric is not None
    assert done.metric[1] > done.metric[0] + 0.2
    assert out_of_date(optimizer) is None


@pytest.mark.parametrize("given", ["repair", "apply", "train"])
def test_the_printed_plan_is_what_happens_to_the_optimizer(given: str) -> None:
    model, optimizer = frozen_by_its_optimizer()
    known = {"optimizer": optimizer} if given == "repair" else {}
    plan = leaky.repair(model, DATA, **known)
    printed = " ".join(str(plan).split())
    own = torch.optim.SGD(model.parameters(), 0.1) if given == "apply" else optimizer
    train = training(own)
    done = plan.apply(validate=accuracy, train=train, **({"optimizer": optimizer} if given == "apply" else {}))
    assert "moments forgotten" in {result.name for result in done.results}
    if given == "repair":
        assert plan.treatments[0].name == "moments forgotten"
        assert "moments forgotten: forget moments the whole network: one of its last gradients was so large" in printed
        assert plan.plan.moments == "looked at"
    else:
        assert "first of all: an optimizer that apply is given, or train holds, forgets its moments if" in printed
        assert plan.plan.moments == "not looked at"


def test_what_an_optimizer_remembers_is_left_alone_if_that_is_asked_for() -> None:
    model, optimizer = frozen_by_its_optimizer()
    with torch.no_grad():
        model[0].bias[:20] -= 50.0
    known = leaky.repair(model, DATA, optimizer=optimizer)
    assert all(t.actions[0].kind == "forget moments" for t in known.treatments)
    for plan in (known, leaky.repair(model, DATA)):
        without = plan.without("moments forgotten")
        assert without.treatments
        assert not any(action.kind == "forget moments" for t in without.treatments for action in t.actions)
        assert "first of all" not in str(without)
        state = copy.deepcopy(optimizer.state_dict()["state"])
        done = without.apply(validate=lambda _: 0.5, train=training(optimizer, 2), optimizer=optimizer)
        assert "moments forgotten" not in {result.name for result in done.results}
        optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    assert {t.name for t in known.without("1").treatments} == {"moments forgotten", "begun anew"}


def test_another_optimizer_than_the_plans_is_refused() -> None:
    model, optimizer = frozen_by_its_optimizer()
    plan = leaky.repair(model, DATA, optimizer=optimizer)
    with pytest.raises(InputError, match="optimizer must be the one that the plan was made with"):
        plan.apply(optimizer=torch.optim.Adam(model.parameters()))


def test_without_a_training_the_optimizer_is_left_as_it_is_where_the_metric_means_something() -> None:
    model, optimizer = frozen_by_its_optimizer()
    state = copy.deepcopy(optimizer.state_dict()["state"])
    before = copy.deepcopy(model.state_dict())

    def good_as_it_is(now: nn.Module) -> float:
        return 0.9 if all(torch.equal(value, before[name]) for name, value in now.state_dict().items()) else 0.5

    done = leaky.repair(model, DATA).apply(validate=good_as_it_is, optimizer=optimizer)
    assert not done.kept
    now = optimizer.state_dict()["state"]
    assert all(torch.equal(value, now[i][key]) for i, kept in state.items() for key, value in kept.items())

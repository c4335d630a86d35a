"""Units that die while a training goes on: waste where the others go on as before, harm where something shows it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import leaky
from leaky.watching.alarm import Alarm

UNITS = 100


def watched(each_step: float, lost: int, sinking: float = 0.0, begins: int = 60, outputs: int = 3) -> list[Alarm]:
    """The alarms of a layer of which units leave the data one after another, or at one stroke, after a step.

    Args:
        each_step: units that leave at a step.
        lost: at most.
        sinking: by so much the biases of the others fall at a step.
        begins: the step after which they do.
        outputs: numbers that the model gives.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, UNITS), nn.ReLU(), nn.Linear(UNITS, outputs))
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    names = ["dead", "stopped-firing", "collapsing"]
    with leaky.watch(model, optimizer, alarms=names, on_alarm=lambda alarm: None) as watch:
        for step in range(begins + 30 + round(lost / each_step) + 40 * (each_step > 1)):
            with torch.no_grad():
                gone = min(lost, round(each_step * max(0, step - begins)))
                model[0].bias[:gone] = -100.0
                model[0].bias[gone:] -= sinking * (step > begins)
            optimizer.zero_grad()
            model(torch.randn(64, 16)).square().mean().backward()
            optimizer.step()
    assert watch.history["1"]["silent"][-1] >= lost / UNITS
    return watch.alarms


def loud(alarms: list[Alarm]) -> set[str]:
    return {alarm.finding.level for alarm in alarms if alarm.finding.level != "info"}


@pytest.mark.parametrize("lost", [44, 55])
def test_units_that_leave_one_by_one_are_a_note_while_the_others_fire_as_before(lost: int) -> None:
    alarms = watched(1.0, lost)
    assert {alarm.finding.rule for alarm in alarms} >= {"stopped-firing"}
    assert loud(alarms) == set()


def test_units_that_leave_one_by_one_are_a_warning_where_the_others_fire_ever_more_rarely() -> None:
    alarms = watched(1.0, 55, sinking=0.01)
    assert loud(alarms) == {"warning"}
    told = [str(alarm) for alarm in alarms if alarm.finding.level == "warning" and alarm.finding.rule != "collapsing"]
    assert "Those that are left fade too: they fire 0." in told[0]


def test_units_that_leave_at_one_stroke_are_a_warning_whatever_the_others_do() -> None:
    alarms = watched(50.0, 50)
    assert loud(alarms) == {"warning"}
    assert any("50.0% of the units fell silent at one stroke" in str(alarm) for alarm in alarms)


def test_units_that_leave_at_the_very_first_steps_are_a_note() -> None:
    assert loud(watched(50.0, 50, begins=5)) == set()


@pytest.mark.parametrize(("lost", "levels"), [(88, set()), (94, {"error"})])
def test_a_layer_of_which_few_units_are_left_is_harm_where_the_model_gives_more_numbers(
    lost: int, levels: set[str]
) -> None:
    alarms = watched(0.5, lost, begins=40, outputs=10)
    assert loud(alarms) == levels
    assert any("units are left, fewer than" in str(alarm) for alarm in alarms) == bool(levels)

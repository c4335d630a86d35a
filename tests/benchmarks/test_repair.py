"""The trouble suite is what it says: its set-ups, its trouble, its healthy twins, and a verdict that can fail."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from benchmarks.repair import methods, running, tables
from benchmarks.repair.data import NAMES
from benchmarks.repair.setups import FAMILIES, Setup, patient, setups
from benchmarks.repair.training import accuracy, steps

pytestmark = pytest.mark.usefixtures("one_thread")
pytest.importorskip("sklearn")
pytest.importorskip("mnist1d")

SMALL = [s for s in setups() if s.held_out is False and s.data == "digits" and s.family != "deep plain"]


def test_there_are_enough_set_ups_on_enough_data_half_of_them_held_out() -> None:
    found = setups()
    assert len(found) >= 60
    assert len({s.name for s in found}) == len(found)
    assert Counter(s.held_out for s in found) == {True: len(found) // 2, False: len(found) // 2}
    assert {s.data for s in found} == set(NAMES)
    assert {s.family for s in found} == set(FAMILIES)
    assert all(50 <= s.depth <= 200 for s in found if s.family == "deep plain")


@pytest.mark.parametrize("setup", SMALL, ids=lambda s: s.family)
def test_the_trouble_is_real_and_the_twin_is_well(setup: Setup) -> None:
    sick, data = patient(setup, 0)
    x, y = sick.inputs(data.train), data.train.y
    steps(sick.model, sick.optimizer, x, y, 60, 0)
    steps(sick.twin, sick.twin_optimizer, data.train.x, y, 60, 0)
    assert accuracy(sick.twin, data.train.x, y) > accuracy(sick.model, x, y)


def outcomes(twin: list[float], other: list[float]) -> dict[str, list[dict[str, Any]]]:
    return {"twin": [{"score": s} for s in twin], "other": [{"score": s} for s in other]}


@pytest.mark.parametrize(
    ("twin", "other", "verdict"),
    [
        ([90.0, 91.0, 92.0, 93.0], [89.1, 90.1, 91.1, 92.1], True),  # .9 points below, every time
        ([90.0, 91.0, 92.0, 93.0], [88.9, 89.9, 90.9, 91.9], False),  # 1.1 points
        ([90.0, 80.0, 95.0, 85.0], [85.0, 85.0, 85.0, 87.0], True),  # 2 points, standard error 3.7
        ([90.0, 90.0, 90.0, 90.0], [95.0, 96.0, 97.0, 98.0], True),  # better
    ],
)
def test_the_verdict(twin: list[float], other: list[float], verdict: bool) -> None:
    assert tables.repaired(outcomes(twin, other), "other") is verdict


def test_every_method_has_the_same_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: dict[str, int] = {}
    monkeypatch.setattr(methods, "STEPS", 80)
    monkeypatch.setattr(methods, "REDO_EVERY", 40)
    monkeypatch.setattr(methods, "SHORT", 10)

    def counted(model: Any, optimizer: Any, x: Any, y: Any, count: int, seed: int) -> None:
        counts["steps"] = counts.get("steps", 0) + count

    monkeypatch.setattr(methods, "steps", counted)
    setup = next(s for s in SMALL if s.family == "rate spike")
    for name, method in {**methods.TWINS, **methods.METHODS}.items():
        counts.clear()
        original, data = patient(setup, 0)
        method(original, data, 0)
        assert counts["steps"] == 80, name


def test_a_set_up_runs_through_every_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "STEPS", 60)
    monkeypatch.setattr(methods, "REDO_EVERY", 30)
    monkeypatch.setattr(methods, "SHORT", 10)
    result = running.run(next(s for s in SMALL if s.family == "raw input"), seeds=2)
    assert set(result["outcomes"]) == {*methods.TWINS, *methods.METHODS}
    assert all(len(found) == 2 for found in result["outcomes"].values())
    printed = tables.table([result])
    assert "raw input" in printed
    assert "healthy twins harmed:" in printed

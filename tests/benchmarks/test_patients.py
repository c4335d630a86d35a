"""The patients are what they are said to be: real trouble, healthy twins, half of the kinds held out."""

from __future__ import annotations

import copy
import json

import pytest
from benchmarks.patients import methods, running
from benchmarks.patients.__main__ import RESULTS
from benchmarks.patients.kinds import KINDS, Kind

pytestmark = pytest.mark.usefixtures("one_thread")
pytest.importorskip("sklearn")


def test_half_of_the_kinds_are_held_out_and_all_were_run() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) >= 24
    assert sum(kind.held_out for kind in KINDS) == len(KINDS) // 2
    assert {result["kind"] for result in json.loads(RESULTS.read_text())} == {kind.name for kind in KINDS}


@pytest.mark.parametrize(
    "kind", [k for k in KINDS if k.name in ("regression, buried", "locked by cap")], ids=lambda k: k.name
)
def test_the_trouble_is_real_and_the_treatments_cure_it(kind: Kind) -> None:
    sick, healthy = kind.pair(0)
    assert healthy.points(healthy.task.test) > sick.points(sick.task.test) + 20
    state = copy.deepcopy(sick)
    state.task = sick.task
    outcomes = {
        "twin": methods.go_on(healthy, 0).points,
        "untouched": methods.go_on(sick, 0).points,
        "by metric alone": methods.by_metric(state, 0).points,
    }
    assert outcomes["untouched"] < outcomes["twin"] - 5
    assert outcomes["by metric alone"] > outcomes["twin"] - 3


@pytest.mark.parametrize(
    ("method", "verdict"), [([90.0, 91.0, 92.0], True), ([80.0, 81.0, 82.0], False), ([95.0, 96.0, 97.0], True)]
)
def test_the_verdict(method: list[float], verdict: bool) -> None:
    outcomes = {"twin": [{"points": p} for p in (90.5, 91.5, 92.5)], "x": [{"points": p} for p in method]}
    assert running.no_worse(outcomes, "x") is verdict

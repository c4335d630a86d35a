"""Waste and harm told apart where no loss says whether the network has learned: by what is left, and by the input."""

from __future__ import annotations

import pytest
from tests.diagnosis.helpers import ENOUGH, findings_in, only
from tests.records import normal, planted, producer, record_from, site_from, tensor

from leaky.diagnosis import Thresholds
from leaky.diagnosis.harm import Lost, cost
from leaky.record import FloatArray, Record, Site


def partly_dead(units: int, dead: int, seed: int = 0) -> FloatArray:
    """Pre-activations of which the first units are far below 0."""
    z = normal(ENOUGH, units, seed=seed)
    return planted(z, range(dead), z[:, :dead] - 9)


def layer(dead: int, name: str) -> Site:
    return site_from(partly_dead(40, dead, len(name)), 0.0, name=name)


def network(first: int, second: int, inputs: FloatArray | None = None) -> Record:
    """Two layers of 40 units, so many of them dead, between a narrow input and a narrow output."""
    x = normal(ENOUGH, 2) if inputs is None else inputs
    ends = {"inputs": (tensor(x),), "outputs": (tensor(normal(ENOUGH, 2), "output"),)}
    return record_from(layer(first, "one"), layer(second, "second"), **ends)


@pytest.mark.parametrize(
    ("first", "second", "level"),
    [(30, 10, "info"), (28, 16, "info"), (30, 24, "warning"), (36, 36, "warning")],
)
def test_a_site_that_is_mostly_dead_is_a_warning_where_most_of_the_network_is(
    first: int, second: int, level: str
) -> None:
    found = [f for f in findings_in("dead", network(first, second)) if f.site == "one"]
    assert only(found).level == level
    assert ("of the network's hidden units are dead" in found[0].message) == (level == "warning")


@pytest.mark.parametrize(("scale", "level"), [(1.0, "info"), (12.0, "info"), (100.0, "warning")])
def test_a_site_that_is_mostly_dead_behind_an_input_far_off_scale_is_a_warning(scale: float, level: str) -> None:
    record = network(30, 4, scale * normal(ENOUGH, 2))
    found = [f for f in findings_in("dead", record) if f.site == "one"]
    assert only(found).level == level
    causes = findings_in("input-scale", record)
    assert [f.level for f in causes] == (["warning"] if level == "warning" else [])


def test_few_dead_units_behind_such_an_input_stay_a_note() -> None:
    (finding,) = findings_in("dead", network(10, 0, 100 * normal(ENOUGH, 2)))
    assert finding.level == "info"


def test_units_that_died_while_their_weights_grew_name_the_learning_rate() -> None:
    alive, dead = normal(ENOUGH, 40), partly_dead(40, 20)

    def record(z: FloatArray, rms: float) -> Record:
        return record_from(site_from(z, 0.0, name="act", producers=(producer(40, 40, rms, "fc.weight"),)))

    before = record(alive, 0.1)
    for rms, named in ((0.12, False), (0.9, True)):
        finding = only(findings_in("died-in-training", record(dead, rms), initial=before))
        assert ("a learning rate that is too large" in finding.advice) == named
        assert ("grew × 9" in finding.message) == named


def test_units_whose_pre_activations_may_be_used_elsewhere_are_not_said_to_cost_nothing() -> None:
    for bypassed, condition in ((True, True), (False, False)):
        z = partly_dead(40, 4)
        finding = only(findings_in("dead", record_from(site_from(z, 0.0, name="act", bypassed=bypassed))))
        assert ("where nothing else takes their pre-activations" in finding.advice) == condition


HALF = {"units": 100, "lost": 50}


@pytest.mark.parametrize(
    ("known", "level"),
    [
        ({}, "info"),
        ({"others_active": 1.6}, "info"),
        ({"others_active": 0.75}, "info"),
        ({"others_active": 0.7}, "warning"),
        ({"others_active": 0.7, "lost": 39}, "info"),
        ({"others_active": 0.7, "lost": 60}, "error"),
        ({"others_active": 0.7, "learned": True}, "info"),
        ({"others_active": 0.7, "bypassed": True}, "info"),
        ({"others_active": float("nan")}, "warning"),
        ({"others_active": 1.0, "at_once": 0.39}, "info"),
        ({"others_active": 1.0, "at_once": 0.4}, "warning"),
        ({"others_active": 1.0, "learned": False}, "warning"),
        ({"others_active": 1.0, "room": 51}, "info"),
        ({"others_active": 1.0, "room": 52}, "warning"),
        ({"others_active": 1.0, "lost": 60, "network": 0.65}, "warning"),
        ({"others_active": 1.0, "lost": 60, "network": 0.64}, "info"),
    ],
)
def test_half_of_a_site_is_harm_where_something_shows_what_it_costs(known: dict[str, float], level: str) -> None:
    found = cost(Lost(**{**HALF, **known}), Thresholds())  # type: ignore[arg-type]
    assert found.level == level
    assert bool(found.reason) == (level != "info" or "learned" in known)

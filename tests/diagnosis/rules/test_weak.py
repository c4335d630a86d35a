"""The findings on dormant, constant, starved and practically linear units."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.helpers import ENOUGH, findings, only
from tests.records import normal, planted, site_from

from leaky.theory import correlation_map


def test_dormant_units_that_are_small_themselves_are_promised_no_slope() -> None:
    found = only(findings("dormant", site_from(planted(normal(ENOUGH, 20), [4], 1e-3 * normal(ENOUGH, 1)), 0.0)))
    assert (found.level, found.units) == ("info", (4,))
    assert "the pre-activation itself is small, so no slope helps" in found.advice
    assert found.evidence["scores"] == [pytest.approx(1e-3, rel=0.1)]


def test_dormant_units_that_the_rectifier_cuts_are_told_their_score_under_a_slope() -> None:
    z = planted(normal(ENOUGH, 20), [4], 0.5 * normal(ENOUGH, 1, seed=5) - 1.0)
    found = only(findings("dormant", site_from(z, 0.0)))
    h = np.where(z > 0, z, 0.2 * z)
    score = np.abs(h[:, 4]).mean() / np.abs(h).mean()
    assert found.units == (4,)
    assert f"the score would be {score:.2g}; `leaky tune TASK --slopes 0 0.2` decides" in found.advice


def test_inactive_units_are_not_told_twice() -> None:
    z = planted(normal(ENOUGH, 20), [4, 5], -np.abs(normal(ENOUGH, 2)) - 1)
    z[:3, 5] = 0.01
    site = site_from(z, 0.0)
    assert findings("dormant", site) == []
    assert only(findings("dead", site)).units == (4,)
    assert only(findings("nearly-dead", site)).units == (5,)


def test_many_dormant_units_are_a_warning_and_an_output_has_none() -> None:
    z = planted(normal(ENOUGH, 20), range(9), 1e-3 * normal(ENOUGH, 9))
    assert only(findings("dormant", site_from(z, 0.0))).level == "warning"
    assert findings("dormant", site_from(z, 0.0, is_output=True)) == []


@pytest.mark.parametrize(("count", "level"), [(4, "info"), (5, "warning"), (100, "warning")])
def test_constant_units(count: int, level: str) -> None:
    found = only(findings("constant", site_from(planted(normal(ENOUGH, 100), range(count), -0.25), 0.1)))
    assert (found.level, found.units) == (level, tuple(range(count)))
    assert found.evidence["values"] == [-0.25] * count
    assert "No slope changes a constant" in found.advice


def test_starved_units_are_told_with_their_scores() -> None:
    z, g = normal(ENOUGH, 10), normal(ENOUGH, 10, seed=1)
    g[:, [2, 7]] *= 1e-4
    found = only(findings("gradient-starved", site_from(z, 0.01, gradient=g)))
    assert (found.level, found.units) == ("info", (2, 7))
    passed = (np.abs(g) * np.where(z > 0, 1.0, 0.01)).mean(axis=0)
    assert found.evidence["scores"] == pytest.approx(list((passed / passed.mean())[[2, 7]]))


def test_many_starved_units_are_a_warning() -> None:
    g = planted(normal(ENOUGH, 10), range(3), 0.0)
    assert only(findings("gradient-starved", site_from(normal(ENOUGH, 10), 0.01, gradient=g))).level == "warning"


@pytest.mark.parametrize(("slope", "found"), [(0.89, False), (0.91, True), (1.0, True), (1.09, True), (-1.0, False)])
def test_practically_linear_is_a_slope_near_1(slope: float, found: bool) -> None:
    assert bool(findings("practically-linear", site_from(normal(ENOUGH, 4), slope))) == found


def test_practically_linear_states_how_little_it_bends() -> None:
    found = only(findings("practically-linear", site_from(normal(ENOUGH, 4), [0.95, 0.2, 1.0, 0.0])))
    assert (found.level, found.units) == ("warning", (0, 2))
    assert found.evidence["bend_relative_to_relu"] == pytest.approx(
        correlation_map(0.0, 0.95) / correlation_map(0.0, 0.0)
    )
    few = only(findings("practically-linear", site_from(normal(ENOUGH, 4), [0.95, 0.2, 0.1, 0.0])))
    assert few.level == "info"


def test_a_bound_that_is_reached_bends_as_well() -> None:
    assert findings("practically-linear", site_from(normal(ENOUGH, 2), 1.0, cap=1.0, floor=-1.0)) == []
    assert findings("practically-linear", site_from(normal(ENOUGH, 2), 1.0, cap=100.0, floor=-100.0)) != []

"""Each verdict exactly at its limit, and the figures that decide it, in numbers that can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.records import normal, planted, site_from

from leaky.diagnosis import UnitVerdicts
from leaky.diagnosis.thresholds import Thresholds
from leaky.diagnosis.verdicts import (
    active_samples,
    constant_units,
    dormant_scores,
    effective_gradients,
    evidence_samples,
    judge,
    starved_scores,
)
from leaky.record import Site

ALTERNATING = np.where(np.arange(1200) % 2, 1.0, -1.0)
"""Fires on every second sample."""


def judged(site: Site, needed: int = 1, **thresholds: float) -> UnitVerdicts:
    return judge(site, Thresholds(**thresholds), needed)


def test_a_sample_counts_as_evidence_unless_an_element_of_it_is_not_finite() -> None:
    z = np.ones((5, 4, 3))
    z[0, 1, 0] = np.nan
    z[:2, 2, 1] = np.inf
    z[:, 3] = np.nan
    assert evidence_samples(site_from(z)).tolist() == [5, 4, 3, 0]


def test_the_samples_on_which_a_derivative_is_not_small() -> None:
    z = np.array([[1.0, -1.0], [-1.0, -1.0], [2.0, 3.0], [0.0, -2.0]])
    assert active_samples(site_from(z, 0.0), 1e-3).tolist() == [2, 1]
    assert active_samples(site_from(z, 1e-3), 1e-3).tolist() == [2, 1]
    assert active_samples(site_from(z, 2e-3), 1e-3).tolist() == [4, 4]
    assert active_samples(site_from(z, 1e-3, gain=2.0), 1e-3).tolist() == [4, 4]
    assert active_samples(site_from(np.full((4, 1), 5.0), 0.1, cap=1.0), 1e-3).tolist() == [0]


def test_a_unit_is_constant_up_to_a_range_in_shares_of_its_larger_end() -> None:
    z = np.array([[1.0, 1.0, -2.0, 0.0, np.nan], [2.0, 2.001, -1.0, 0.0, np.nan]])
    assert constant_units(site_from(z), 0.5).tolist() == [True, False, True, True, False]
    assert constant_units(site_from(z[:1]), 0.0).tolist() == [True, True, True, True, False]


def test_a_dormant_score_is_the_mean_size_of_an_output_in_shares_of_the_sites() -> None:
    z = np.array([[1.0, -4.0, 5.0], [3.0, -2.0, 5.0]])  # mean sizes under slope 0.5: 2, 1.5, 5
    expected = np.array([2, 1.5, 5]) * 3 / 8.5
    assert dormant_scores(site_from(z, 0.5)) == pytest.approx(expected)
    assert dormant_scores(site_from(-np.abs(z), 0.0)).tolist() == [0, 0, 0]


def test_of_a_smooth_activation_without_sums_of_its_outputs_no_score_is_known() -> None:
    site = site_from(normal(4, 3), smooth=np.tanh)
    bare = replace(site.statistics, output_sums=None, output_absolute_sums=None, output_squares=None)
    assert np.isnan(dormant_scores(replace(site, statistics=bare))).tolist() == [True] * 3


def test_an_effective_gradient_is_the_mean_size_of_the_gradient_before_the_activation() -> None:
    z = np.array([[1.0, -1.0], [-1.0, -2.0]])
    g = np.array([[3.0, 4.0], [2.0, -6.0]])
    assert effective_gradients(site_from(z, 0.5, gradient=g)) == pytest.approx([(3 + 1) / 2, (2 + 3) / 2])
    assert effective_gradients(site_from(z[:1], 0.5, gradient=g[:1])) == pytest.approx([3, 2])
    assert effective_gradients(site_from(z, 0.0, gradient=np.where(z < 0, np.inf, g))) == pytest.approx([1.5, 0])
    assert effective_gradients(site_from(z, 0.5)) is None
    assert starved_scores(site_from(z, 0.5, gradient=g)) == pytest.approx([2 / 2.25, 2.5 / 2.25])


def test_gradients_that_are_not_finite_or_all_0_starve_nobody() -> None:
    z = normal(1200, 3)
    g = planted(np.ones((1200, 3)), [1], np.inf)
    assert starved_scores(site_from(z, 0.1, gradient=g)) is None
    assert starved_scores(site_from(z, 0.1, gradient=np.zeros((1200, 3)))) is None


def test_nearly_dead_begins_below_its_rate() -> None:
    z = np.where(np.arange(1200)[:, None] < [300, 299], 1.0, -1.0)
    assert judged(site_from(z, 0.0), nearly_dead_rate=0.25).nearly_dead == (1,)


def test_dormant_and_starved_end_at_their_scores() -> None:
    z = np.stack([ALTERNATING, ALTERNATING, 2 * ALTERNATING], 1)
    g = np.ones((1200, 3)) * [1.0, 2.0, 3.0]
    found = judged(site_from(z, 0.5, gradient=g), dormant_score=0.75, starved_score=1.0)
    assert (found.dormant, found.starved) == ((0, 1), (0, 1))


def test_a_unit_that_fired_once_may_be_starved_and_one_that_never_did_is_not() -> None:
    z = np.stack([ALTERNATING, np.where(np.arange(1200) == 5, 1.0, -1.0), -np.abs(ALTERNATING)], 1)
    g = np.ones((1200, 3)) * [1.0, 1e-9, 1e-9]
    assert judged(site_from(z, 0.1, gradient=g)).starved == (1,)


@pytest.mark.parametrize("samples", [99, 100])
def test_gradients_of_fewer_samples_than_the_least_starve_nobody(samples: int) -> None:
    z = np.stack([ALTERNATING, ALTERNATING], 1)[:samples]
    g = np.ones((samples, 2)) * [1.0, 1e-9]
    found = judged(site_from(z, 0.1, gradient=g), least_samples=100)
    assert found.starved == ((1,) if samples == 100 else ())


def test_too_few_samples_leave_the_dead_and_the_locked_unproven() -> None:
    z = np.stack([ALTERNATING, -np.abs(ALTERNATING)], 1)[:50]
    for slope in (0.0, 0.3):
        assert judged(site_from(z, slope), needed=51).unproven == (1,)
        assert judged(site_from(z, slope), needed=50).unproven == ()

"""The bound on how often a unit fires, against the binomial distribution summed term by term."""

from __future__ import annotations

import math

import pytest

from leaky.diagnosis.bounds import rate_upper_bound
from leaky.theory import rate_bound


def probability_of_at_most(events: int, samples: int, rate: float) -> float:
    return math.fsum(math.comb(samples, k) * rate**k * (1 - rate) ** (samples - k) for k in range(events + 1))


@pytest.mark.parametrize(("events", "samples", "units"), [(1, 50, 1), (3, 200, 10), (10, 60, 100), (49, 50, 1)])
def test_the_bound_leaves_delta_over_units_of_doubt(events: int, samples: int, units: int) -> None:
    bound = rate_upper_bound(events, samples, 0.05, units)
    assert probability_of_at_most(events, samples, bound) == pytest.approx(0.05 / units, rel=1e-6)


def test_without_events_it_is_the_closed_form() -> None:
    assert rate_upper_bound(0, 1797, 0.05, 64) == rate_bound(1797, 0.05, 64)


def test_an_event_on_every_sample_or_none_seen_bounds_nothing() -> None:
    assert rate_upper_bound(5, 5, 0.05, 1) == 1.0
    assert rate_upper_bound(0, 0, 0.05, 1) == 1.0


def test_it_grows_with_the_events_and_shrinks_with_the_samples() -> None:
    bounds = [rate_upper_bound(k, 1000, 0.05, 10) for k in range(0, 1000, 37)]
    assert bounds == sorted(bounds)
    assert rate_upper_bound(10, 2000, 0.05, 10) < rate_upper_bound(10, 1000, 0.05, 10)


def test_many_events_on_very_many_samples_stay_finite() -> None:
    assert 0.01 < rate_upper_bound(10_000, 1_000_000, 0.05, 10_000) < 0.0107

"""The verdict on each unit, against planted faults and against a loop over single elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records import normal, planted, record_from, site_from

from leaky.diagnosis import VERDICTS, UnitVerdicts, diagnose
from leaky.record import Record, Site
from leaky.theory import samples_needed

N = 1200
"""Samples that are enough for every record here."""


def verdicts_of(site: Site, **thresholds: float) -> UnitVerdicts:
    return diagnose(record_from(site), thresholds=thresholds).verdicts[site.name]


def below(count: int, n: int = N, seed: int = 7) -> np.ndarray:
    return -np.abs(normal(n, count, seed=seed)) - 0.1


FAULTY = planted(planted(planted(normal(N, 8), [1, 4], below(2)), [6], np.abs(normal(N, 1)) + 0.1), [3], 2.5)
"""Units 1 and 4 always below 0, 6 always above, 3 constant at 2.5, the others healthy."""


def test_under_slope_0_units_below_the_threshold_are_dead() -> None:
    found = verdicts_of(site_from(FAULTY, 0.0))
    assert found.dead == found.silent == (1, 4)
    assert found.locked_negative == ()
    assert found.locked_positive == (3, 6)
    assert found.constant == (3,)
    assert found.dormant == (1, 4)
    assert found.nearly_dead == found.starved == found.unproven == ()


@pytest.mark.parametrize("slope", [0.01, 0.2, -0.5, 1.5])
def test_under_a_slope_that_is_not_small_they_are_locked(slope: float) -> None:
    found = verdicts_of(site_from(FAULTY, slope))
    assert (found.dead, found.locked_negative, found.locked_positive) == ((), (1, 4), (3, 6))
    assert found.silent == (1, 4)


@pytest.mark.parametrize("slope", [1e-3, -1e-3, 9e-4, 0.0])
def test_a_slope_up_to_tau_of_either_sign_is_practically_0(slope: float) -> None:
    assert verdicts_of(site_from(FAULTY, slope)).dead == (1, 4)


def test_the_gain_counts() -> None:
    assert verdicts_of(site_from(FAULTY, 0.01, gain=0.05)).dead == (1, 4)
    assert verdicts_of(site_from(FAULTY, 0.0009, gain=2.0)).locked_negative == (1, 4)


def test_the_limit_of_a_small_derivative_can_be_chosen() -> None:
    assert verdicts_of(site_from(FAULTY, 0.01), dead_derivative=0.02).dead == (1, 4)


def test_slopes_are_read_per_unit() -> None:
    slopes = np.full(8, -0.3)
    slopes[4] = 5e-4
    found = verdicts_of(site_from(FAULTY, slopes))
    assert (found.dead, found.locked_negative) == ((4,), (1,))


def test_a_unit_beyond_its_cap_is_dead_though_it_fires() -> None:
    found = verdicts_of(site_from(planted(normal(N, 3), [2], 7.0 + np.abs(normal(N, 1))), 0.01, cap=6.0))
    assert (found.dead, found.silent, found.locked_positive) == ((2,), (), ())


def test_a_unit_that_is_flat_on_both_sides_is_dead() -> None:
    z = planted(normal(N, 2), [1], np.where(normal(N, 1) > 0, 9.0, -9.0))
    assert verdicts_of(site_from(z, 0.0, cap=6.0)).dead == (1,)
    assert verdicts_of(site_from(z, 0.1, cap=6.0)).dead == ()


def test_a_unit_below_its_floor_is_dead_and_one_across_it_is_neither_dead_nor_locked() -> None:
    z = planted(planted(normal(N, 3), [1], -5 - np.abs(normal(N, 1))), [2], -3 + np.clip(normal(N, 1), -2, 2))
    found = verdicts_of(site_from(z, 0.2, floor=-3.0))
    assert (found.dead, found.locked_negative, found.silent) == ((1,), (), (1, 2))


def test_a_unit_across_its_cap_is_not_locked() -> None:
    z = planted(normal(N, 2), [1], 6 + np.clip(normal(N, 1), -2, 2))
    assert verdicts_of(site_from(z, 0.0, cap=6.0)).locked_positive == ()


def test_the_sites_own_threshold_counts() -> None:
    found = verdicts_of(site_from(planted(normal(N, 2) + 2, [0], 0.5), 0.0, threshold=1.0, value=20.0))
    assert (found.dead, found.constant) == ((0,), (0,))


def test_smooth_units_saturate_but_are_never_locked() -> None:
    z = planted(planted(normal(N, 3), [0], -9 - np.abs(normal(N, 1))), [1], 9 + np.abs(normal(N, 1)))
    found = verdicts_of(site_from(z, smooth=lambda x: x / (1 + np.exp(-x)), threshold=-8.0))
    assert found.dead == found.silent == found.dormant == (0,)
    assert found.locked_negative == found.locked_positive == ()


def test_a_convolution_channel_fires_on_a_sample_if_any_position_does() -> None:
    z = -np.abs(normal(N, 2, 30)) - 0.1
    z[:, 1, 17] = 1.0
    found = verdicts_of(site_from(z, 0.0))
    assert (found.dead, found.nearly_dead) == ((0,), ())


def test_units_that_saw_nothing_finite_get_no_verdict() -> None:
    z = planted(normal(N, 4), [0], np.nan)
    z[:, 1], z[:, 2] = np.inf, -np.inf
    found = verdicts_of(site_from(z, 0.0))
    assert found == UnitVerdicts()


def test_non_finite_elements_are_no_evidence() -> None:
    z = planted(normal(N, 2), [1], below(1))
    enough = samples_needed(units=2)
    for finite, proven in ((enough - 1, False), (enough, True)):
        z[:, 1] = np.where(np.arange(N) < finite, -1.0 - np.arange(N), np.nan)
        found = verdicts_of(site_from(z, 0.0))
        assert (found.dead, found.unproven) == (((1,), ()) if proven else ((), (1,)))
        assert found.silent == (1,)


def test_without_samples_there_is_no_verdict() -> None:
    assert verdicts_of(site_from(np.zeros((0, 3)), 0.0)) == UnitVerdicts()


@pytest.mark.parametrize(("slope", "verdict"), [(0.0, "dead"), (0.2, "locked_negative")])
def test_the_verdict_waits_for_exactly_the_samples_that_the_bound_asks_for(slope: float, verdict: str) -> None:
    needed = samples_needed(units=8)
    for n, proven in ((needed - 1, False), (needed, True)):
        found = verdicts_of(site_from(planted(normal(n, 8), [1], below(1, n)), slope))
        assert getattr(found, verdict) == ((1,) if proven else ())
        assert found.unproven == (() if proven else (1,))
        assert found.silent == (1,)


@pytest.mark.parametrize("verdict", ["locked_positive", "constant", "nearly_dead"])
def test_the_other_verdicts_of_never_wait_as_well(verdict: str) -> None:
    for n, proven in ((samples_needed(8) - 1, False), (samples_needed(8), True)):
        z = {
            "locked_positive": planted(normal(n, 8), [1], np.abs(normal(n, 1)) + 0.1),
            "constant": planted(normal(n, 8), [1], -1.0),
            "nearly_dead": planted(normal(n, 8), [1], np.where(np.arange(n) == 5, 1.0, -1.0)[:, None]),
        }[verdict]
        assert getattr(verdicts_of(site_from(z, 0.0)), verdict) == ((1,) if proven else ())


def test_the_units_of_all_sites_count_for_the_bound() -> None:
    n = samples_needed(8) + 10
    faulty = site_from(planted(normal(n, 8), [1], below(1, n)), 0.0, name="a")
    alone, among_many = record_from(faulty), record_from(faulty, site_from(normal(n, 5000), 0.0, name="b"))
    assert diagnose(alone).verdicts["a"].dead == (1,)
    assert diagnose(among_many).verdicts["a"].dead == ()
    assert diagnose(among_many, thresholds={"units_examined": 8}).verdicts["a"].dead == (1,)


def test_nearly_dead_is_rare_but_not_never() -> None:
    rare = -np.ones((N, 1))
    rare[:5] = 1.0
    z = planted(normal(N, 3), [2], rare)
    assert verdicts_of(site_from(z, 0.0)).nearly_dead == (2,)
    assert verdicts_of(site_from(z, 0.0), nearly_dead_rate=0.001).nearly_dead == ()
    assert verdicts_of(site_from(z, 0.1)).nearly_dead == ()  # its slope is at work on all the others


def test_a_unit_mostly_beyond_its_cap_is_nearly_dead() -> None:
    z = planted(normal(N, 2), [1], np.where(np.arange(N) < 4, 1.0, 9.0)[:, None])
    assert verdicts_of(site_from(z, 0.0, cap=6.0)).nearly_dead == (1,)


@pytest.mark.parametrize(("slope", "score"), [(0.0, True), (0.01, True), (0.2, False)])
def test_dormant_is_the_share_of_the_sites_mean_output(slope: float, score: bool) -> None:
    z = normal(N, 5)
    z[:, 2] = -np.abs(z[:, 2])
    h = np.where(z > 0, z, slope * z)
    scores = np.abs(h).mean(axis=0) / np.abs(h).mean()
    assert (scores[2] <= 0.025) == score
    assert verdicts_of(site_from(z, slope)).dormant == tuple(np.flatnonzero(scores <= 0.025))


def test_a_site_without_any_output_is_dormant_as_a_whole() -> None:
    assert verdicts_of(site_from(below(3), 0.0)).dormant == (0, 1, 2)


def test_averages_wait_for_the_least_samples() -> None:
    z = planted(normal(29, 4), [0], 1e-5)
    assert verdicts_of(site_from(z, 0.0)).dormant == ()
    assert verdicts_of(site_from(z, 0.0), least_samples=29).dormant == (0,)


def test_constant_is_relative_to_the_units_own_size() -> None:
    z = planted(planted(normal(N, 3), [0], 1e6 + 0.1 * normal(N, 1)), [1], 1e-9 * normal(N, 1))
    assert verdicts_of(site_from(z, 0.1)).constant == (0,)
    assert verdicts_of(site_from(z, 0.1), constant_range=1e-8).constant == ()


def test_starved_units_fire_and_get_no_gradient() -> None:
    z, g = normal(N, 4), normal(N, 4, seed=1)
    g[:, 1] *= 1e-3
    z[:, 3] = below(1)[:, 0]
    assert verdicts_of(site_from(z, 0.0, gradient=g)).starved == (1,)
    assert verdicts_of(site_from(z, 0.0)).starved == ()


def test_starved_units_fire_and_are_not_dead() -> None:
    z, g = planted(normal(N, 3), [1], below(1)), normal(N, 3, seed=1)
    g[:, 1] *= 1e-6
    assert verdicts_of(site_from(z, 0.1, gradient=g)).starved == ()  # never fired
    z[:, 1] = 9.0 + np.abs(normal(N, 1))[:, 0]
    assert verdicts_of(site_from(z, 0.1, cap=6.0, gradient=g)).starved == ()  # fires beyond its cap, dead
    assert verdicts_of(site_from(z, 0.1, gradient=g)).starved == (1,)


def test_starved_asks_what_gets_through_not_what_arrives() -> None:
    z, g = normal(N, 3), normal(N, 3, seed=1)
    g[z[:, 2] > 0, 2] = 0.0  # arrives only where slope 0 blocks it
    assert verdicts_of(site_from(z, 0.0, gradient=g)).starved == (2,)
    assert verdicts_of(site_from(z, 0.3, gradient=g)).starved == ()


def test_a_gradient_that_is_not_finite_starves_nobody() -> None:
    z, g = normal(N, 3), normal(N, 3, seed=1)
    g[0, 0] = np.nan
    assert verdicts_of(site_from(np.abs(z), 0.0, gradient=g)).starved == ()


def oracle(z: np.ndarray, slopes: np.ndarray, gain: float, floor: float, cap: float) -> dict[str, list[int]]:
    """The one-sided verdicts by the derivative of every single element."""
    found: dict[str, list[int]] = {"dead": [], "locked_negative": [], "locked_positive": [], "silent": []}
    for unit in range(z.shape[1]):
        values = [v for v in z[:, unit].ravel() if np.isfinite(v)]
        derivatives = [0.0 if v < floor or v > cap else gain * (1.0 if v > 0 else slopes[unit]) for v in values]
        if not values:
            continue
        if all(abs(d) <= 1e-3 for d in derivatives):
            found["dead"].append(unit)
        elif all(floor <= v <= 0 for v in values):
            found["locked_negative"].append(unit)
        elif all(0 < v <= cap for v in values):
            found["locked_positive"].append(unit)
        if all(v <= 0 for v in values):
            found["silent"].append(unit)
    return found


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    values=st.lists(
        st.lists(st.sampled_from([-5.0, -1.0, -0.0, 0.0, 1e-30, 1.0, 5.0, np.nan, np.inf]), min_size=4, max_size=4),
        min_size=1,
        max_size=3,
    ),
    slopes=st.lists(st.sampled_from([0.0, 1e-3, -1e-3, 0.01, -0.2, 1.0, 2.0]), min_size=4, max_size=4),
    gain=st.sampled_from([1e-4, 0.5, 1.0, 3.0]),
    bounds=st.sampled_from([(-np.inf, np.inf), (-3.0, 3.0), (-np.inf, 3.0), (-3.0, np.inf)]),
)
def test_one_sided_verdicts_are_those_of_every_single_element(
    values: list[list[float]], slopes: list[float], gain: float, bounds: tuple[float, float]
) -> None:
    z = np.array(values)
    site = site_from(z, slopes, gain=gain, floor=bounds[0], cap=bounds[1])
    found = verdicts_of(site, rate=0.999999, delta=0.999999, units_examined=1, least_samples=0)
    for verdict, units in oracle(z, np.array(slopes), gain, *bounds).items():
        assert list(getattr(found, verdict)) == units, verdict


def test_no_rare_unit_is_called_dead_more_often_than_delta_allows() -> None:
    """Units that fire on p₀ of samples, at exactly the n of the bound: any dead in at most δ of the records."""
    units, trials = 50, 400
    n = samples_needed(units)
    rng = np.random.default_rng(11)
    wrong = 0
    for _ in range(trials):
        fires = rng.random((n, units)) < 0.01
        wrong += bool(verdicts_of(site_from(np.where(fires, 1.0, -1.0), 0.0)).dead)
    assert wrong / trials <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / trials)
    assert wrong > 0  # the bound is not slack: fewer samples would not do


def test_every_site_has_verdicts_and_their_names_are_the_fields() -> None:
    record: Record = record_from(site_from(normal(N, 2), name="a"), site_from(normal(N, 3), name="b"))
    assert list(diagnose(record).verdicts) == ["a", "b"]
    assert VERDICTS[:4] == ("silent", "dead", "locked_negative", "locked_positive")

"""The oracle itself: each figure of `tests.records` against a loop over single elements."""

from __future__ import annotations

import numpy as np
import pytest
from tests.records import normal, record_from, site_from

from leaky.record import REGIONS

SLOPE, CAP, FLOOR = np.array([0.0, 0.2, -0.3]), 1.0, -1.5


def region_of(z: float) -> int:
    if z < FLOOR:
        return REGIONS.index("beyond_low")
    if z > CAP:
        return REGIONS.index("beyond_high")
    return REGIONS.index("linear" if z > 0 else "below")


@pytest.fixture
def arrays() -> tuple[np.ndarray, np.ndarray]:
    z, g = normal(20, 3, 4, seed=1), normal(20, 3, 4, seed=2)
    z[3, 1, 2], z[5, 0, 0], z[7, 2, 1] = np.nan, np.inf, 0.0
    return z, g


def test_site_from_counts_and_sums_as_a_loop_does(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    z, g = arrays
    site = site_from(z, SLOPE, cap=CAP, floor=FLOOR, gradient=g, batch_size=6)
    counts, sums, squares, absolute = (np.zeros((4, 3)) for _ in range(4))
    fired, last, nonfinite = np.zeros(3, int), np.full(3, -1), np.zeros(3, int)
    for n in range(20):
        for unit in range(3):
            finite = [p for p in range(4) if np.isfinite(z[n, unit, p])]
            nonfinite[unit] += 4 - len(finite)
            for p in finite:
                where = (region_of(z[n, unit, p]), unit)
                counts[where] += 1
                sums[where] += z[n, unit, p]
                squares[where] += z[n, unit, p] ** 2
                absolute[where] += abs(g[n, unit, p])
            if any(z[n, unit, p] > 0 for p in finite):
                fired[unit] += 1
                last[unit] = n // 6
    s = site.statistics
    assert s.gradient is not None
    for ours, theirs in [
        (s.counts, counts),
        (s.sums, sums),
        (s.squares, squares),
        (s.gradient.absolute_sums, absolute),
        (s.fired, fired),
        (s.last_fired, last),
        (s.nonfinite, nonfinite),
    ]:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    assert s.minimum[1] == np.nanmin(z[:, 1])
    assert s.maximum[2] == z[:, 2].max()


def test_moments_of_a_site_are_those_of_its_outputs() -> None:
    z = normal(50, 3, 2, seed=3)
    site = site_from(z, SLOPE, cap=CAP, floor=FLOOR, gain=1.5)
    slope = SLOPE[:, None]
    h = 1.5 * np.where(z > 0, np.minimum(z, CAP), slope * np.maximum(z, FLOOR))
    moments = site.output_moments()
    np.testing.assert_allclose(moments.mean, h.mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(moments.second_moment, (h**2).mean(axis=(0, 2)), rtol=1e-12)
    np.testing.assert_allclose(moments.absolute_mean, np.abs(h).mean(axis=(0, 2)), rtol=1e-12)


def test_no_sample_gives_an_empty_site() -> None:
    site = site_from(np.zeros((0, 3)), 0.0)
    assert (site.samples, site.units, site.activation) == (0, 3, "ReLU")
    assert np.isposinf(site.statistics.minimum).all()
    assert (site.statistics.last_fired == -1).all()


def test_record_from_takes_the_most_samples_of_a_site() -> None:
    record = record_from(site_from(normal(5, 2), name="a"), site_from(normal(9, 2), name="b"), on_noise=True)
    assert (record.samples, record.units, record.on_noise) == (9, 4, True)

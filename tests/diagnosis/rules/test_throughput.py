"""The findings on a site as a whole: imbalance, sparsity, what slope 0 discards."""

from __future__ import annotations

import numpy as np
import pytest
from tests.diagnosis.helpers import ENOUGH, findings, findings_in, only
from tests.records import normal, planted, record_from, regression, site_from, tensor

from leaky.diagnosis.rules.throughput import imbalance
from leaky.theory import correlation_map, moments


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 0.5, -0.3])
def test_the_imbalance_of_centred_gaussians_is_the_closed_form(slope: float) -> None:
    found = imbalance(site_from(normal(20_000, 16), slope))
    closed_form = moments(slope).mean ** 2 / moments(slope).second_moment
    assert found is not None
    assert found.centred == pytest.approx(closed_form, rel=1e-12)
    assert found.observed == pytest.approx(closed_form, abs=0.01)
    assert found.under_another == pytest.approx(moments(0.2).mean ** 2 / moments(0.2).second_moment, abs=0.01)


@pytest.mark.parametrize("share", [0.3, 0.8, 0.95])
def test_the_imbalance_behind_unbalanced_input_is_the_correlation_map(share: float) -> None:
    """Units with means m ~ N(0, c) and variance 1 − c: the share of the means goes from c to C(c)."""
    means = np.sqrt(share) * normal(1, 4000, seed=3)
    found = imbalance(site_from(means + np.sqrt(1 - share) * normal(300, 4000, seed=4), 0.1))
    assert found is not None
    assert found.predicted == pytest.approx(correlation_map(share, 0.1), abs=0.01)
    assert found.observed == pytest.approx(correlation_map(share, 0.1), abs=0.01)


@pytest.mark.parametrize(("spread", "level"), [(0.3, None), (0.2, "info"), (0.05, "warning")])
def test_outputs_that_hardly_vary_are_found(spread: float, level: str | None) -> None:
    means = np.abs(normal(1, 50, seed=3))
    found = findings("output-imbalance", site_from(means + spread * normal(ENOUGH, 50), 0.0))
    assert [f.level for f in found] == ([level] if level else [])


@pytest.mark.parametrize(
    ("output_mean", "fit", "bypassed", "level"),
    [
        (0.0, None, False, "info"),  # the outputs vary all the same
        (50.0, None, False, "warning"),
        (50.0, None, True, "info"),  # other paths lead around
        (50.0, 0.01, False, "info"),  # it has learned
        (0.0, 100.0, False, "warning"),  # they vary, and fit nothing
    ],
)
def test_a_mean_that_something_takes_off_again_is_a_note(
    output_mean: float, fit: float | None, bypassed: bool, level: str
) -> None:
    site = site_from(5.0 + 0.05 * normal(ENOUGH, 20), 0.0, bypassed=bypassed)
    y = normal(ENOUGH, 3, seed=7) + output_mean
    terms = () if fit is None else (regression(y, y + fit * normal(ENOUGH, 3, seed=8)),)
    record = record_from(site, outputs=(tensor(y, "output"),), terms=terms)
    assert only(findings_in("output-imbalance", record)).level == level


def test_the_advice_tells_where_the_imbalance_arises() -> None:
    comes_in = site_from(5.0 + 0.1 * normal(ENOUGH, 20), 0.0)
    assert "It comes in like this" in only(findings("output-imbalance", comes_in)).advice
    # two values, the negative one cut: all that is left is the positive one, nearly always there
    z = np.where(normal(ENOUGH, 20) > -1.9, 1.0, -12.0) + 0.05 * normal(ENOUGH, 20, seed=2)
    arises = only(findings("output-imbalance", site_from(z, 0.0)))
    h = np.where(z > 0, z, 0.2 * z)
    assert arises.evidence["under_slope_0_2"] == pytest.approx((h.mean(0) ** 2).sum() / (h**2).mean(0).sum())
    assert "It arises here: a slope of 0.2 would lower it" in arises.advice


def test_imbalance_of_a_smooth_site_is_measured_without_a_closed_form() -> None:
    found = imbalance(site_from(normal(ENOUGH, 10) + 5, smooth=np.tanh, threshold=-4.0))
    assert found is not None
    assert (found.centred, found.predicted, found.under_another) == (None, None, None)
    assert found.observed > 0.9


def test_nothing_out_is_no_imbalance() -> None:
    assert imbalance(site_from(-np.abs(normal(ENOUGH, 4)), 0.0)) is None


@pytest.mark.parametrize(("mean", "level"), [(0.0, None), (-1.0, None), (-2.0, "info"), (-2.6, "warning")])
def test_a_site_that_hardly_fires_is_over_sparse(mean: float, level: str | None) -> None:
    z = normal(4000, 50) + mean
    found = findings("over-sparse", site_from(z, 0.0))
    assert [f.level for f in found] == ([level] if level else [])
    if found:
        assert found[0].evidence["active_share"] == pytest.approx((z > 0).mean())


def test_dead_units_are_not_counted_as_sparsity() -> None:
    z = planted(normal(ENOUGH, 50), range(48), -1.0 - np.abs(normal(ENOUGH, 48)))
    assert findings("over-sparse", site_from(z, 0.0)) == []
    assert findings("over-sparse", site_from(-np.abs(z) - 1, 0.0)) == []


@pytest.mark.parametrize("slope", [0.01, 0.2])
def test_under_a_leak_nothing_is_sparse_or_lost(slope: float) -> None:
    site = site_from(normal(ENOUGH, 50) - 2.6, slope)
    assert findings("over-sparse", site) == findings("negative-information-lost", site) == []


@pytest.mark.parametrize(("mean", "level"), [(0.0, None), (-0.5, None), (-1.0, "info"), (-2.3, "warning")])
def test_what_slope_0_discards_is_its_share_of_the_energy(mean: float, level: str | None) -> None:
    z = normal(4000, 50) + mean
    found = findings("negative-information-lost", site_from(z, 0.0))
    assert [f.level for f in found] == ([level] if level else [])
    if found:
        assert found[0].evidence["lost_share"] == pytest.approx((np.minimum(z, 0) ** 2).sum() / (z**2).sum())
        slope = found[0].evidence["suggested_slope"]
        assert isinstance(slope, float)
        h = np.where(z > 0, z, slope * z)
        assert found[0].evidence["second_moment_under_suggested"] == pytest.approx((h**2).mean())


@pytest.mark.parametrize("rule", ["output-imbalance", "over-sparse", "negative-information-lost"])
def test_outputs_smooth_sites_and_few_samples_are_not_judged(rule: str) -> None:
    z = {"output-imbalance": 9 + normal(ENOUGH, 20)}.get(rule, normal(ENOUGH, 20) - 2.6)
    assert findings(rule, site_from(z, 0.0)) != []
    assert findings(rule, site_from(z, 0.0, is_output=True)) == []
    assert findings(rule, site_from(z[:20], 0.0)) == []
    if rule != "output-imbalance":
        assert findings(rule, site_from(z, smooth=lambda x: np.maximum(x, 0), threshold=0.0)) == []

"""What sites, tensors and comparisons say of themselves, against loops over single elements."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.records import normal, regression, site_from, tensor

from leaky.errors import InputError
from leaky.record import LossTerm


@pytest.mark.parametrize("cap", [None, 1.25])
@pytest.mark.parametrize("floor", [None, -1.5])
@pytest.mark.parametrize("gain", [1.0, 3.0])
@pytest.mark.parametrize(("threshold", "value"), [(0.0, 0.0), (0.5, 0.75)])
@pytest.mark.parametrize("asked", [None, 0.4])
def test_output_moments_are_those_of_every_output(
    cap: float | None, floor: float | None, gain: float, threshold: float, value: float, asked: float | None
) -> None:
    slopes = np.zeros(3) if value else np.array([0.0, 0.2, 0.1])
    z = -np.abs(normal(40, 3, seed=3)) if value else normal(40, 3, seed=3)
    z[::2] = np.abs(z[::2])
    site = site_from(z, slopes, cap=cap, floor=floor, gain=gain, threshold=threshold, value=value)
    used = slopes if asked is None else np.full(3, asked)
    bounded = np.clip(z, -np.inf if floor is None else floor, np.inf if cap is None else cap)
    outputs = gain * np.where(bounded > threshold, bounded, used * bounded + np.where(z < (floor or -9), 0, value))
    moments = site.output_moments(asked)
    if asked is None or not value:
        assert moments.mean == pytest.approx(outputs.mean(0))
        assert moments.second_moment == pytest.approx((outputs**2).mean(0))
    if not value:
        assert moments.absolute_mean == pytest.approx(np.abs(outputs).mean(0))


def test_a_value_and_a_slope_together_add_below_the_threshold() -> None:
    z = np.array([[-1.0], [-3.0], [2.0]])
    site = site_from(z, 0.5, value=4.0)
    outputs = np.array([3.5, 2.5, 2.0])
    assert site.output_moments().mean == pytest.approx([outputs.mean()])
    assert site.output_moments().second_moment == pytest.approx([(outputs**2).mean()])
    assert site.output_moments().absolute_mean == pytest.approx([outputs.mean()])


def test_a_smooth_site_has_its_outputs_sums() -> None:
    z = normal(9, 2)
    site = site_from(z, smooth=np.tanh)
    moments = site.output_moments()
    assert moments.mean == pytest.approx(np.tanh(z).mean(0))
    assert moments.absolute_mean == pytest.approx(np.abs(np.tanh(z)).mean(0))
    assert moments.second_moment == pytest.approx((np.tanh(z) ** 2).mean(0))
    for name in ("output_sums", "output_absolute_sums", "output_squares"):
        lacking = replace(site, statistics=replace(site.statistics, **{name: None}))
        with pytest.raises(InputError, match="they are missing"):
            lacking.output_moments()
        assert lacking.output_moments(0.5).mean.shape == (2,)


def test_moments_and_rates_of_a_unit() -> None:
    z = np.array([[1.0, np.nan, 2.0], [-1.0, np.nan, np.nan], [3.0, np.nan, np.nan], [0.0, np.nan, np.nan]])
    site = site_from(z, 0.0)
    assert site.mean == pytest.approx([0.75, np.nan, 2.0], nan_ok=True)
    assert site.variance == pytest.approx([np.var([1, -1, 3, 0]), np.nan, 0.0], nan_ok=True)
    assert site.firing_rate == pytest.approx([0.5, np.nan, 0.25], nan_ok=True)
    routed = replace(site, statistics=replace(site.statistics, seen=np.array([2, 0, 1])))
    assert routed.firing_rate == pytest.approx([1.0, np.nan, 1.0], nan_ok=True)
    assert (site.smooth, site.units, site.samples) == (False, 3, 4)


def test_figures_of_a_tensor() -> None:
    x = normal(9, 4) + 5
    x[2, 1] = np.nan
    seen = x[np.isfinite(x)]
    found = tensor(x)
    assert found.mean == pytest.approx(seen.mean())
    assert found.deviation == pytest.approx(seen.std())
    assert found.root_mean_square == pytest.approx(np.sqrt((seen**2).mean()))
    assert found.largest == pytest.approx(np.abs(seen).max())
    assert tensor(-x).largest == pytest.approx(np.abs(seen).max())
    assert found.features.mean == pytest.approx(np.nanmean(x, 0))
    assert found.features.variance == pytest.approx(np.nanvar(x, 0))
    assert tensor(np.full((3, 2), 0.1)).deviation == pytest.approx(0, abs=1e-8)
    assert [tensor(x, dtype=d).is_floating for d in ("float32", "bfloat16", "int64", "bool")] == [1, 1, 0, 0]


def test_of_a_tensor_without_a_finite_entry_nothing_is_known() -> None:
    nothing = tensor(np.full((3, 2), np.nan))
    assert np.isnan([nothing.mean, nothing.deviation, nothing.root_mean_square]).all()
    assert nothing.largest == 0
    assert nothing.features.constant.tolist() == [False, False]
    assert (nothing.features.mean.tolist(), nothing.features.variance.tolist()) == ([0, 0], [0, 0])


def test_a_feature_is_constant_if_it_had_one_value() -> None:
    assert tensor([[1.0, 2.0], [1.0, 3.0]]).features.constant.tolist() == [True, False]
    assert tensor([[1.0, 2.0]]).features.mean.tolist() == [1, 2]
    assert tensor([[1.0, 2.0]]).features.variance.tolist() == [0, 0]


def test_the_explained_share_of_the_variance() -> None:
    target = normal(30, 2, seed=4) * [1, 5] + [0, 7]
    output = target + 0.5 * normal(30, 2, seed=5)
    residuals = ((output - target) ** 2).sum()
    by_feature = 1 - residuals / ((target - target.mean(0)) ** 2).sum()
    over_all = 1 - residuals / ((target - target.mean()) ** 2).sum()
    assert regression(target, output).explained == pytest.approx(by_feature)
    bare = replace(regression(target, output), target=tensor(target, features=None))
    assert bare.explained == pytest.approx(over_all)
    assert regression(target, output, residual_squares=None).explained is None
    assert regression(np.full((4, 2), np.nan), np.ones((4, 2)), residual_squares=1.0).explained is None
    assert regression(np.full((4, 2), 3.0), np.ones((4, 2))).explained is None
    assert regression(1e4 + target, 1e4 + output).explained == pytest.approx(by_feature, rel=1e-4)


def classified(**fields: Any) -> LossTerm:
    return regression([[0.0]], [[0.0]], "cross_entropy", **fields)


def test_the_share_of_hits_beside_that_of_the_commonest_class() -> None:
    assert classified(hits=6, compared=8, classes=(5, 0, 3)).right == (0.75, 0.625)
    assert classified(hits=6, compared=8, classes=(8, 0, 0)).right is None
    assert classified(hits=0, compared=8, classes=(4, 4)).right == (0, 0.5)
    assert classified(hits=None, compared=8, classes=(5, 3)).right is None
    assert classified(hits=0, compared=0, classes=(5, 3)).right is None

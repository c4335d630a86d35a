"""The statistics kernels against float64 sums: every layout, length, region, and extraordinary data."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.activation.kernels.reference import mixed, oracle, rectified, required_core, same_bits, streaming

from leaky.activation.kernels.statistics import FLOAT32, FLOAT64, DenseLayout, Regions, UnitSums, dense_layout
from leaky.record import BELOW, LINEAR

__all__ = ["streaming"]  # a fixture

KINDS = {torch.float32: FLOAT32, torch.float64: FLOAT64}
RELATIVE = 1e-6
LAYOUTS = st.builds(
    DenseLayout,
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 4),
    st.integers(1, 70),
    st.sampled_from([1, 1, 2, 7, 9, 33, 49, 100, 700]),
)


def gather(z, layout, regions=None, *, threads=1, fired=None, batch=3, **output):
    core = required_core()
    sums = UnitSums(core, layout.units)
    sums.add(KINDS[z.dtype], z.data_ptr(), layout, regions or Regions(), batch, threads, fired, **output)
    return sums


def check(z, layout, regions, sums):
    expected, seen = oracle(z, layout, regions), sums.statistics(layout.samples)
    for name in ("counts", "nonfinite", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(seen, name), expected[name], err_msg=name)
    for name in ("sums", "squares"):
        np.testing.assert_allclose(getattr(seen, name), expected[name], rtol=RELATIVE, err_msg=name)
    return expected, seen


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    layout=LAYOUTS,
    dtype=st.sampled_from([torch.float32, torch.float64]),
    special=st.booleans(),
    threshold=st.sampled_from([0.0, 0.0, 0.5, -0.25]),
    bounded=st.booleans(),
    scale=st.sampled_from([1.0, 1e-25, 1e25, 1e-12]),
    offset=st.sampled_from([0.0, 0.0, 3.0, -200.0]),
    seed=st.integers(0, 2**31),
)
def test_statistics_are_the_oracle_s(layout, dtype, special, threshold, bounded, scale, offset, seed):
    required_core()
    z = (mixed(math.prod(layout), torch.float64, seed, special=False) + offset) * scale
    z = z.to(dtype)
    if special:
        odd = mixed(len(z), dtype, seed + 1)
        z = torch.where(torch.rand(len(z), generator=torch.Generator().manual_seed(seed)) < 0.02, odd, z)
    cap = np.linspace(0.6, 2.0, layout.units) * scale if bounded else None
    floor = np.linspace(-3.0, -0.5, layout.units) * scale if bounded else None
    regions = Regions(threshold * scale, floor, cap)
    if dtype == torch.float32:  # an edge that float32 does not have would be another question
        regions = Regions(float(np.float32(regions.threshold)), floor, cap)
    with np.errstate(over="ignore"):
        expected, seen = check(z, layout, regions, gather(z, layout, regions))
    np.testing.assert_array_equal(seen.fired, expected["fired"])
    np.testing.assert_array_equal(seen.last_fired, np.where(expected["fired"] > 0, 3, -1))
    fired = np.zeros((layout.samples, layout.units), np.uint8)
    sums = gather(z, layout, regions, fired=fired)
    np.testing.assert_array_equal(fired.astype(bool), expected["flags"])
    sums.count_fired(fired, 5)
    np.testing.assert_array_equal(sums.statistics(1).fired, expected["fired"])
    assert not fired.any()


SHAPES = [(96, 33, 7, 7), (70, 64), (300, 257), (6, 5, 56, 56), (2, 3, 1000), (1, 40, 300), (4, 100, 48)]


@pytest.mark.parametrize("mean", [1e4, -1e4, 1e2, 9.0, 3.0])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_variance_holds_far_from_zero(shape, mean):
    z = mixed(math.prod(shape), torch.float64, 11, special=False).reshape(shape) + mean
    z = z.float()
    layout = dense_layout(shape, z.stride(), range(len(shape)), shape[0], shape[1])
    s = gather(z, layout).statistics(shape[0])
    n = s.counts.sum(axis=0)
    variance = s.squares.sum(axis=0) / n - (s.sums.sum(axis=0) / n) ** 2
    exact = z.double().transpose(0, 1).reshape(shape[1], -1).var(dim=1, correction=0).numpy()
    np.testing.assert_allclose(variance, exact, rtol=1e-3)


@pytest.mark.parametrize("value", [0.1, -7.7, 1e-20, 1e20, 0.0, -0.0])
@pytest.mark.parametrize("shape", [(500, 40), (64, 16, 49)], ids=str)
def test_constant_units_have_no_variance(shape, value):
    z = torch.full(shape, value)
    layout = dense_layout(shape, z.stride(), range(len(shape)), shape[0], shape[1])
    _, s = check(z, layout, Regions(), gather(z, layout))
    exact = float(np.float32(value))
    np.testing.assert_allclose(s.sums.sum(axis=0), exact * z.numel() / shape[1], rtol=1e-12)


def test_one_small_element_among_large_ones_is_not_lost():
    z = torch.full((512, 32), -50.0) + torch.randn(512, 32, generator=torch.Generator().manual_seed(0)) * 0.01
    z[300] = 1e-8
    layout = DenseLayout(1, 512, 1, 32, 1)
    _, s = check(z, layout, Regions(), gather(z, layout))
    np.testing.assert_allclose(s.sums[LINEAR], float(np.float32(1e-8)), rtol=RELATIVE)


@pytest.mark.parametrize("shape", [(128, 64, 14, 14), (2048, 700), (3, 64, 64, 100), (1, 8, 200_000)], ids=str)
def test_any_number_of_threads_gives_the_same_bits(shape):
    z = mixed(math.prod(shape), torch.float32, 2, special=False).reshape(shape)
    layout = dense_layout(shape, z.stride(), range(len(shape)), shape[0], shape[1])
    alone = gather(z, layout, threads=1).array
    for threads in (2, 3, 8):
        np.testing.assert_array_equal(gather(z, layout, threads=threads).array, alone)
    check(z, layout, Regions(), gather(z, layout, threads=2))


@pytest.mark.parametrize("slope", [0.1, 0.0, -0.3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "shape",
    [(5, 33), (300, 257), (64, 30, 7, 7), (9, 5, 100), (40, 64, 56, 56), (5000, 1024), (40, 8, 129, 97)],
    ids=str,
)
def test_the_output_of_the_same_pass_is_torch_s(shape, dtype, slope):
    z = mixed(math.prod(shape), dtype, 9).reshape(shape)
    y = torch.empty_like(z)
    layout = dense_layout(shape, z.stride(), range(len(shape)), shape[0], shape[1])
    gather(z, layout, threads=2, target=y.data_ptr(), slope=slope)
    assert same_bits(y, rectified(z, slope))


@pytest.mark.parametrize("mean", [0.0, 300.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(5, 33), (700, 257), (64, 30, 7, 7), (9, 5, 700), (40, 64, 56, 56)], ids=str)
def test_the_sums_are_those_of_the_input_where_the_output_goes_over_it(shape, dtype, mean):
    z = mixed(math.prod(shape), dtype, 4).reshape(shape) + mean
    layout = dense_layout(shape, z.stride(), range(len(shape)), shape[0], shape[1])
    y = z.clone()
    sums = gather(y, layout, threads=2, target=y.data_ptr(), slope=0.1)
    assert same_bits(y, rectified(z, 0.1))
    expected, seen = check(z.reshape(-1), layout, Regions(), sums)
    np.testing.assert_array_equal(seen.fired, expected["fired"])


@pytest.mark.parametrize("shape", [(3000, 700), (64, 65, 300), (40, 64, 49), (8, 16, 129, 97)], ids=str)
@pytest.mark.parametrize("offset", [0, 3])
def test_outputs_past_the_cache_and_into_fresh_pages_are_the_same(shape, offset, streaming):
    z = mixed(math.prod(shape), torch.float32, 9).reshape(shape)
    layout = dense_layout(shape, z.stride(), range(len(shape)), shape[0], shape[1])
    seen = []
    for fresh in (False, True):
        y = torch.empty(z.numel() + offset)[offset:].view(shape)
        seen.append(gather(z, layout, threads=2, target=y.data_ptr(), fresh=fresh, slope=0.1).array)
        assert same_bits(y, rectified(z, 0.1))
    np.testing.assert_array_equal(*seen)


@pytest.mark.parametrize("shape", [(300, 40), (64, 40, 7, 7)], ids=str)
def test_the_output_with_slopes_gain_and_clamp(shape):
    from leaky import leaky_relu

    z = mixed(math.prod(shape), torch.float32, 9).reshape(shape)
    y, slopes = torch.empty_like(z), torch.linspace(-1, 1, 41)[:40].contiguous()
    slopes[5] = 0
    layout = dense_layout(shape, z.stride(), range(len(shape)), shape[0], shape[1])
    gather(z, layout, target=y.data_ptr(), slopes=slopes.data_ptr(), gain=1.4, bound=0.9)
    assert same_bits(y, leaky_relu(z, slopes, gain=1.4, clamp=0.9))


def test_calls_add_up():
    core = required_core()
    parts = [mixed(40 * 30, torch.float32, seed).reshape(40, 30) for seed in range(3)]
    layout = DenseLayout(1, 40, 1, 30, 1)
    sums = UnitSums(core, 30)
    for index, z in enumerate(parts):
        sums.add(FLOAT32, z.data_ptr(), layout, Regions(), index, 1)
    whole = torch.cat(parts)
    expected, seen = check(whole, DenseLayout(1, 120, 1, 30, 1), Regions(), sums)
    np.testing.assert_array_equal(seen.fired, expected["fired"])
    last = [
        max((i for i in range(3) if (parts[i][:, u].isfinite() & (parts[i][:, u] > 0)).any()), default=-1)
        for u in range(30)
    ]
    np.testing.assert_array_equal(seen.last_fired, last)


@pytest.mark.parametrize(
    ("shape", "permute", "order", "expected"),
    [
        ((8, 4, 3, 5), (0, 1, 2, 3), (0, 1, 2, 3), (1, 8, 1, 4, 15)),
        ((8, 3, 5, 4), (0, 3, 1, 2), (0, 1, 2, 3), (1, 8, 15, 4, 1)),
        ((7, 8, 4), (0, 1, 2), (1, 2, 0), (7, 8, 1, 4, 1)),
        ((8, 4), (0, 1), (0, 1), (1, 8, 1, 4, 1)),
        ((4, 8), (1, 0), (0, 1), None),  # samples run fastest
    ],
)
def test_layouts_of_memory(shape, permute, order, expected):
    view = torch.empty(shape).permute(permute)
    samples, units = view.shape[order[0]], view.shape[order[1]]
    assert dense_layout(view.shape, view.stride(), order, samples, units) == expected


def test_gaps_and_split_axes_out_of_order_are_no_layout():
    assert dense_layout((4, 3), (6, 1), (0, 1), 4, 3) is None
    assert dense_layout((2, 2, 3), (6, 3, 1), (0, 1, 2), 4, 3) == (1, 4, 1, 3, 1)
    assert dense_layout((2, 2, 3), (3, 6, 1), (0, 1, 2), 4, 3) is None
    assert dense_layout((0, 3), (3, 1), (0, 1), 0, 3) is None


def test_a_wrong_sum_would_be_seen():
    z = mixed(4000, torch.float32, 1, special=False)
    layout = DenseLayout(1, 100, 1, 40, 1)
    sums = gather(z, layout)
    sums.array[4 + BELOW, 7] *= 1 + 1e-5
    with pytest.raises(AssertionError, match="sums"):
        check(z, layout, Regions(), sums)

"""Backward pass and sums of the gradient in one pass, against the backward kernel and float64 sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.activation.kernels.reference import mixed, required_core, same_bits

from leaky.activation.kernels.statistics import FLOAT32, FLOAT64, DenseLayout, GradientSums

KINDS = {torch.float32: FLOAT32, torch.float64: FLOAT64}
LAYOUTS = [
    DenseLayout(1, 5, 1, 33, 1),
    DenseLayout(1, 300, 1, 257, 1),
    DenseLayout(1, 64, 1, 30, 49),
    DenseLayout(3, 9, 2, 5, 100),
    DenseLayout(1, 40, 1, 32, 1024),
    DenseLayout(1, 2000, 1, 1024, 1),
]


def planes_of(x, clamp, slope):
    """The forward pass's own bit planes, of one row."""
    y, masks = torch.empty_like(x), torch.zeros(2, (x.numel() + 7) // 8, dtype=torch.uint8)
    linear, beyond = masks[0].data_ptr(), masks[1].data_ptr() if clamp else 0
    bound = clamp or math.inf
    args = (1, x.numel(), 0, 1, slope, 0, 1.0, bound, linear, beyond, False, 1)
    required_core().forward(KINDS[x.dtype], x.data_ptr(), y.data_ptr(), *args)
    return masks, args


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("clamp", [None, 0.75])
@pytest.mark.parametrize("special", [False, True], ids=["finite", "special"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "×".join(map(str, layout)))
def test_sums_and_gradients(layout, special, clamp, dtype):
    core, slope = required_core(), 0.2
    x = mixed(math.prod(layout), dtype, 1, special=False)
    g = mixed(math.prod(layout), dtype, 2, special=special)
    g[g.abs() > 1e30] = 3.0  # whose squares would hide all others
    masks, args = planes_of(x, clamp, slope)
    expected = torch.empty_like(g)
    core.backward(KINDS[dtype], g.data_ptr(), expected.data_ptr(), *args)
    arrays = []
    for threads, writes in ((1, True), (2, True), (2, False)):
        sums, result = GradientSums(core, layout.units), torch.empty_like(g)
        target = result.data_ptr() if writes else 0
        planes = (x.numel(), masks[0].data_ptr(), masks[1].data_ptr() if clamp else 0)
        bound = clamp or math.inf
        sums.add(KINDS[dtype], g.data_ptr(), layout, *planes, threads, target=target, slope=slope, bound=bound)
        assert not writes or same_bits(result, expected)
        arrays.append(np.concatenate([sums.absolute, sums.squares]))
    np.testing.assert_array_equal(arrays[0], arrays[1])
    np.testing.assert_array_equal(arrays[0], arrays[2])
    np.testing.assert_allclose(arrays[0], brute_force(x, g, layout, clamp, slope), rtol=1e-9)


def brute_force(x, g, layout, clamp, slope):
    z = x.double().numpy().reshape(layout)
    y = np.where(z > 0, z, float(np.float32(slope) if x.dtype == torch.float32 else slope) * z)
    h = g.double().numpy().reshape(layout)
    h = np.where(np.isfinite(h), h, 0.0)
    bound = clamp or math.inf
    masks = [y < -bound, (z <= 0) & (y >= -bound), (z > 0) & (y <= bound), y > bound]
    rows = [np.where(mask, part, 0.0).sum(axis=(0, 1, 2, 4)) for part in (np.abs(h), h * h) for mask in masks]
    return np.stack(rows)

"""Sums of the gradient by the region of the value beside it, against float64 sums over masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.activation.kernels.reference import mixed, required_core

from leaky.activation.kernels.statistics import FLOAT32, FLOAT64, GRADIENT_ROWS, DenseLayout

KINDS = {torch.float32: FLOAT32, torch.float64: FLOAT64}
LAYOUTS = [
    DenseLayout(1, 5, 1, 33, 1),
    DenseLayout(1, 300, 1, 257, 1),
    DenseLayout(1, 64, 1, 30, 49),
    DenseLayout(3, 9, 2, 5, 100),
    DenseLayout(1, 40, 1, 32, 1024),
    DenseLayout(1, 2000, 1, 1024, 1),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("bounded", [False, True], ids=["open", "bounded"])
@pytest.mark.parametrize("special", [False, True], ids=["finite", "special"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "×".join(map(str, layout)))
def test_sums(layout, special, bounded, dtype):
    core, threshold = required_core(), 0.1
    x = mixed(math.prod(layout), dtype, 1, special=False)
    g = mixed(math.prod(layout), dtype, 2, special=special)
    g[g.abs() > 1e30] = 3.0  # whose squares would hide all others
    floor, cap = np.linspace(-1.0, -0.2, layout.units), np.linspace(0.3, 1.0, layout.units)
    bounds = (floor.ctypes.data, cap.ctypes.data) if bounded else (0, 0)
    arrays = []
    for threads in (1, 2):
        sums = np.zeros((GRADIENT_ROWS, layout.units))
        address = sums.ctypes.data
        core.gradient_sums(KINDS[dtype], g.data_ptr(), x.data_ptr(), *layout, threshold, *bounds, address, threads)
        arrays.append(sums)
    np.testing.assert_array_equal(arrays[0], arrays[1])
    assert (arrays[0][8] > 0).any() == special
    expected = brute_force(x, g, layout, threshold, (floor, cap), bounded)
    np.testing.assert_allclose(arrays[0], expected, rtol=1e-6 if dtype is torch.float32 else 1e-9)


def brute_force(x, g, layout, threshold, bounds, bounded):
    z, h = x.double().numpy().reshape(layout), g.double().numpy().reshape(layout)
    finite = np.isfinite(h)
    h = np.where(finite, h, 0.0)
    low, high = (
        b[:, None] if bounded else np.full((layout.units, 1), s * np.inf) for b, s in zip(bounds, (-1, 1), strict=True)
    )
    masks = [z < low, (z <= threshold) & (z >= low), (z > threshold) & (z <= high), z > high]
    rows = [np.where(mask, part, 0.0).sum(axis=(0, 1, 2, 4)) for part in (np.abs(h), h * h) for mask in masks]
    return np.stack([*rows, (~finite).sum(axis=(0, 1, 2, 4))])


@pytest.mark.parametrize("scale", [1e-25, 1e25], ids=["underflow", "overflow"])
@pytest.mark.parametrize(
    "layout", [DenseLayout(1, 70, 1, 33, 1), DenseLayout(1, 8, 1, 5, 100)], ids=["columns", "rows"]
)
def test_squares_that_float32_cannot_hold(layout, scale):
    """Of units whose squares vanish or overflow in float32, beside others that do not."""
    core, layout = required_core(), DenseLayout(*layout)
    x = mixed(math.prod(layout), torch.float32, 1, special=False)
    g = torch.linspace(-2, 2, math.prod(layout)).reshape(tuple(layout))
    g[:, :, :, ::2] *= scale
    sums = np.zeros((GRADIENT_ROWS, layout.units))
    core.gradient_sums(FLOAT32, g.data_ptr(), x.data_ptr(), *layout, 0.0, 0, 0, sums.ctypes.data, 1)
    np.testing.assert_allclose(sums, brute_force(x, g, layout, 0.0, (None, None), False), rtol=1e-6)

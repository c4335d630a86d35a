"""The oracle, held against the definition by hand, by differences and by integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.activation.comparison import slope_derivative

from leaky import theory
from leaky.activation import formula

NUMBERS = st.floats(-1e6, 1e6)
POSITIVE = st.floats(0.01, 100.0)


def test_the_definition_at_every_special_value() -> None:
    x = [2.0, -2.0, 0.0, -0.0, math.inf, -math.inf, math.nan]
    assert formula.value(x, 0.1).tolist()[:-1] == [2.0, -0.2, 0.0, 0.0, math.inf, -math.inf]
    assert np.signbit(formula.value(x, 0.1)).tolist()[:-1] == [False, True, False, True, False, True]
    assert np.isnan(formula.value(x, 0.1)[-1])
    assert formula.derivative(x, 0.1).tolist() == [1.0, 0.1, 0.1, 0.1, 1.0, 0.1, 0.1]


def test_slope_zero_is_relu() -> None:
    x = [2.0, -2.0, 0.0, -0.0, math.inf, -math.inf, math.nan]
    assert formula.value(x, 0.0).tolist()[:-1] == [2.0, 0.0, 0.0, 0.0, math.inf, 0.0]
    assert np.signbit(formula.value(x, 0.0)).tolist()[:-1] == [False, False, False, True, False, False]
    assert formula.derivative(x, 0.0).tolist() == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]


def test_gain_and_clamp() -> None:
    x = [1.0, 3.0, 3.5, -12.0, -12.5, math.inf, -math.inf, math.nan]
    assert formula.value(x, 0.25, gain=2, clamp=6).tolist()[:-1] == [2.0, 6.0, 6.0, -6.0, -6.0, 6.0, -6.0]
    assert formula.derivative(x, 0.25, gain=2, clamp=6).tolist() == [2.0, 2.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.5]


def test_slopes_run_along_the_channel_dimension() -> None:
    x = -np.ones((2, 3, 4))
    for channel_dim, slopes in ((0, [1.0, 2.0]), (1, [1.0, 2.0, 3.0]), (-1, [1.0, 2.0, 3.0, 4.0])):
        y = np.moveaxis(formula.value(x, slopes, channel_dim=channel_dim), channel_dim, -1)
        assert np.array_equal(y, np.broadcast_to(-np.array(slopes), y.shape))


@given(NUMBERS, st.floats(-2, 3), POSITIVE, st.none() | POSITIVE)
def test_the_derivatives_are_the_slopes_of_the_value(x: float, alpha: float, gain: float, clamp: float | None) -> None:
    step = 1e-7 * max(1.0, abs(x))
    bounds = {"gain": gain, "clamp": clamp}
    corners = [0.0] if clamp is None else [0.0, clamp / gain, -clamp / (gain * alpha) if alpha else 0.0]
    corners += [] if clamp is None or not alpha else [clamp / (gain * alpha)]
    if any(abs(x - corner) <= 2 * step for corner in corners) or 0 < abs(alpha) < 1e-6:
        return
    rise = formula.value(x + step, alpha, **bounds) - formula.value(x - step, alpha, **bounds)
    assert formula.derivative(x, alpha, **bounds) == pytest.approx(rise / (2 * step), abs=1e-6 * gain, rel=1e-6)


def test_the_slope_derivative_is_the_change_with_the_slope() -> None:
    x = np.linspace(-10, 10, 41)
    for alpha in (-0.3, 0.0, 0.2):
        rise = formula.value(x, alpha + 1e-6, gain=1.5, clamp=4) - formula.value(x, alpha - 1e-6, gain=1.5, clamp=4)
        assert np.allclose(slope_derivative(x, alpha, gain=1.5, clamp=4), rise / 2e-6, atol=1e-6)


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.01, 0.3, 1.0, 1.5])
def test_gaussian_moments_of_the_formula_are_those_of_theory(alpha: float) -> None:
    z = np.linspace(-12, 12, 480_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    f = formula.value(z, alpha)
    moments = theory.moments(alpha)
    assert (f * density).sum() == pytest.approx(moments.mean, abs=1e-9)
    assert (f**2 * density).sum() == pytest.approx(moments.second_moment, abs=1e-9)

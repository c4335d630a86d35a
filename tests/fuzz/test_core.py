"""Random arrays for the core: what it computes is what plain NumPy computes, whatever the memory looks like.

Without torch, so that the sanitizers see little else: `make sanitize` runs it too.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers
from tests.fuzz.budget import fuzz

import leaky

ARRAYS = numbers.arrays(
    st.sampled_from([np.float16, np.float32, np.float64]),
    numbers.array_shapes(min_dims=1, max_dims=3, max_side=70),
    elements=st.floats(width=16),
)
SLOPES = st.floats(-2, 2, width=16)
STEPS = st.integers(-3, 3).filter(bool)


def expected(x: np.ndarray, slope: float) -> np.ndarray:
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        below = slope * wide if slope else np.where(np.isnan(wide), wide, 0.0)  # at slope 0 it is relu: −inf gives 0
        found: np.ndarray = np.where(wide > 0, wide, below).astype(x.dtype)
    return found


@fuzz
@given(ARRAYS, SLOPES, STEPS, st.booleans())
def test_values_and_strides(x: np.ndarray, slope: float, step: int, turned: bool) -> None:
    x = (x.T if turned else x)[..., ::step]
    y = leaky.leaky_relu(x, slope)
    np.testing.assert_array_equal(y, expected(x, slope))
    assert y.dtype == x.dtype
    out = np.array(x)
    leaky.leaky_relu(out, slope, out=out)
    np.testing.assert_array_equal(out, y)


@fuzz
@given(ARRAYS, SLOPES, STEPS)
def test_an_output_that_begins_at_another_place_of_the_input(x: np.ndarray, slope: float, step: int) -> None:
    memory = np.concatenate([x.reshape(-1), x.reshape(-1)])
    view, out = memory[: x.size], memory[abs(step) : x.size + abs(step)]
    wanted = expected(view.copy(), slope)
    with contextlib.suppress(leaky.LeakyError):  # it may be refused
        leaky.leaky_relu(view, slope, out=out)
        np.testing.assert_array_equal(out, wanted)


@fuzz
@given(ARRAYS, SLOPES)
def test_threads_that_share_what_they_read(x: np.ndarray, slope: float) -> None:
    def compute(_: Any) -> np.ndarray:
        return leaky.leaky_relu(x, slope)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(compute, range(4)))
    for each in found:
        np.testing.assert_array_equal(each, expected(x, slope))

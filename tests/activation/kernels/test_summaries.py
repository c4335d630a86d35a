"""Directions of samples and sums a feature through the core, against NumPy in doubles, by every instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.activation.kernels.reference import required_core

from leaky.activation.kernels.statistics import FLOAT32, FLOAT64

KINDS = {np.float32: FLOAT32, np.float64: FLOAT64}
SETS = ("baseline", "avx2", "avx512")


@pytest.fixture(params=SETS)
def core(request: pytest.FixtureRequest) -> Iterator[Any]:
    module = required_core()
    if request.param not in module.instruction_sets():
        pytest.skip("not on this machine")
    before = module.instruction_set()
    module.use(request.param)
    yield module
    module.use(before)


def values(*shape: int, dtype: Any, seed: int = 0) -> Any:
    return (np.random.default_rng(seed).normal(size=shape) * 3 + 1).astype(dtype)


SHAPES = ((1, 1, 1), (9, 5, 1), (256, 64, 1), (7, 3, 50), (4, 33, 9), (2, 1, 1023))


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_a_feature(core: Any, shape: tuple[int, int, int], dtype: Any) -> None:
    x, sums = values(*shape, dtype=dtype), np.full((4, shape[1]), np.nan)
    found = core.summary(KINDS[dtype], x.ctypes.data, *shape, sums.ctypes.data)
    z = x.astype(np.float64)
    wanted = [z.sum((0, 2)), (z * z).sum((0, 2)), z.min((0, 2)), z.max((0, 2))]
    np.testing.assert_allclose(sums, wanted, rtol=1e-12, atol=1e-10)
    assert found == 1 | (4 if shape[0] == 1 else 0)


@pytest.mark.parametrize("dtype", KINDS)
def test_whole_numbers_and_samples_that_are_the_same_are_told(core: Any, dtype: Any) -> None:
    sums = np.zeros((4, 37))

    def found(x: Any) -> int:
        return int(core.summary(KINDS[dtype], x.ctypes.data, *x.shape, 1, sums.ctypes.data))

    x = np.floor(values(6, 37, dtype=dtype))
    assert found(x) == 1 | 2
    assert found(np.ascontiguousarray(np.broadcast_to(x[:1], x.shape))) == 1 | 2 | 4
    x[5, 36] += 0.5
    assert found(x) == 1
    assert found(np.ascontiguousarray(np.broadcast_to(x[5:], x.shape))) == 1 | 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (5, 36), (3, 8)])
def test_what_is_not_finite_is_told(core: Any, place: tuple[int, int], bad: float) -> None:
    x, sums = values(6, 37, dtype=np.float32), np.zeros((4, 37))
    x[place] = bad
    for shape in ((6, 37, 1), (6, 1, 37)):
        assert core.summary(FLOAT32, x.ctypes.data, *shape, sums.ctypes.data) == 0


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("count", [1, 5, 16, 100, 128])
@pytest.mark.parametrize("step", [1, 3])
def test_directions(core: Any, count: int, step: int, dtype: Any) -> None:
    x = values(50, 400, dtype=dtype)
    x[7], x[9, 0], x[11, 0] = 0, np.nan, np.inf
    starts = np.ascontiguousarray(np.arange(50)[::-1]) * 400
    offsets, sums = np.arange(count) * step, np.ones(count)
    where = starts.ctypes.data, 50, offsets.ctypes.data, count, sums.ctypes.data
    assert core.directions(KINDS[dtype], x.ctypes.data, *where) == 47
    z = x[:, : count * step : step].astype(np.float64)
    with np.errstate(invalid="ignore"):
        length = np.sqrt((z * z).sum(axis=1))
        usable = (length > 0) & np.isfinite(length)
    wanted = 1 + (z[usable] / length[usable][:, None]).sum(axis=0)
    np.testing.assert_allclose(sums, wanted, rtol=1e-12, atol=1e-12)


def test_more_coordinates_than_there_is_room_for_are_refused(core: Any) -> None:
    x = np.zeros(1000)
    with pytest.raises(ValueError, match="room"):
        core.directions(FLOAT64, x.ctypes.data, x.ctypes.data, 1, x.ctypes.data, 1000, x.ctypes.data)

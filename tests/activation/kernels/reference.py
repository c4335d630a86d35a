"""What the kernels are held against: torch's own operators for values, float64 NumPy sums for statistics."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from leaky.activation import formula, kernels
from leaky.activation.kernels.statistics import DenseLayout, Regions

KINDS = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.bfloat16: 3}
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
SPECIAL = (
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    5e-324,
    -5e-324,
    1e-40,
    -1e-40,
    6e-8,
    -6e-8,
    65504.0,
    -65504.0,
    1e38,
    -1e38,
)


def required_core() -> ModuleType:
    """The compiled core; the test is skipped where there is none, unless the environment says that there must be."""
    core = kernels.core()
    if core is None:
        if os.environ.get("LEAKY_REQUIRE_CORE"):
            pytest.fail(f"the compiled core must be there: {kernels.build_info()}")
        pytest.skip(f"no compiled core: {kernels.build_info().reason}")
    return core


@pytest.fixture
def streaming() -> Iterator[None]:
    """Outputs of a megabyte already go past the cache."""
    core = required_core()
    before = core.set_streaming_bytes(1 << 20)
    yield
    core.set_streaming_bytes(before)


def same_bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors hold the same bits; every NaN counts as the same."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    integers = INTEGERS[first.element_size()]
    equal = first.contiguous().view(integers) == second.contiguous().view(integers)
    return bool((equal | (first.isnan() & second.isnan())).all())


def rectified(x: Tensor, slope: float) -> Tensor:
    """Torch's own value."""
    return torch.relu(x) if slope == 0 else torch.nn.functional.leaky_relu(x, slope)


def all_of_half(dtype: torch.dtype) -> Tensor:
    """Every number that a half type has."""
    return torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)


def mixed(count: int, dtype: torch.dtype, seed: int, special: bool = True) -> Tensor:
    """Gaussian numbers, and among them the special ones."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, generator=generator, dtype=torch.float64)
    if special and count:
        places = torch.randint(0, count, (count // 7 + 1,), generator=generator)
        choices = torch.tensor(SPECIAL, dtype=torch.float64)
        x[places] = choices[torch.randint(0, len(SPECIAL), places.shape, generator=generator)]
    return x.to(dtype)


def oracle(z: Tensor, layout: DenseLayout, regions: Regions) -> dict[str, NDArray[Any]]:
    """Float64 sums of the elements as [outer][samples][middle][units][inner]."""
    v = z.detach().double().numpy().reshape(layout)
    units = layout.units
    finite = np.isfinite(v)
    shape = (1, 1, 1, units, 1)
    cap = np.inf if regions.cap is None else regions.cap.reshape(shape)
    floor = -np.inf if regions.floor is None else regions.floor.reshape(shape)
    with np.errstate(invalid="ignore"):
        high, low = finite & (v > cap), finite & (v < floor) & ~(v > cap)
        linear = finite & (v > regions.threshold) & ~high & ~low
    below = finite & ~linear & ~high & ~low
    axes = (0, 1, 2, 4)
    masks = (low, below, linear, high)
    passed = (linear | high).any(axis=(0, 2, 4))
    return {
        "counts": np.stack([m.sum(axis=axes) for m in masks]),
        "sums": np.stack([np.where(m, v, 0.0).sum(axis=axes) for m in masks]),
        "squares": np.stack([np.square(np.where(m, v, 0.0)).sum(axis=axes) for m in masks]),
        "minimum": np.where(finite, v, np.inf).min(axis=axes),
        "maximum": np.where(finite, v, -np.inf).max(axis=axes),
        "nonfinite": (~finite).sum(axis=axes),
        "fired": passed.sum(axis=0),
        "flags": passed,
    }


def expected_output(x: Tensor, slopes: Tensor, gain: float, clamp: float | None, axis: int) -> NDArray[Any]:
    """The definition in float64."""
    return formula.value(x.double().numpy(), slopes.double().numpy(), gain=gain, clamp=clamp, channel_dim=axis)

"""The comparison itself: it must see what it is there to see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.activation.comparison import DTYPES, assert_same_bits, special_values, ulps_apart


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_equal_arrays_are_no_step_apart(dtype: torch.dtype) -> None:
    values = special_values(dtype)
    assert ulps_apart(values, values.clone()) == 0


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("value", [1.0, -1.0, 0.5])
def test_one_rounding_is_one_step(dtype: torch.dtype, value: float) -> None:
    one = torch.tensor([value], dtype=dtype)
    assert ulps_apart(one, torch.nextafter(one, torch.tensor([math.inf], dtype=dtype))) == 1


def test_the_sign_of_zero_is_seen() -> None:
    assert ulps_apart(torch.tensor([0.0]), torch.tensor([-0.0])) == 1
    smallest = torch.tensor([5e-324], dtype=torch.float64)
    assert ulps_apart(smallest, -smallest) == 3


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (torch.tensor([math.nan]), torch.tensor([1.0])),
        (torch.tensor([1.0]), torch.tensor([math.nan])),
        (torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64)),
        (torch.tensor([1.0]), torch.tensor([[1.0]])),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0000002])),
        (torch.tensor([-0.0]), torch.tensor([0.0])),
        (np.array([np.inf]), np.array([np.finfo(float).max])),
    ],
)
def test_different_arrays_are_told_apart(left: torch.Tensor, right: torch.Tensor) -> None:
    with pytest.raises(AssertionError):
        assert_same_bits(left, right)

"""The core reads torch's tensors itself: the same sums as from an address, and nothing that it was not made for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.activation.kernels.reference import required_core
from torch import Tensor, nn

from leaky.activation.kernels.statistics import FLOAT32, FLOAT64, GRADIENT_ROWS, DenseLayout, UnitSums

LAYOUT = DenseLayout(1, 6, 1, 5, 4)


class Site:
    """A reader of (6, 5, 2, 2) tensors and the arrays that it adds to."""

    def __init__(self, kind: int = FLOAT32) -> None:
        core = required_core()
        exchange = getattr(Tensor, "__dlpack_c_exchange_api__", None)
        if exchange is None:
            pytest.skip("this torch hands out no tensors by DLPack's exchange")
        self.sums, self.gradients = UnitSums(core, 5), np.zeros((GRADIENT_ROWS, 5))
        self.reader = core.Reader(
            exchange,
            Tensor,
            kind,
            [6, 5, 2, 2],
            [20, 4, 2, 1],
            list(LAYOUT),
            0.25,
            0,
            0,
            self.sums.array.ctypes.data,
            self.gradients.ctypes.data,
            1,
        )


def values(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(6, 5, 2, 2, generator=torch.Generator().manual_seed(3), dtype=dtype)


@pytest.mark.parametrize(("dtype", "kind"), [(torch.float32, FLOAT32), (torch.float64, FLOAT64)], ids=str)
def test_it_adds_what_the_tensor_holds(dtype: torch.dtype, kind: int) -> None:
    site, z = Site(kind), values(dtype)
    g = values(dtype).flip(0)
    assert site.reader.add(z.requires_grad_(), 0, 7) == 1
    assert site.reader.add_gradient(g, z, -0.5, 0, 0)
    x = z.detach().double().numpy()
    array = site.sums.array
    np.testing.assert_array_equal(array[2], (x > 0.25).sum((0, 2, 3)))
    np.testing.assert_allclose(array[4:8].sum(0), x.sum((0, 2, 3)), rtol=1e-6)
    np.testing.assert_array_equal(array[15], (x > 0.25).any((2, 3)).sum(0))
    np.testing.assert_array_equal(array[16], 7)
    above = np.where(x > -0.5, np.abs(g.double().numpy()), 0).sum((0, 2, 3))
    np.testing.assert_allclose(site.gradients[2], above, rtol=1e-6)


def test_it_says_that_a_value_was_not_finite_until_the_sums_begin_anew() -> None:
    site, z = Site(), values()
    z[0, 3] = math.nan
    assert site.reader.add(z, 0, 0) == 2
    assert site.reader.add(values(), 0, 1) == 2
    site.sums.array[14] = 0
    assert site.reader.add(values(), 0, 2) == 1


def test_flags_of_a_pass_are_the_callers() -> None:
    site, z, flags = Site(), values(), np.zeros((6, 5), np.uint8)
    assert site.reader.add(z, flags.ctypes.data, 0) == 1
    np.testing.assert_array_equal(flags, (z > 0.25).flatten(2).any(2).numpy())
    assert (site.sums.array[15] == 0).all()


class Other(Tensor):
    """A subclass, whose memory may mean something else."""


REFUSED = {
    "another shape": lambda: torch.randn(5, 5, 2, 2),
    "another number of axes": lambda: torch.randn(6, 20),
    "other strides": lambda: torch.randn(6, 5, 2, 2).to(memory_format=torch.channels_last),
    "another type": lambda: torch.randn(6, 5, 2, 2).double(),
    "half": lambda: torch.randn(6, 5, 2, 2).half(),
    "integers": lambda: torch.zeros(6, 5, 2, 2, dtype=torch.int32),
    "on another device": lambda: torch.empty(6, 5, 2, 2, device="meta"),
    "lazily negated": lambda: torch._neg_view(torch.randn(6, 5, 2, 2)),
    "sparse": lambda: torch.randn(6, 5, 2, 2).to_sparse(),
    "a subclass": lambda: torch.randn(6, 5, 2, 2).as_subclass(Other),
    "a parameter": lambda: nn.Parameter(torch.randn(6, 5, 2, 2)),
    "no tensor": lambda: 3,
    "nothing": lambda: None,
}


@pytest.mark.parametrize("other", REFUSED.values(), ids=REFUSED)
def test_whatever_else_it_is_given_is_refused_and_adds_nothing(other) -> None:
    site = Site()
    before = site.sums.array.copy()
    assert site.reader.add(other(), 0, 0) == 0
    assert not site.reader.add_gradient(other(), values(), 0.0, 0, 0)
    assert not site.reader.add_gradient(values(), other(), 0.0, 0, 0)
    np.testing.assert_array_equal(site.sums.array, before)
    assert not site.gradients.any()


def test_an_exchange_that_is_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="version that is not known"):
        required_core().Reader(object(), Tensor, 0, [1], [1], [1, 1, 1, 1, 1], 0.0, 0, 0, 0, 0, 1)

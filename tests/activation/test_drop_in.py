"""The function and the module stand where torch's do; hostile numbers and memory get one answer at every size."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky
from leaky.errors import InputError

SIZES = (8, 4096)
"""Below and above what goes through the compiled core."""
FLOATS = (torch.float16, torch.float32, torch.float64)


def values(size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(size)).to(dtype)


def test_the_arguments_of_torch_come_first_in_its_order_and_by_its_names() -> None:
    for ours, theirs in ((leaky.leaky_relu, functional.leaky_relu), (leaky.LeakyReLU, nn.LeakyReLU)):
        expected = list(inspect.signature(theirs).parameters.values())
        found = list(inspect.signature(ours).parameters.values())
        assert [(p.name, p.default) for p in found[: len(expected)]] == [(p.name, p.default) for p in expected]
        assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in found[len(expected) :])


@pytest.mark.parametrize("size", SIZES)
def test_called_as_torch_is_called(size: int) -> None:
    x = values(size)
    expected = functional.leaky_relu(x, 0.1)
    for call in (lambda f, y: f(y, 0.1, True), lambda f, y: f(input=y, negative_slope=0.1, inplace=True)):
        y = x.clone()
        assert call(leaky.leaky_relu, y) is y
        assert torch.equal(y, expected)
    array = x.numpy().copy()
    assert leaky.leaky_relu(array, 0.1, True) is array
    np.testing.assert_array_equal(array, expected.numpy())


@pytest.mark.parametrize("slope", [0.2, [0.1, 0.2, 0.3]])
def test_the_module_is_found_by_code_that_looks_for_rectifiers(slope: Any) -> None:
    module = leaky.LeakyReLU(slope)
    assert isinstance(module, nn.LeakyReLU)
    assert isinstance(leaky.LeakyReLU(0.2, True), nn.LeakyReLU)
    assert nn.LeakyReLU(0.2, True).inplace == leaky.LeakyReLU(0.2, True).inplace
    x = torch.randn(5, 3)
    assert torch.equal(module(input=x), module(x))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_a_bound_or_a_slope_beyond_the_type_is_no_error(size: int, dtype: torch.dtype) -> None:
    x = values(size, dtype)
    plain = leaky.leaky_relu(x, 0.1)
    for grad in (False, True):
        assert torch.equal(leaky.leaky_relu(x.clone().requires_grad_(grad), 0.1, clamp=1e300), plain)
    steep = leaky.leaky_relu(x, 1e300)
    assert torch.equal(steep, torch.where(x > 0, x, x.double() * 1e300).to(dtype))
    np.testing.assert_array_equal(leaky.leaky_relu(x.numpy(), 1e300), steep.numpy())


@pytest.mark.parametrize("gain", [1.0, 2.0])
@pytest.mark.parametrize("size", SIZES)
def test_an_out_that_overlaps_gets_the_values_that_the_input_had(size: int, gain: float) -> None:
    memory = values(size + 1)
    expected = gain * functional.leaky_relu(memory[:-1], 0.1)
    array = memory.numpy().copy()
    leaky.leaky_relu(memory[:-1], 0.1, gain=gain, out=memory[1:])
    torch.testing.assert_close(memory[1:], expected)
    leaky.leaky_relu(array[:-1], 0.1, gain=gain, out=array[1:])
    np.testing.assert_allclose(array[1:], expected.numpy(), rtol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_memory_that_elements_share_is_not_written_to(size: int) -> None:
    shared = torch.zeros(1, size).expand(4, size)
    with pytest.raises(InputError, match="out must have a place in memory for each"):
        leaky.leaky_relu(torch.randn(4, size), 0.1, out=shared)
    with pytest.raises(InputError, match=r"the input must have a place in memory .* clone\(\) it first"):
        leaky.leaky_relu(shared, 0.1, inplace=True)


@pytest.mark.parametrize("kind", [">f4", ">f8", "<f2", np.longdouble])
@pytest.mark.parametrize("size", SIZES)
def test_arrays_of_every_kind_of_float(size: int, kind: Any) -> None:
    x = np.random.default_rng(0).standard_normal(size).astype(kind)
    y = leaky.leaky_relu(x, 0.25)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, np.where(x > 0, x, x / 4))


def test_a_masked_array_keeps_its_mask() -> None:
    x = np.ma.array([1.0, -2.0, -3.0], mask=[False, False, True])
    y = leaky.leaky_relu(x, 0.5)
    assert isinstance(y, np.ma.MaskedArray)
    assert y.tolist() == [1.0, -1.0, None]
    assert x.tolist() == [1.0, -2.0, None]
    with pytest.raises(InputError, match="a masked array must not be written to"):
        leaky.leaky_relu(x, 0.5, True)
    with pytest.raises(InputError, match="a masked array must not be written to"):
        leaky.leaky_relu(x.data, 0.5, out=np.ma.zeros(3))


@pytest.mark.parametrize("size", SIZES)
def test_the_mask_of_a_result_is_its_own(size: int) -> None:
    values = np.random.default_rng(0).standard_normal(size)
    x = np.ma.array(values, mask=values > 1, fill_value=7.0, hard_mask=True)
    y = leaky.leaky_relu(x, 0.5)
    assert (y.fill_value, y.hardmask) == (7.0, True)
    np.testing.assert_array_equal(np.ma.getmaskarray(y), values > 1)
    np.testing.assert_array_equal(y.data, np.where(values > 0, values, values / 2))
    y[:] = np.ma.masked
    assert y.mask.all()
    np.testing.assert_array_equal(x.mask, values > 1)


def test_nothing_masked_stays_nothing_masked() -> None:
    assert leaky.leaky_relu(np.ma.array([1.0, -2.0]), 0.5).mask is np.ma.nomask
    assert leaky.leaky_relu(np.ma.masked, 0.5) is np.ma.masked
    assert leaky.leaky_relu(np.ma.array(-1.0, mask=True), 0.5).mask


def test_masked_slopes_are_refused() -> None:
    slopes = np.ma.array([0.1, 0.2], mask=[False, True])
    for take in (lambda: leaky.leaky_relu(np.ones((3, 2)), slopes), lambda: leaky.LeakyReLU(slopes)):
        with pytest.raises(InputError, match="negative_slope must hold numbers; some of it is masked"):
            take()
    slopes.mask = np.ma.nomask
    np.testing.assert_array_equal(leaky.leaky_relu(-np.ones((3, 2)), slopes), [[-0.1, -0.2]] * 3)


@pytest.mark.parametrize("kind", [">f4", ">f8", np.longdouble])
def test_data_of_every_kind_of_float_are_observed(kind: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    x = np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)
    found, expected = (leaky.observe(model, data).sites[0].statistics for data in (x.astype(kind), x))
    np.testing.assert_array_equal(found.sums, expected.sums)

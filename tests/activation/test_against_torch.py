"""torch's own operators and torch's own samples of them: the same bits, the same gradients."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.activation.comparison import DTYPES, assert_same_bits
from torch.nn import functional

from leaky import leaky_relu

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's test-suite warns about packages that it would also like
    from torch.testing._internal.common_methods_invocations import op_db

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.:DeprecationWarning")

SAMPLES = {op.name.split(".")[-1]: op for op in op_db if op.name.startswith("nn.functional.")}
ELEMENTS = st.one_of(st.floats(width=16), st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-30, -1e30]))


def _ours(name: str, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Leaky's function called as torch's operator `name` is."""
    if name == "relu":
        return leaky_relu(x, 0.0, *args, **kwargs)
    if name == "prelu" and x.dim() < 2:
        return leaky_relu(x, *args, channel_dim=0, **kwargs)
    return leaky_relu(x, *args, **kwargs)


def _cases(name: str, dtype: torch.dtype) -> list[Any]:
    """Torch's samples, requiring gradients, with every tensor among the positional arguments."""
    cases = list(SAMPLES[name].sample_inputs("cpu", dtype, requires_grad=True))
    for case in cases:
        case.args = (*case.args, *(value for key, value in case.kwargs.items() if key == "weight"))
        case.kwargs = {key: value for key, value in case.kwargs.items() if key != "weight"}
    return cases


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("name", ["leaky_relu", "prelu", "relu"])
def test_torchs_samples_give_the_same_bits_and_gradients(name: str, dtype: torch.dtype) -> None:
    for case in _cases(name, dtype):
        inputs = [t for t in (case.input, *case.args) if isinstance(t, torch.Tensor) and t.requires_grad]
        theirs = getattr(functional, name)(case.input, *case.args, **case.kwargs)
        ours = _ours(name, case.input.clone(), *case.args, **case.kwargs)
        # at a slope of 0 torch's prelu gives −0 where relu, and so ours, gives 0
        zeros = 0.0 if any(bool((slope == 0).any()) for slope in case.args) else -0.0
        assert_same_bits(ours + zeros, theirs + zeros)
        if not theirs.requires_grad:
            continue
        cotangent = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        expected = torch.autograd.grad(theirs, inputs, cotangent)
        ours = _ours(name, case.input, *case.args, **{**case.kwargs, "inplace": False} if case.kwargs else {})
        got = torch.autograd.grad(ours, inputs, cotangent)
        assert_same_bits(got[0] + zeros, expected[0] + zeros)
        for by_slopes, want in zip(got[1:], expected[1:], strict=True):  # a sum, in its own order; ours in float32
            torch.testing.assert_close(by_slopes, want, rtol=1e-6, atol=200 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("bounds", [{}, {"gain": 1.3, "clamp": 2.0}], ids=["plain", "gain and clamp"])
@pytest.mark.parametrize("name", ["leaky_relu", "prelu", "relu"])
def test_torchs_samples_pass_gradcheck_and_gradgradcheck(name: str, bounds: dict[str, float]) -> None:
    for case in _cases(name, torch.float64):
        inputs = [t for t in (case.input, *case.args) if isinstance(t, torch.Tensor) and t.requires_grad]
        rest = {key: value for key, value in {**case.kwargs, **bounds}.items() if key != "inplace"}

        def function(x: torch.Tensor, *slopes: torch.Tensor, rest: Any = rest) -> torch.Tensor:
            return _ours(name, x, *slopes, **rest)

        assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True, check_fwd_over_rev=True)


@pytest.mark.parametrize("name", ["leaky_relu", "relu"])
def test_torchs_samples_in_place_pass_gradcheck(name: str) -> None:
    for case in _cases(name, torch.float64):
        rest = {key: value for key, value in case.kwargs.items() if key != "inplace"}

        def function(x: torch.Tensor, rest: Any = rest) -> torch.Tensor:
            return _ours(name, x.clone(), inplace=True, **rest)

        assert torch.autograd.gradcheck(function, [case.input], check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, [case.input])


@pytest.mark.parametrize("slope", [-2.0, -0.01, 1.5])
@pytest.mark.parametrize("bounds", [{}, {"gain": 1.3, "clamp": 2.0}], ids=["plain", "gain and clamp"])
def test_in_place_is_right_where_torch_raises_or_once_erred(slope: float, bounds: dict[str, float]) -> None:
    x = torch.linspace(-3, 3, 24, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: leaky_relu(x * 1.0, slope, inplace=True, **bounds), [x])
    assert torch.autograd.gradgradcheck(lambda x: leaky_relu(x * 1.0, slope, inplace=True, **bounds), [x])


def test_second_derivative_by_a_learnable_slope_that_is_zero() -> None:
    x = torch.tensor([[-1.5, 2.0], [0.5, -3.0]], dtype=torch.float64, requires_grad=True)
    slopes = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (by_x,) = torch.autograd.grad(leaky_relu(x, slopes).sum(), x, create_graph=True)
    assert torch.equal(by_x, (x > 0).double())
    (mixed,) = torch.autograd.grad(by_x.sum(), slopes)
    assert torch.equal(mixed, torch.ones(2, dtype=torch.float64))


@settings(max_examples=200)
@given(
    values=st.lists(ELEMENTS, min_size=1, max_size=40),
    seed=st.integers(0, 1000),
    slope=st.one_of(st.floats(-4, 4), st.sampled_from([0.01, 0.0, -0.0, 1.0, 1e-40])),
    dtype=st.sampled_from(list(DTYPES.values())),
)
def test_value_and_gradient_are_torchs_bit_for_bit(
    values: list[float], seed: int, slope: float, dtype: torch.dtype
) -> None:
    x = torch.tensor(values, dtype=torch.float64).to(dtype).requires_grad_()
    cotangent = torch.randn(len(values), generator=torch.Generator().manual_seed(seed)).to(dtype)
    theirs = functional.relu(x) if slope == 0 else functional.leaky_relu(x, slope)
    (expected,) = torch.autograd.grad(theirs, x, cotangent)
    fresh, written = leaky_relu(x, slope), leaky_relu(x.clone(), slope, inplace=True)
    assert_same_bits(fresh, theirs)
    assert_same_bits(written, theirs)
    assert_same_bits(torch.autograd.grad(fresh, x, cotangent)[0], expected)
    # what was written over passes on a gradient of +0, and −0 + 0 is +0
    assert_same_bits(torch.autograd.grad(written, x, cotangent)[0] + 0.0, expected + 0.0)
    channels = leaky_relu(x[:, None], torch.tensor([slope], dtype=torch.float64))[:, 0]
    if slope == 0 or dtype == torch.float64 or abs(slope) > 1e-30:  # a float32 slope can vanish in a tensor
        assert_same_bits(channels, theirs)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_a_channel_with_slope_zero_has_relus_gradient_bit_for_bit(dtype: torch.dtype) -> None:
    values = torch.tensor([1.0, -1.0, 0.0, -0.0, math.inf, -math.inf, math.nan], dtype=dtype)
    x = values[:, None].repeat(1, 2).requires_grad_()
    for cotangent in (-2.0, 3.0, math.inf, math.nan):
        spread = torch.full_like(x, cotangent)
        (expected,) = torch.autograd.grad(functional.relu(x), x, spread)
        (got,) = torch.autograd.grad(leaky_relu(x, torch.tensor([0.0, 0.5])), x, spread)
        assert_same_bits(got[:, 0].contiguous(), expected[:, 0].contiguous())


def test_memory_layout_is_kept() -> None:
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    slopes = torch.tensor([0.0, 0.1, 0.2])
    for slope in (0.1, 0.0, slopes, slopes + 0.1):
        for bounds in ({}, {"gain": 2.0}, {"clamp": 1.0}):
            y = leaky_relu(x, slope, **bounds)
            assert y.is_contiguous(memory_format=torch.channels_last)
            assert leaky_relu(x.permute(3, 1, 0, 2), slope, **bounds).stride() == x.permute(3, 1, 0, 2).stride()

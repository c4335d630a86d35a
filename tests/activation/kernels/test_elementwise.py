"""Forward and backward kernels: torch's bits, for every type, length, alignment and number of threads."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.activation.kernels.reference import KINDS, all_of_half, mixed, rectified, required_core, same_bits, streaming

__all__ = ["streaming"]  # a fixture

DTYPES = list(KINDS)
SLOPES = (0.01, 0.0, 1 / 3, -0.2, 1.7, 1e-50)
SHORT = settings(max_examples=60, deadline=None, derandomize=True)


def run(x, slope, *, gain=1.0, clamp=None, planes=0, threads=1, target=None, fresh=False):
    """Y and the bit planes."""
    core = required_core()
    y = torch.empty_like(x) if target is None else target
    masks = torch.full((2, (x.numel() + 7) // 8), 0xA5, dtype=torch.uint8)
    addresses = [masks[i].data_ptr() if i < planes else 0 for i in range(2)]
    bound = math.inf if clamp is None else clamp
    args = (1, x.numel(), 0, 1, slope, 0, gain, bound, *addresses, fresh, threads)
    core.forward(KINDS[x.dtype], x.data_ptr(), y.data_ptr(), *args)
    return y, masks, args


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_half_is_what_torch_rounds(dtype, slope):
    x = all_of_half(dtype)
    assert same_bits(run(x, slope)[0], rectified(x, slope))


@SHORT
@given(
    dtype=st.sampled_from(DTYPES),
    count=st.integers(0, 700),
    offset=st.integers(0, 17),
    slope=st.sampled_from(SLOPES) | st.floats(-3, 3, width=32),
    planes=st.integers(0, 1),
    seed=st.integers(0, 2**31),
)
def test_values_and_gradients_are_torch_s(dtype, count, offset, slope, planes, seed):
    required_core()
    x = mixed(count + offset, dtype, seed)[offset:]
    y, _masks, args = run(x, slope, planes=planes, target=torch.empty(count + 3, dtype=dtype)[3:])
    assert same_bits(y, rectified(x, slope))
    if planes:
        gradient = mixed(count, dtype, seed + 1)
        leaf = x.clone().requires_grad_()
        rectified(leaf, slope).backward(gradient)
        result = torch.empty_like(gradient)
        required_core().backward(KINDS[dtype], gradient.data_ptr(), result.data_ptr(), *args)
        assert same_bits(result, leaf.grad)


def test_a_comparison_of_bits_can_fail():
    assert not same_bits(torch.tensor([0.0]), torch.tensor([-0.0]))
    assert not same_bits(torch.tensor([1.0]), torch.tensor([1.0], dtype=torch.float64))
    assert same_bits(torch.tensor([math.nan]), torch.tensor([-math.nan]))


@pytest.mark.parametrize(("count", "threads"), [(1 << 20, 2), ((1 << 20) + 77, 1), (4_500_003, 5)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_outputs_stream_on_any_number_of_threads(dtype, count, threads, streaming):
    x = mixed(count, dtype, count)
    expected = rectified(x, 0.1)
    assert same_bits(run(x, 0.1, threads=threads)[0], expected)
    unaligned = torch.empty(count + 1, dtype=dtype)[1:]
    assert same_bits(run(x, 0.1, threads=threads, target=unaligned)[0], expected)
    y, _masks, args = run(x, 0.1, threads=threads, planes=1)
    assert same_bits(y, expected)
    result = torch.empty_like(x)
    required_core().backward(KINDS[dtype], x.data_ptr(), result.data_ptr(), *args)
    assert same_bits(result, torch.where(x > 0, x, x * 0.1))
    assert same_bits(run(x, 0.1, threads=threads, target=x)[0], expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("offset", "threads"), [(0, 2), (1, 1), (40_000, 5)])
def test_fresh_outputs_are_divided_by_pages(dtype, offset, threads):
    x = mixed(2_500_003, dtype, offset)
    leaf = x.clone().requires_grad_()
    rectified(leaf, 0.1).backward(x)
    y = torch.empty(x.numel() + offset, dtype=dtype)[offset:]
    _y, _masks, args = run(x, 0.1, threads=threads, planes=1, target=y, fresh=True)
    assert same_bits(y, rectified(x, 0.1))
    back = torch.empty(x.numel() + offset, dtype=dtype)[offset:]
    required_core().backward(KINDS[dtype], x.data_ptr(), back.data_ptr(), *args)
    assert same_bits(back, leaf.grad)


def test_nothing_beside_the_output_is_written():
    for count in range(1, 140):
        guarded = torch.full((count + 32,), 7.0)
        x = mixed(count, torch.float32, count)
        run(x, 0.1, target=guarded[16 : 16 + count])
        assert bool((guarded[:16] == 7).all() and (guarded[16 + count :] == 7).all()), count


def test_subnormals_are_flushed_where_the_caller_flushes_them():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush subnormals")
    try:
        x = torch.full((2_000_000,), -1e-38)
        assert same_bits(run(x, 0.1, threads=2)[0], rectified(x, 0.1))
        assert float(run(x, 0.1, threads=2)[0].abs().max()) == 0.0
    finally:
        torch.set_flush_denormal(False)


def test_past_two_to_the_31_elements_in_place():
    import psutil

    required_core()
    if psutil.virtual_memory().available < 6 << 30:
        pytest.skip("4 GiB of float16 need 6 GiB of free memory")
    count = (1 << 31) + 65
    x = torch.full((count,), -1.0, dtype=torch.float16)
    x[:: 1 << 20] = 3.0
    x[-1] = -2.0
    run(x, 0.5, threads=2, target=x)
    assert float(x[0]) == 3.0
    assert float(x[-1]) == -1.0
    assert float(x[-2]) == -0.5
    positive = x[:: 1 << 20]
    assert bool((positive == 3.0).all())
    assert int((x[count - (1 << 21) :] > 0).sum()) == len(
        range(-(-(count - (1 << 21)) // (1 << 20)) * (1 << 20), count, 1 << 20)
    )

"""The function at sizes where the core takes over: the same results as the plain operations, seen from anywhere."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import torch
from tests.activation.kernels.reference import mixed, rectified, required_core, same_bits
from torch import nn

import leaky
from leaky.activation import formula, numpy_core, torch_core

LARGE = torch_core.MASKED + 123
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-13, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@pytest.fixture(autouse=True)
def _core():
    required_core()


def is_masked(y):
    return "Masked" in type(y.grad_fn).__name__


@pytest.mark.parametrize("slope", [0.01, 0.0, -0.3, 1.5])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_gradient_through_a_mask_is_torch_s(dtype, slope):
    x = mixed(LARGE, dtype, 1).requires_grad_()
    gradient = mixed(LARGE, dtype, 2)
    y = leaky.leaky_relu(x, slope)
    assert is_masked(y)
    y.backward(gradient)
    leaf = x.detach().clone().requires_grad_()
    expected = rectified(leaf, slope)
    expected.backward(gradient)
    assert same_bits(y.detach(), expected.detach())
    assert same_bits(x.grad, leaf.grad)


@pytest.mark.parametrize("layout", ["rows", "short rows", "columns", "channels last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_slopes_gain_and_clamp_match_plain_operations(dtype, layout, monkeypatch):
    shape = {
        "rows": (3, 5, 190, 100),
        "short rows": (64, 90, 7, 7),
        "columns": (3000, 90),
        "channels last": (8, 33, 33, 33),
    }[layout]
    x = mixed(int(np.prod(shape)), dtype, 3).reshape(shape)
    if layout == "channels last":
        x = x.contiguous(memory_format=torch.channels_last)
    slopes = torch.linspace(-0.5, 1.5, shape[1])
    slopes[shape[1] // 2] = 0.0
    gradient = mixed(x.numel(), dtype, 4).reshape(shape)
    results = []
    for enough in (torch_core.WORTHWHILE, 1 << 60):
        monkeypatch.setattr(torch_core, "WORTHWHILE", enough)
        leaf = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
        y = leaky.leaky_relu(leaf, slopes, gain=1.3, clamp=2.0)
        assert is_masked(y) == (enough < 1 << 60)
        y.backward(gradient)
        with torch.no_grad():
            plain = leaky.leaky_relu(leaf, slopes, gain=1.3, clamp=2.0)
        assert same_bits(plain, y.detach())
        assert y.stride() == x.stride()
        results.append((y.detach(), leaf.grad))
    (fast, fast_gradient), (slow, slow_gradient) = results
    assert same_bits(fast, slow)
    torch.testing.assert_close(fast_gradient, slow_gradient, rtol=0, atol=0, equal_nan=True)
    expected = formula.value(x.double().numpy(), slopes.double().numpy(), gain=1.3, clamp=2.0)
    np.testing.assert_allclose(fast.double().numpy(), expected, rtol=TOLERANCE[dtype], atol=1e-7)


def test_second_derivatives_go_through_plain_operations():
    x = torch.randn(LARGE, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    weights = torch.linspace(0.5, 2.0, LARGE, dtype=torch.float64, requires_grad=True)
    y = leaky.leaky_relu(x, 0.2, gain=1.5, clamp=2.0)
    assert is_masked(y)
    (first,) = torch.autograd.grad((y * weights).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), weights)
    derivative = torch.from_numpy(formula.derivative(x.detach().numpy(), 0.2, gain=1.5, clamp=2.0))
    torch.testing.assert_close(first, derivative * weights, rtol=1e-14, atol=0)
    torch.testing.assert_close(second, 2 * derivative.square() * weights, rtol=1e-14, atol=0)


def test_batched_gradients_and_strided_gradients():
    x = torch.randn(512, 600, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = leaky.leaky_relu(x, 0.1)
    assert is_masked(y)
    gradients = torch.randn(2, 512, 600, generator=torch.Generator().manual_seed(1))
    derivative = torch.where(x > 0, 1.0, 0.1)
    (batched,) = torch.autograd.grad(y, x, gradients, is_grads_batched=True, retain_graph=True)
    torch.testing.assert_close(batched, gradients * derivative)
    (transposed,) = torch.autograd.grad(y, x, torch.randn(600, 512).t() * 0 + 2.0, retain_graph=True)
    torch.testing.assert_close(transposed, 2 * derivative)
    y.sum().backward()  # an expanded gradient
    torch.testing.assert_close(x.grad, derivative.detach())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("slopes", [0.1, torch.linspace(0.0, 0.5, 64)], ids=["one slope", "channels"])
def test_the_gradient_of_a_sum_takes_the_memory_of_its_result(dtype, slopes):
    x = torch.randn(64, 64, 257, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    y = leaky.leaky_relu(x, slopes, clamp=2.0)
    assert is_masked(y)
    one = torch.tensor(3.0, dtype=dtype)
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        (found,) = torch.autograd.grad(y, x, one.expand(x.shape), retain_graph=True)
    allocated = sum(max(0, each.self_cpu_memory_usage) for each in profile.key_averages())
    assert x.nbytes <= allocated <= 1.1 * x.nbytes
    (expected,) = torch.autograd.grad(y, x, one.expand(x.shape).contiguous())
    assert found.stride() == x.stride()
    assert same_bits(found, expected)


@pytest.mark.parametrize(("clamp", "share"), [(None, 32), (3.0, 16)])
def test_what_is_saved_is_a_fraction_of_the_input(clamp, share):
    x = torch.randn(LARGE, requires_grad=True)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.nbytes) or t, lambda t: t):
        leaky.leaky_relu(x, 0.1, clamp=clamp)
    assert sum(saved) <= x.nbytes / share + 8


def test_the_input_may_be_written_over_before_the_backward_pass():
    x = torch.randn(LARGE, generator=torch.Generator().manual_seed(0))
    leaf = x.clone().requires_grad_()
    inner = leaf * 1.0
    y = leaky.leaky_relu(inner, 0.1)
    with torch.no_grad():
        inner.zero_()
    y.sum().backward()
    torch.testing.assert_close(leaf.grad, torch.where(x > 0, 1.0, 0.1))


def test_checkpoints_recompute_the_mask():
    x = torch.randn(LARGE, requires_grad=True)
    y = torch.utils.checkpoint.checkpoint(lambda t: leaky.leaky_relu(t * 2, 0.1), x, use_reentrant=False)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(x.detach() > 0, 2.0, 0.2))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_large_fresh_outputs_of_the_module_come_from_the_core_and_are_torch_s(dtype, monkeypatch):
    calls = []
    write = torch_core.forward
    monkeypatch.setattr(torch_core, "forward", lambda *args, **kwargs: (calls.append(1), write(*args, **kwargs)))
    count = torch_core.FRESH // dtype.itemsize
    for size, expected in ((count - 1, 0), (count, int(required_core().gives_huge_pages()))):
        x = mixed(size, dtype, 3)
        calls.clear()
        assert same_bits(leaky.LeakyReLU(0.1)(x), rectified(x, 0.1))
        assert len(calls) == expected


def test_in_place_and_out_write_there_and_say_so():
    x = torch.randn(5000)
    expected = rectified(x, 0.1)
    out, version = torch.empty_like(x), x._version
    assert leaky.leaky_relu(x, 0.1, out=out) is out
    assert leaky.leaky_relu(x, 0.1, inplace=True) is x
    assert same_bits(out, expected)
    assert same_bits(x, expected)
    assert out._version == 1
    assert x._version == version + 1


def test_a_saved_tensor_that_is_written_over_is_noticed():
    x = torch.randn(5000, requires_grad=True)
    inner = x * 1
    y = inner * inner
    with torch.no_grad():
        leaky.leaky_relu(inner, 0.1, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_modes_transforms_and_compilers_see_torch_s_operator():
    from torch.utils._python_dispatch import TorchDispatchMode

    seen = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    x = torch.randn(LARGE, requires_grad=True)
    with Watch():
        leaky.leaky_relu(x, 0.1)
    assert any("leaky_relu" in name for name in seen)
    batch = torch.randn(3, LARGE)
    torch.testing.assert_close(torch.func.vmap(lambda t: leaky.leaky_relu(t, 0.1))(batch), rectified(batch, 0.1))
    gradient, _ = torch.func.grad_and_value(lambda t: leaky.leaky_relu(t, 0.1).sum())(batch)
    torch.testing.assert_close(gradient, torch.where(batch > 0, 1.0, 0.1))
    _, tangent = torch.func.jvp(lambda t: leaky.leaky_relu(t, 0.1), (batch,), (torch.ones_like(batch),))
    torch.testing.assert_close(tangent, torch.where(batch > 0, 1.0, 0.1))
    exported = torch.export.export(leaky.LeakyReLU(0.1), (batch,))
    assert any("leaky_relu" in str(node.target) for node in exported.graph.nodes)


def test_modules_and_gradients_leave_no_memory_behind():
    model = nn.Sequential(leaky.LeakyReLU(0.1), leaky.LeakyReLU(0.1))
    x = torch.randn(LARGE, requires_grad=True)
    for _ in range(3):
        model(x).sum().backward()
    del model
    gc.collect()
    assert not [o for o in gc.get_objects() if type(o).__name__ == "MaskedBackward"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_give_the_bits_of_plain_operations(dtype, order, monkeypatch):
    values = mixed(60_000, torch.float64, 5).to(torch.from_numpy(np.empty(0, dtype)).dtype)
    x = np.asarray(values.numpy().reshape(200, 300), order=order)
    for options in ({}, {"gain": 1.5}, {"clamp": 1.0}, {"gain": 0.7, "clamp": 2.0}):
        for slope in (0.01, 0.0, -0.5):
            fast = leaky.leaky_relu(x, slope, **options)
            out = np.empty_like(x)
            assert leaky.leaky_relu(x, slope, out=out, **options) is out
            with monkeypatch.context() as patch:
                patch.setattr(numpy_core, "WORTHWHILE", 1 << 60)
                slow = leaky.leaky_relu(x, slope, **options)
            assert fast.flags.f_contiguous == slow.flags.f_contiguous
            assert same_bits(torch.from_numpy(fast.copy()), torch.from_numpy(slow.copy()))
            assert same_bits(torch.from_numpy(out.copy()), torch.from_numpy(slow.copy()))

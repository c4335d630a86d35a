"""A call of a site met by the core at once: the sums of both sides, and nothing where the quick way is not right."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from tests.activation.kernels.reference import required_core
from torch import Tensor, nn

from leaky.activation.kernels.statistics import FLOAT32, GRADIENT_ROWS, DenseLayout, UnitSums
from leaky.watching.clock import Clock

SHAPE = (6, 5)


def exchange() -> Any:
    found = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if found is None:
        pytest.skip("this torch hands out no tensors by DLPack's exchange")
    return found


class Met:
    """What meets ReLUs of (6, 5) tensors, parted by the output."""

    def __init__(self) -> None:
        self.core = required_core()
        self.sums, self.gradients = UnitSums(self.core, 5), np.zeros((GRADIENT_ROWS, 5))
        self.counts, self.clock = np.zeros(3, np.int64), Clock(lambda error: None)
        self.late: list[tuple[Tensor, Tensor, int]] = []
        where = 0.0, 0, 0, self.sums.array.ctypes.data, self.gradients.ctypes.data, 1
        layout = list(DenseLayout(1, 6, 1, 5, 1))
        self.reader = self.core.Reader(exchange(), Tensor, FLOAT32, list(SHAPE), [5, 1], layout, *where)
        kept = torch._C._autograd._top_saved_tensors_default_hooks
        holds = self.sums, self.gradients, self.counts

        def late(gradient: Tensor, value: Tensor, of_pass: int) -> None:
            self.late.append((gradient, value, of_pass))

        self.meeting = self.core.Meeting(self.reader, self.counts.ctypes.data, True, kept, OrderedDict, late, holds)

    def meet(self, z: Tensor, output: Tensor, of_pass: int = 3) -> bool:
        self.clock.step, self.clock.passes = 7, of_pass
        return bool(self.core.meet_call(self.meeting, self.clock, z, output))

    @property
    def untouched(self) -> bool:
        return not self.counts.any() and not self.sums.array[:12].any() and self.meeting.awaited == -1


def values(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_both_sides_of_a_call_are_summed_and_the_gradient_is_left_as_it_is() -> None:
    met, x, g = Met(), values().requires_grad_(), values(1)
    z = x * 1.0
    h = torch.relu(z)
    assert met.meet(z, h)
    assert met.meeting.awaited == 3
    assert met.counts.tolist() == [6, 1, 0]
    h.backward(g, retain_graph=True)
    assert torch.equal(x.grad, torch.where(x > 0, g, 0.0))
    assert met.counts.tolist() == [6, 1, 6]
    data, arrived = x.detach().double().numpy(), g.double().numpy()
    np.testing.assert_allclose(met.sums.array[4:8].sum(0), data.sum(0), rtol=1e-6)
    np.testing.assert_array_equal(met.sums.array[15:17], [(data > 0).sum(0), np.where((data > 0).any(0), 7, -1)])
    sides = [np.where(data <= 0, arrived, 0), np.where(data > 0, arrived, 0)]
    np.testing.assert_allclose(met.gradients[1:3], [np.abs(side).sum(0) for side in sides], rtol=1e-6)
    np.testing.assert_allclose(met.gradients[5:7], [(side**2).sum(0) for side in sides], rtol=1e-6)
    h.backward(g)
    assert met.counts.tolist() == [6, 1, 6]  # a second run through the graph is not another pass


def test_without_a_gradient_only_the_values_are_taken() -> None:
    met, z = Met(), values()
    assert met.meet(z, torch.relu(z))
    assert met.counts.tolist() == [6, 1, 0]
    assert met.meeting.awaited == -1
    assert not met.clock.nonfinite
    assert met.meet(torch.full(SHAPE, math.nan), torch.full(SHAPE, math.nan))
    assert met.clock.nonfinite


def test_a_gradient_of_another_form_is_handed_over() -> None:
    met, x = Met(), values().requires_grad_()
    h = torch.relu(x)
    assert met.meet(x, h, 4)
    h.sum().backward()
    ((gradient, value, of_pass),) = met.late
    assert (gradient.stride(), of_pass) == ((0, 0), 4)
    assert torch.equal(value, h)
    assert met.counts.tolist() == [6, 1, 0]


class Other(Tensor):
    pass


def test_nothing_is_done_where_the_quick_way_is_not_right() -> None:
    met, x = Met(), values().requires_grad_()
    hooked = torch.relu(x)
    hooked.register_hook(lambda g: None)
    assert not met.meet(x, hooked)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):
        assert not met.meet(x, torch.relu(x))
    assert not met.meet(x, torch.relu(x).as_subclass(Other))
    wide = values(0, (7, 5)).requires_grad_()
    assert not met.meet(wide, torch.relu(wide))
    leaf = nn.Parameter(values())
    assert not met.meet(x, leaf)  # no node of autograd's graph to hook
    assert met.untouched
    assert met.meet(x, torch.relu(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("shape", [(3,), (64, 64), (65, 127), (2, 3, 40, 50), (5, 1, 7)])
def test_the_size_of_an_even_sample(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    asked, x = required_core().Asked(exchange(), Tensor), values(2, shape).to(dtype)
    for most in (1, 100, 4096, 10**9):
        flat = x.reshape(-1)[:: max(1, x.numel() // most)].double()
        assert asked.size(x, most) == pytest.approx(float(flat.square().mean().sqrt()), rel=1e-12)


def test_what_has_no_size_that_can_be_read_in_one_piece() -> None:
    asked = required_core().Asked(exchange(), Tensor)
    for other in (values().T, values()[:, 1:], values().half(), torch.ones(3, dtype=torch.int64), torch.zeros(0, 4)):
        assert asked.size(other, 100) == -1
    assert asked.size(nn.Parameter(values()), 100) == -1
    assert asked.size("text", 100) == asked.size(None, 100) == -1
    assert math.isnan(asked.size(torch.tensor([1.0, math.nan]), 100))

"""What a value hands on, against the values themselves: scalar arithmetic, gates, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.structure.operators.running import Quiet
from torch import Tensor, nn
from torch.nn import functional

from leaky.structure.graph import Node
from leaky.structure.history import History
from leaky.structure.trace import Tracer


class Function(nn.Module):
    """y = f(x, w) with one learned weight and one constant."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.linspace(0.5, 1.5, 4))
        self.register_buffer("c", torch.linspace(1.0, 2.0, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.w, self.c)


X = torch.linspace(-4, 4, 24).reshape(6, 4)


def traced(function: Callable[..., Tensor]) -> tuple[Node, Node, Tensor]:
    """The node of x, that of the result, and the result."""
    model, history = Function(function), History()
    tracer = Tracer(model, Quiet(), history=history)
    with torch.no_grad(), tracer.following([X], 0):
        result = model(X)
    return history.inputs[0], history.events[-1].results[0], result


SCALARS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "add": lambda x, a: x + a,
    "sub": lambda x, a: x - a,
    "mul": lambda x, a: x * a,
    "div": lambda x, a: x / a,
    "neg": lambda x, a: -x,
    "alpha": lambda x, a: torch.add(x, a, alpha=2),
    "minus": lambda x, a: torch.sub(x, a, alpha=3),
    "view": lambda x, a: x.reshape(4, 6).reshape(6, 4),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(SCALARS)), st.sampled_from([-2.0, 0.5, 3.0])), min_size=1, max_size=5))
def test_scalar_arithmetic_is_scale_times_root_plus_shift(chosen: list[tuple[str, float]]) -> None:
    def chain(x: Tensor, w: Tensor, c: Tensor) -> Tensor:
        for name, by in chosen:
            x = SCALARS[name](x, by)
        return x.clone()

    x, node, result = traced(chain)
    assert node.affine is not None
    assert node.affine.root == x.index
    assert torch.allclose(result, node.affine.scale * X + node.affine.shift, atol=1e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w, c: x * c,
        lambda x, w, c: x + w,
        lambda x, w, c: x + x,
        lambda x, w, c: x.square(),
        lambda x, w, c: 1 - x,
    ],
)
def test_what_is_no_scalar_arithmetic_of_x_is_a_root_of_its_own(function: Callable[..., Tensor]) -> None:
    x, node, _ = traced(function)
    assert node.affine is None or node.affine.root != x.index


GATES: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor], Tensor]]] = {
    "sigmoid": (lambda x, w, c: torch.sigmoid(x), torch.sigmoid),
    "scaled sigmoid": (lambda x, w, c: 2 * torch.sigmoid(x), torch.sigmoid),
    "hardsigmoid": (lambda x, w, c: functional.hardsigmoid(x), functional.hardsigmoid),
    "relu6": (lambda x, w, c: functional.relu6(x + 3), functional.hardsigmoid),
    "relu6 in shares": (lambda x, w, c: functional.relu6(x + 3) / 6, functional.hardsigmoid),
    "clamp": (lambda x, w, c: (x + 3).clamp(0, 6), functional.hardsigmoid),
    "hardtanh": (lambda x, w, c: functional.hardtanh(x + 3, 0, 6) * 0.5, functional.hardsigmoid),
    "greater": (lambda x, w, c: x > 0, lambda x: (x > 0).float()),
    "at least": (lambda x, w, c: x >= 0, lambda x: (x >= 0).float()),
    "less": (lambda x, w, c: x < 0, lambda x: (x < 0).float()),
    "at most": (lambda x, w, c: x <= 0, lambda x: (x <= 0).float()),
}


@pytest.mark.parametrize("name", GATES)
def test_a_gate_is_its_scale_times_the_plain_one_of_its_root(name: str) -> None:
    function, plain = GATES[name]
    x, node, result = traced(function)
    assert node.gate is not None
    assert node.gate.root == x.index
    assert torch.allclose(result.float(), node.gate.scale * plain(X), atol=1e-6)
    kinds = {"greater": "positive", "at least": "positive", "less": "negative", "at most": "negative"}
    assert node.gate.kind == kinds.get(
        name, "sigmoid" if "sigmoid" in name and name != "hardsigmoid" else "hardsigmoid"
    )


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w, c: x > 1,
        lambda x, w, c: x.clamp(0, 6),
        lambda x, w, c: functional.relu6(x + 2),
        lambda x, w, c: functional.relu(x + 3),
    ],
)
def test_what_lets_through_elsewhere_is_no_gate(function: Callable[..., Tensor]) -> None:
    _, node, _ = traced(function)
    assert node.gate is None


ORIGINS: list[Callable[..., Tensor]] = [
    lambda x, w, c: x * w,
    lambda x, w, c: x @ w,
    lambda x, w, c: (w * 2).exp(),
    lambda x, w, c: c + 1,
    lambda x, w, c: w + c,
    lambda x, w, c: torch.zeros_like(x) + c,
    lambda x, w, c: x.detach() + c,
]


@pytest.mark.parametrize("function", ORIGINS)
def test_where_a_value_comes_from_is_what_moves_it(function: Callable[..., Tensor]) -> None:
    """By disturbing the data and the weight: data win, and weights are named where no data had a part."""
    _, node, before = traced(function)
    model = Function(function)
    w, c = model.w.detach(), model.c
    by_data = not torch.equal(function(X + 0.1, w, c), before)
    by_weight = not torch.equal(function(X, w + 0.1, c), before)
    assert node.from_data == by_data
    assert node.learned == (by_weight and not by_data)
    assert ("w" in node.weights) == (by_weight and not by_data)

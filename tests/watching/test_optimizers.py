"""What a step does to weights, and what an optimizer knows of units that never learned, against float64 by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.watching.optimizers import SAMPLED, Updates, measured_by, ratio_of, untouched_units

UNKNOWN = [math.nan] * 8
"""Of a weight that is not in half precision the entries that moved; after the first step what came before it."""


def test_a_step_is_measured_as_a_share_of_the_weight_that_it_met() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    old = [p.detach().double().numpy().copy() for p in (model[0].weight, model[2].weight)]
    updates = Updates(model)
    assert not updates.measuring
    updates.before()
    assert updates.measuring
    with torch.no_grad():
        model[0].weight.mul_(1.5)
        model[2].weight[1] += 2
        model[0].bias.add_(1)
    found = updates.after()
    assert not updates.measuring
    assert list(found) == ["0.weight", "2.weight"]  # a bias has no direction that a step turns
    squares = [(each**2).sum() for each in old]
    later = (model[2].weight.detach().double().numpy() ** 2).sum()
    first = [0.25 * squares[0], squares[0], 20, 1.25 * squares[0], math.nan, 0.01 * 4, *UNKNOWN]
    second = [16, squares[1], 12, later - squares[1], math.nan, 0.01 * 3, *UNKNOWN]
    assert found["0.weight"] == pytest.approx(first, rel=1e-5, nan_ok=True)
    assert found["2.weight"] == pytest.approx(second, rel=1e-5, nan_ok=True)
    assert ratio_of(found["0.weight"]) == pytest.approx(0.5, rel=1e-5)
    assert updates.after() == {}


def test_what_others_do_to_a_weight_between_two_steps_is_seen_apart_from_the_step() -> None:
    model = nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        model.weight.fill_(2.0)
    updates = Updates(model)
    updates.begin()
    updates.before()
    with torch.no_grad():
        model.weight.fill_(3.0)
    assert updates.after()["weight"] == pytest.approx([6, 24, 6, 30, math.nan, 0.02, *UNKNOWN], nan_ok=True)
    with torch.no_grad():
        model.weight.fill_(1.0)
    updates.begin()
    with torch.no_grad():
        model.weight.fill_(4.0)
    updates.begin()  # of a step that is not measured: what came since is not of one step
    updates.before()
    assert updates.after()["weight"] == pytest.approx([0, 96, 6, 0, -48, 0.02, *UNKNOWN[:5], 0, -12, 24], nan_ok=True)


def test_entries_that_others_set_to_zero_or_to_a_bound_are_not_counted_as_changed() -> None:
    model = nn.Linear(4, 2, bias=False)
    updates = Updates(model)
    for set_to in ([[-1.0, 1.0, -1.0, 0.0], [0.0, 1.0, 0.5, -0.25]], None):
        updates.begin()
        updates.before()
        found = updates.after()["weight"]
        if set_to is not None:
            with torch.no_grad():
                model.weight.copy_(torch.tensor(set_to))
    assert found[11] == 2


def test_of_half_precision_the_entries_are_counted_that_had_a_gradient_and_moved() -> None:
    model = nn.Linear(4, 2, bias=False).bfloat16()
    with torch.no_grad():
        model.weight.fill_(1.0)
    model.weight.grad = torch.tensor([[0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0]]).bfloat16()
    updates = Updates(model)
    updates.before()
    with torch.no_grad():
        model.weight.add_(torch.tensor([[1e-3, 1e-3, 1e-3, 1e-2], [1e-3, 1e-2, 1e-3, 1e-2]]))
    assert updates.after()["weight"][6:8].tolist() == [2, 5]


def test_the_gradient_that_comes_after_a_measured_step_is_held_against_it() -> None:
    model = nn.Linear(2, 2, bias=False)
    updates = Updates(model)
    for change, gradient in ((torch.eye(2), None), (torch.ones(2, 2), torch.tensor([[3.0, 0.0], [4.0, 0.0]]))):
        model.weight.grad = gradient
        updates.begin()
        updates.before()
        with torch.no_grad():
            model.weight.add_(change)
        found = updates.after()["weight"]
    assert found[8:11] == pytest.approx([3, 2, 25])


def test_of_a_large_weight_an_even_sample_tells_the_same() -> None:
    model = nn.Linear(600, 300)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([3.0, -3.0]).repeat(90_000).reshape(300, 600))
    updates = Updates(model)
    updates.before()
    with torch.no_grad():
        model.weight.mul_(1.25)
    step = updates.after()["weight"]
    assert SAMPLED <= step[2] < 2 * SAMPLED
    assert ratio_of(step) == pytest.approx(0.25, rel=1e-5)
    assert measured_by({"weight": [step]})["weight"] == pytest.approx((0.25, 3.0), rel=1e-5)


def test_the_largest_of_several_steps_counts_and_the_size_of_the_last() -> None:
    rest = [0.0, math.nan, 0.25, *UNKNOWN]
    steps = [np.array([1.0, 100.0, 4.0, *rest]), np.array([9.0, 36.0, 4.0, *rest]), np.array([4.0, 64.0, 4.0, *rest])]
    assert measured_by({"w": steps})["w"] == pytest.approx((0.5, 4.0))
    from_nothing = np.array([1.0, 0.0, 4.0, *rest])
    assert ratio_of(from_nothing) == 2
    assert measured_by({"w": [from_nothing, steps[0]]})["w"] == pytest.approx((2.0, 5.0))


OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "Adam": (torch.optim.Adam, {}),
    "AdamW": (torch.optim.AdamW, {}),
    "RMSprop": (torch.optim.RMSprop, {}),
    "Adagrad": (torch.optim.Adagrad, {}),
    "SGD with momentum": (torch.optim.SGD, {"momentum": 0.9}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_unit_that_once_had_a_gradient_is_touched(name: str) -> None:
    kind, options = OPTIMIZERS[name]
    weight = nn.Parameter(torch.ones(5, 3, 2))
    optimizer = kind([weight], lr=0.1, **options)
    for unit, element in ((1, (0, 0)), (3, (2, 1))):
        weight.grad = torch.zeros(5, 3, 2)
        weight.grad[(unit, *element)] = -0.5
        optimizer.step()
    weight.grad = torch.zeros(5, 3, 2)
    optimizer.step()
    assert untouched_units(optimizer, {"w": weight})["w"].tolist() == [0, 2, 4]


def test_of_an_optimizer_that_keeps_no_moment_nothing_is_said() -> None:
    weight, other = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    weight.grad = torch.ones(2, 2)
    plain, adam = torch.optim.SGD([weight], lr=0.1), torch.optim.Adam([weight])
    plain.step()
    assert untouched_units(plain, {"w": weight}) == {}
    assert untouched_units(adam, {"w": weight}) == {}  # before its first step
    adam.step()
    assert list(untouched_units(adam, {"w": weight, "other": other})) == ["w"]


class Wrapper(torch.optim.Optimizer):
    """As accelerate and others write them: an optimizer by its class, without what `Optimizer.__init__` makes."""

    def __init__(self, inner: torch.optim.Optimizer, name: str) -> None:
        self.param_groups = inner.param_groups
        setattr(self, name, inner)

    def step(self) -> None:  # type: ignore[override]
        next(value for name, value in vars(self).items() if name != "param_groups").step()


@pytest.mark.parametrize("name", ["optimizer", "original_optimizer", "optim"])
@pytest.mark.parametrize("deep", [1, 2])
def test_a_wrapper_of_an_optimizer_steps_when_what_it_holds_does(name: str, deep: int) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(deep):
        optimizer = Wrapper(optimizer, name)
    with leaky.watch(model, optimizer, report_every=5) as watch:
        for _ in range(20):
            model.zero_grad()
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
    assert watch.step_number == 20
    assert watch.history["1"]["update"].size == 4


def test_a_wrapper_that_holds_no_optimizer_is_refused() -> None:
    model = nn.Linear(2, 2)
    wrapper = Wrapper(torch.optim.SGD(model.parameters(), 0.1), "elsewhere")
    with pytest.raises(InputError, match=r"call watch\.step\(\)"):
        leaky.watch(model, wrapper)

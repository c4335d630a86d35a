"""What the loss does over a training, and how batches are drawn, each beside a training in which nothing is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky
from leaky.watching.course import Course, Draws

torch.set_num_threads(1)
ALARMS = ("rising-loss", "unshuffled", "starved", "tiny-updates", "update-size")


def network(act: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), act(), nn.Linear(32, 32), act(), nn.Linear(32, 4))


def told(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    batch: Callable[[int], tuple[Tensor, Tensor]],
    steps: int,
    before: Callable[[int], None] = lambda step: None,
) -> list[tuple[str, str]]:
    """The alarms of a training, with their levels."""
    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None, alarms=ALARMS) as watch:
        for step in range(steps):
            before(step)
            x, y = batch(step)
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()
    return [(alarm.finding.rule, alarm.finding.level) for alarm in watch.alarms]


def random_batches() -> Callable[[int], tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(1)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 16, generator=draw)
        return x, x[:, :4]

    return batch


class Turned(torch.autograd.Function):
    """The same value, with the derivative times a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * grad, None


@pytest.mark.parametrize(("factor", "said"), [(-1.0, [("rising-loss", "warning")]), (1.0, [])])
def test_a_loss_that_steps_raise_is_told(factor: float, said: list[tuple[str, str]]) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.03)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.mse_loss(Turned.apply(out, factor), y)

    assert set(told(model, optimizer, loss, random_batches(), 60)) == set(said)


def test_where_other_targets_raise_the_loss_at_one_stroke_it_is_told_at_level_info() -> None:
    model, batches = network(), random_batches()

    def batch(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x, y if step < 25 else 2 + 3 * y

    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    assert told(model, optimizer, functional.mse_loss, batch, 60) == [("rising-loss", "info")]


@pytest.mark.parametrize(("between", "jumped"), [(0, True), (2, True), (3, False), (20, False)])
def test_a_rise_with_hardly_a_loss_on_the_way_is_a_jump(between: int, jumped: bool) -> None:
    course = Course()
    for loss in (*[1.0, 1.1] * 10, *np.linspace(1.5, 1.6, between), *[2.0, 2.1] * 10):
        course.add(float(loss))
    assert course.rise is not None
    assert course.rise.stays
    assert course.rise.jumped == jumped


def test_where_another_network_raises_the_loss_it_is_told_at_level_info() -> None:
    model, other = network(), nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4)
    with torch.no_grad():
        other.bias.zero_()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return other(out).square().mean()

    def before(step: int) -> None:
        with torch.no_grad():
            other.bias += 0.2

    assert told(model, optimizer, loss, random_batches(), 40, before) == [("rising-loss", "info")]


@pytest.mark.parametrize("sorted_too", [True, False])
def test_samples_that_come_in_an_order_are_told(sorted_too: bool) -> None:
    model, draw = network(), torch.Generator().manual_seed(2)
    centres = 2 * torch.randn(4, 16, generator=draw)
    y = torch.arange(4).repeat_interleave(640)
    y = y if sorted_too else y[torch.randperm(len(y), generator=draw)]
    x = centres[y] + torch.randn(len(y), 16, generator=draw)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.5)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        at = slice(64 * (step % 40), 64 * (step % 40 + 1))
        return x[at], y[at]

    found = told(model, optimizer, functional.cross_entropy, batch, 60)
    assert (("unshuffled", "warning") in found) == sorted_too
    if not sorted_too:
        assert found == []


class Gated(nn.Module):
    """Two branches, one behind a gate."""

    def __init__(self, opening: float) -> None:
        super().__init__()
        self.wide, self.through, self.opening = network(), nn.Linear(16, 4), opening

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.wide(x) + self.opening * self.through(x)
        return out


@pytest.mark.parametrize(("opening", "said"), [(1e-6, [("starved", "info")]), (0.1, [])])
def test_weights_behind_a_shut_gate_are_told(opening: float, said: list[tuple[str, str]]) -> None:
    model = Gated(opening)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    assert told(model, optimizer, functional.mse_loss, random_batches(), 60) == said


@pytest.mark.parametrize(("falls", "said"), [(0.5, [("tiny-updates", "warning")]), (0.99, [])])
def test_a_rate_that_falls_before_anything_is_learned_is_told(falls: float, said: list[tuple[str, str]]) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] *= falls

    assert told(model, optimizer, functional.mse_loss, random_batches(), 90, before) == said


@pytest.mark.parametrize(("rate", "said"), [(30.0, True), (0.05, False)])
def test_a_model_without_sites_that_a_step_throws_far_is_told(rate: float, said: bool) -> None:
    model = network(nn.Tanh)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    found = told(model, optimizer, functional.mse_loss, random_batches(), 12)
    assert (("update-size", "error") in found) == said


@pytest.mark.parametrize(("sign", "level"), [(1.0, "info"), (-1.0, "warning")])
def test_a_first_step_that_is_long_and_lowers_the_loss_does_no_harm(sign: float, level: str) -> None:
    model = network()
    optimizer = torch.optim.Adagrad(model.parameters(), 0.05)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return 1e3 * functional.mse_loss(Turned.apply(out, sign), y + 3)

    found = told(model, optimizer, loss, random_batches(), 10)
    assert {told_level for rule, told_level in found if rule == "update-size"} == {level}


def test_the_rise_of_a_loss_is_what_numpy_makes_of_it() -> None:
    draw = np.random.default_rng(0)
    losses = np.concatenate([np.linspace(3, 1, 30), 0.8 + 0.1 * draw.random(10), 4 + 0.1 * draw.random(10)])
    course = Course()
    for loss in losses:
        course.add(float(loss))
    course.add(math.nan)
    rise = course.rise
    assert rise is not None
    low, now = losses[30:40], losses[40:]
    assert rise.by == pytest.approx(now.mean() - low.mean())
    assert rise.gained == pytest.approx(losses[:5].mean() - low.mean())
    assert rise.error == pytest.approx(math.sqrt(low.var(ddof=1) / 10 + now.var(ddof=1) / 10))
    assert rise.stays
    assert course.seen == 50


def test_batches_drawn_at_random_differ_by_chance_and_sorted_ones_by_far_more() -> None:
    draw = np.random.default_rng(1)
    for order, low, high in ((False, 0.5, 2.0), (True, 20.0, 1e9)):
        draws = Draws()
        for batch in range(40):
            x = draw.normal(size=(32, 8)) + (batch // 10 if order else 0)
            draws.add(x)
        assert low < draws.ratio < high
    assert math.isnan(Draws().ratio)

"""Alarms on quantities of any training, each beside a training of the same form in which nothing is wrong."""

from __future__ import annotations

import copy
import math
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky
from leaky.watching.alarm import AlarmWarning
from leaky.watching.weights import Series, Weights

torch.set_num_threads(1)

NEW = (
    "changed-aside", "rising-rate", "steady-updates", "tiny-updates", "to-and-fro", "weight-size", "pressed",
    "same-units", "alike",
)  # fmt: skip


def network(act: Callable[[], nn.Module] = nn.ReLU, scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), act(), nn.Linear(32, 32), act(), nn.Linear(32, 4))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.mul_(scale)
    return model


def trained(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    before: Callable[[int], None] = lambda step: None,
    loss_of: Callable[[Tensor, Tensor], Tensor] = functional.mse_loss,
    inputs: Callable[[Tensor], Tensor] = lambda x: x,
    steps: int = 70,
) -> Any:
    """A regression on four of the features; the rules and sites told of, in order."""
    draw = torch.Generator().manual_seed(1)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, alarms=NEW) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for step in range(steps):
            before(step)
            x = torch.randn(64, 16, generator=draw)
            optimizer.zero_grad()
            loss_of(model(inputs(x)), x[:, :4]).backward()
            optimizer.step()
    return [(alarm.finding.rule, alarm.finding.site) for alarm in watch.alarms], watch


def sgd(model: nn.Module, rate: float = 0.05, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, **options)


def test_of_a_training_that_goes_well_nothing_is_said() -> None:
    model = network()
    assert trained(model, sgd(model, momentum=0.9))[0] == []


@pytest.mark.parametrize(("factor", "told"), [(1.02, True), (0.98, True), (1.001, False), (1.0, False)])
def test_weights_that_are_scaled_in_the_loop_are_told_at_the_first_report(factor: float, told: bool) -> None:
    model = network()

    def before(step: int) -> None:
        with torch.no_grad():
            model[2].weight.mul_(factor)

    found, watch = trained(model, sgd(model, 1e-3), before, steps=12)
    assert found == [("changed-aside", None)] * told
    if told:
        assert watch.alarms[0].step == 9
        assert "'2.weight'" in watch.alarms[0].finding.message


@pytest.mark.parametrize(("period", "told"), [(1, True), (5, False), (10, False)])
def test_weights_that_are_scaled_now_and_then_are_let_alone_though_it_is_as_often_as_reports(
    period: int, told: bool
) -> None:
    """As where several steps lead to a task, and a part of the way is kept: at each report something has been done."""
    model = network()

    def before(step: int) -> None:
        with torch.no_grad():
            model[2].weight.mul_(0.96 if step and step % period == 0 else 1.0)

    found, watch = trained(model, sgd(model, 1e-3), before, steps=120)
    assert (("changed-aside", None) in found) == told
    assert np.isfinite(watch.history["1"]["update"]).all()


def test_weights_that_are_held_to_a_norm_are_let_alone() -> None:
    model = network()
    norm = model[2].weight.detach().norm()

    def before(step: int) -> None:
        with torch.no_grad():
            model[2].weight.mul_(norm / model[2].weight.norm())

    grows = torch.optim.SGD([{"params": model.parameters(), "weight_decay": 0.0}], 0.05)
    grows.param_groups[0]["weight_decay"] = -0.4  # by 2% a step, which the loop takes back
    assert trained(model[:], grows, before, steps=12)[0] == []


def test_weights_that_are_held_within_a_bound_are_let_alone() -> None:
    model = network()

    def before(step: int) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                weight.clamp_(-0.05, 0.05)

    assert trained(model, torch.optim.RMSprop(model.parameters(), 5e-4), before, steps=60)[0] == []


def test_weights_that_all_lie_at_a_bound_and_are_pushed_beyond_it_are_let_alone() -> None:
    model = network()

    def before(step: int) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                weight.clamp_(-0.05, 0.05)

    def pushed(out: Tensor, _: Tensor) -> Tensor:
        return -10 * sum((weight * weight.sign().detach()).sum() for weight in model.parameters()) + 0 * out.sum()

    assert trained(model, sgd(model, 1e-4), before, loss_of=pushed, steps=60)[0] == []


@pytest.mark.parametrize(
    ("kept", "every", "told"), [(0.001, 1, True), (0.05, 1, True), (0.5, 1, False), (0.5, 5, False)]
)
def test_steps_that_are_taken_back_are_told_and_those_that_look_ahead_are_not(
    kept: float, every: int, told: bool
) -> None:
    model = network()
    slow = [weight.detach().clone() for weight in model.parameters()]

    def before(step: int) -> None:
        with torch.no_grad():
            for mean, weight in zip(slow, model.parameters() if step % every == 0 else (), strict=False):
                weight.copy_(mean.lerp_(weight, kept))

    found, watch = trained(model, sgd(model, 0.01, momentum=0.9), before, steps=120)
    assert found == [("changed-aside", None)] * told
    assert not told or "takes back" in watch.alarms[0].finding.message


@pytest.mark.parametrize(("decay", "told"), [(0.8, True), (0.05, False)])
def test_decay_that_takes_a_steady_part_of_every_weight_is_told(decay: float, told: bool) -> None:
    model = network()
    found, _ = trained(model, sgd(model, 0.05, weight_decay=decay))
    assert (("weight-size", None) in found) == told


@pytest.mark.parametrize(("rate", "told"), [(1e-7, True), (0.0, True), (1e-3, False)])
def test_steps_that_change_no_weight_to_speak_of_are_told(rate: float, told: bool) -> None:
    model = network()
    found, watch = trained(model, sgd(model, rate))
    assert found == [("tiny-updates", None)] * told
    if told:
        assert ("no step has changed any weight" in watch.alarms[0].finding.message) == told
        assert watch.alarms[0].step == 49


class Half(nn.Module):
    """A network whose weights keep eight bits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network().bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x.bfloat16())
        return out.float()


@pytest.mark.parametrize(("rate", "told"), [(1e-4, True), (5e-2, False)])
def test_steps_that_half_precision_rounds_away_are_told(rate: float, told: bool) -> None:
    model = Half()
    found, watch = trained(model, sgd(model, rate))
    assert found == [("tiny-updates", None)] * told
    if told:
        assert "less than half of the last digit" in watch.alarms[0].finding.message
        assert 0 < watch.alarms[0].finding.evidence["moved"] < 0.03
        assert max(watch.history["net.1"]["update"]) > 1e-6, "what is left of the steps is not tiny"


def test_of_a_rate_that_still_rises_nothing_is_said() -> None:
    model = Half()
    optimizer = sgd(model, 1e-5)

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 1e-6 * (step + 1)

    assert trained(model, optimizer, before)[0] == []


@pytest.mark.parametrize(("rate", "told"), [(1.0, True), (0.1, False)])
def test_weights_that_go_to_and_fro_are_told(rate: float, told: bool) -> None:
    """On f(w) = |w|²/2·λ a step at rate 2/λ goes to the other side and stays as far away."""
    model = network()
    held = torch.randn(64, 16, generator=torch.Generator().manual_seed(4))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return 0 * out.mean() + sum(p.square().sum() for p in model.parameters())

    found, _ = trained(model, sgd(model, rate), loss_of=loss, inputs=lambda x: held, steps=52)
    assert (("to-and-fro", None) in found) == told


def test_a_loss_that_is_not_finite_is_told_at_its_step_though_every_value_is() -> None:
    model = network()
    optimizer, x = sgd(model, 1e-3), torch.randn(64, 16)
    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None, alarms=["non-finite"]) as watch:
        for step in range(20):
            optimizer.zero_grad()
            loss = (model(x) * (math.nan if step == 13 else 1.0)).mean()
            loss.backward()
            optimizer.step()
    first = watch.alarms[0]
    assert (first.step, first.finding.site) == (13, "3")
    assert "the gradient that arrives is NaN or infinite, in batch 14, though every value is" in first.finding.message


def test_an_optimizer_of_another_copy_is_told() -> None:
    model = network()
    found, watch = trained(model, sgd(copy.deepcopy(model)))
    assert found == [("tiny-updates", None)]
    assert "not those of a copy" in watch.alarms[0].finding.advice


def test_where_a_part_alone_is_trained_the_rest_is_not_blamed() -> None:
    model = network()
    assert trained(model, torch.optim.SGD(model[4].parameters(), 0.05))[0] == []


def test_steps_that_stay_long_are_told_and_with_a_rate_that_rose_that_one() -> None:
    def wild(out: Tensor, y: Tensor) -> Tensor:
        return (out * torch.randn(out.shape, generator=draw)).mean()

    draw = torch.Generator().manual_seed(2)
    model = network()
    found, _ = trained(model, torch.optim.Adam(model.parameters(), 0.2, betas=(0.0, 0.9)), loss_of=wild)
    assert ("steady-updates", None) in found
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, betas=(0.0, 0.9))

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 2e-3 * (step + 1)

    found, watch = trained(model, optimizer, before, wild)
    assert ("rising-rate", None) in found
    assert "one step after another" in watch.alarms[0].finding.message


@pytest.mark.parametrize(
    ("power", "weight", "told"), [(1, 1.0, ["1", "3"]), (1, 1e-4, []), (2, 1.0, ["1"]), (2, 1e-4, [])]
)
def test_a_penalty_that_outweighs_the_loss_is_told_where_it_presses(power: int, weight: float, told: list[str]) -> None:
    model = network(nn.GELU)
    shown: list[Tensor] = []
    for place in (1, 3):
        model[place].register_forward_hook(lambda module, args, output: shown.append(output))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        hidden, shown[:] = shown[:], []
        return functional.mse_loss(out, y) + weight * sum(each.abs().pow(power).sum(1).mean() for each in hidden)

    found, _ = trained(model, torch.optim.Adam(model.parameters(), 3e-3), loss_of=loss, steps=60)
    assert [site for rule, site in found if rule == "pressed"] == told


@pytest.mark.parametrize(("value", "told"), [(0.05, ["1", "3"]), (None, [])])
def test_units_that_begin_the_same_are_told_as_one(value: float | None, told: list[str]) -> None:
    model = network()
    if value is not None:
        for parameter in model.parameters():
            nn.init.constant_(parameter, value)
    found, _ = trained(model, sgd(model), steps=40)
    assert [site for rule, site in found if rule == "same-units"] == told


def test_samples_that_all_look_the_same_are_told_at_the_first_site_where_they_do() -> None:
    model = network()
    same = torch.randn(1, 16, generator=torch.Generator().manual_seed(3))
    found, _ = trained(model, sgd(model, 0.01), inputs=lambda x: same.expand(64, 16) + 0.01 * x, steps=40)
    assert ("alike", "1") in found
    assert ("alike", "3") not in found


def test_the_speed_of_a_weight_is_its_growth_a_step_however_often_a_report_is_made() -> None:
    weights = Weights({"w": 9})
    for report in range(6):
        size = 2.0 * math.exp(0.02 * 7 * report)
        square = 4 * size**2
        weights.add(
            {"w": [np.array([0.01 * square, square, 4, 0.5 * square, -0.1 * square, 0, 3, 4, 1, 4, 1, 3, -2, 9])]},
            7 * report,
        )
    series = weights["w"]
    assert series.speeds(4) == pytest.approx([0.02] * 4)
    assert series.gain == pytest.approx(3 * 2 * math.exp(0.7))
    assert series.longest == deque([pytest.approx(0.1)] * 6)
    assert (series.most, series.reports) == (pytest.approx(0.1), 6)
    assert (series.grown[0], series.aside[0]) == pytest.approx((0.5, -0.1))
    assert series.undone[0] == pytest.approx([0.75, 0.5, 1 / 3])
    assert len(Series(1).speeds(1)) == 0


def test_a_weight_that_begins_at_nothing_may_take_long_steps() -> None:
    model = network()
    with torch.no_grad():
        model[2].weight.zero_()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with leaky.watch(model, optimizer, alarms=["update-size"]) as watch:
        for _ in range(12):
            optimizer.zero_grad()
            model(torch.ones(4, 16)).square().sum().backward()
            optimizer.step()
    assert watch.alarms == []
    assert 0 < watch.history["3"]["update"][0] <= 1.01e-3 * math.sqrt(32) / 0.1

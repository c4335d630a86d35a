"""What comes out of a training: whether a model tells samples apart, whether its loss is a number, what it asks for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky
from leaky.watching.alarm_rules.now import Look
from leaky.watching.clock import Clock
from leaky.watching.losses import Losses
from leaky.watching.watch import Watch

torch.set_num_threads(1)
ALARMS = ("alike", "cut-off", "non-finite", "drift")


class Wrapped(nn.Module):
    """A network that gives what it says in a mapping, after numbers that are the same for all samples."""

    def __init__(self, outputs: int = 6) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, outputs))
        self.same = nn.Parameter(torch.ones(16))

    def forward(self, x: Tensor) -> dict[str, Any]:
        return {"same": self.same * 2, "pair": (self.net(x), x)}


def trained(loss_of: Any, steps: int = 120, rate: float = 0.05, model: nn.Module | None = None) -> Watch:
    """A training of a network on noise, by a loss of what it says and what went in."""
    model = Wrapped() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    draw = torch.Generator().manual_seed(1)
    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None, alarms=ALARMS) as watch:
        for _ in range(steps):
            x = torch.randn(32, 8, generator=draw)
            optimizer.zero_grad()
            out = model(x)
            loss_of(out["pair"][0] if isinstance(out, dict) else out, x).backward()
            optimizer.step()
    return watch


def told(watch: Watch) -> list[tuple[str, str | None]]:
    return [(alarm.finding.rule, alarm.finding.site) for alarm in watch.alarms]


def looks(watch: Watch) -> tuple[Look, ...]:
    return watch.observer.outcomes.looks


def attracted(out: Tensor, x: Tensor) -> Tensor:
    """All outputs are drawn to one another."""
    left, right = out.chunk(2)
    return (left - right).square().mean()


def held_apart(out: Tensor, x: Tensor) -> Tensor:
    """And each away from others."""
    return attracted(out, x) + functional.relu(0.3 - out.std(0)).mean()


def test_a_model_that_gives_the_same_for_all_samples_is_told_and_one_that_holds_them_apart_is_not() -> None:
    watch = trained(attracted)
    assert told(watch) == [("alike", None)]
    assert "gives nearly the same for every sample" in watch.alarms[0].finding.message
    assert told(trained(held_apart)) == []


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_targets_far_from_0_are_learned_in_peace(offset: float) -> None:
    watch = trained(lambda out, x: functional.mse_loss(out, offset + x[:, :6]), rate=0.005)
    assert told(watch) == []
    assert (looks(watch)[-1].alike > 0.9) == (offset > 0), "the output is as alike as its targets are"


def test_a_model_that_begins_with_the_frequency_of_classes_is_let_alone() -> None:
    model = Wrapped()
    with torch.no_grad():
        model.net[4].bias.fill_(-4.6)

    def loss(out: Tensor, x: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(out, (x[:, :6] > 2).float())

    watch = trained(loss, rate=0.01, model=model)
    assert told(watch) == []


def test_a_look_holds_what_numpy_makes_of_the_first_output_of_each_sample() -> None:
    model, given = Wrapped(), []
    model.net.register_forward_hook(lambda module, args, output: given.append(output.detach().double().numpy()))
    watch = trained(lambda out, x: out.square().mean(), steps=40, model=model)
    at = [1, 10, 20, 30]  # the first pass is traced, and then the first of each report
    assert len(looks(watch)) == len(at)
    for look, step in zip(looks(watch), at, strict=True):
        y = given[step]
        shares = np.sort(y.mean(axis=0) ** 2 / (y**2).mean(axis=0))
        assert look.alike == pytest.approx(shares[2], rel=1e-5)  # torch's median of six is the third
        assert (look.variance, look.square) == pytest.approx((y.var(axis=0).mean(), (y**2).mean()), rel=1e-5)


def test_an_output_of_few_numbers_or_of_few_samples_is_not_looked_at() -> None:
    assert looks(trained(lambda out, x: out.mean(), steps=30, model=Wrapped(3))) == ()
    model = Wrapped()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with leaky.watch(model, optimizer) as watch:
        for _ in range(30):
            optimizer.zero_grad()
            model(torch.randn(7, 8))["pair"][0].mean().backward()
            optimizer.step()
    assert looks(watch) == ()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_told_at_its_step_though_its_gradient_is_finite(value: float) -> None:
    steps = iter(range(100))

    def loss(out: Tensor, x: Tensor) -> Tensor:
        return out.mean() + (value if next(steps) == 13 else 0.0)

    watch = trained(loss, steps=20, rate=1e-3)
    assert told(watch) == [("non-finite", None)]
    assert watch.alarms[0].step == 13
    assert "the loss is NaN or infinite, in batch 14" in watch.alarms[0].finding.message


@pytest.mark.parametrize(("since", "told_at"), [(113, [119]), (119, [119]), (99, [99])])
def test_later_a_loss_is_looked_at_once_a_report(since: int, told_at: list[int]) -> None:
    steps = iter(range(200))

    def loss(out: Tensor, x: Tensor) -> Tensor:
        return out.mean() + (math.nan if next(steps) >= since else 0.0)

    watch = trained(loss, steps=125, rate=1e-3)
    assert [alarm.step for alarm in watch.alarms] == told_at


def test_of_a_loss_under_a_scaler_or_on_steps_that_are_not_watched_nothing_is_said() -> None:
    model = Wrapped()
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    for options in ({"scaler": scaler}, {"every": lambda step: step != 13}):
        with leaky.watch(model, optimizer, on_alarm=lambda alarm: None, **options) as watch:
            for step in range(20):
                optimizer.zero_grad()
                (model(torch.randn(16, 8))["pair"][0].mean() + (math.nan if step == 13 else 0.0)).backward()
                optimizer.step()
        assert [alarm for alarm in watch.alarms if alarm.finding.rule == "non-finite"] == []


def test_when_a_watch_has_ended_nothing_looks_at_losses_any_more() -> None:
    model, clock = nn.Linear(3, 1), Clock(lambda error: pytest.fail(str(error)))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    losses = Losses(optimizer, clock)
    losses.listen(True)
    (model(torch.ones(2, 3)).sum() * 1.0).backward()
    assert not losses.ill
    losses.listen(False)
    (model(torch.ones(2, 3)).sum() + math.nan).backward()
    assert not losses.ill
    losses.listen(True)
    (model(torch.ones(2, 3)).sum() + math.nan).backward()
    assert losses.ill
    assert clock.nonfinite


def test_where_the_last_parameter_gets_no_gradient_another_tells_of_the_loss() -> None:
    model, clock = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)]), Clock(lambda error: pytest.fail(str(error)))
    losses = Losses(torch.optim.SGD(model.parameters(), 1e-3), clock)
    for told in (False, True):
        losses.listen(True)
        (model[0](torch.ones(2, 3)).sum() + math.nan).backward()
        assert losses.ill == told, "who is reached is known after the first step"


class Coder(nn.Module):
    """A code between two halves, and the square of its size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.code = nn.Linear(32, 8)
        self.leave = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 8))
        self.weight = 0.0

    def forward(self, x: Tensor) -> Tensor:
        code = self.code(self.enter(x))
        self.pressure = self.weight * code.square().sum(1).mean()
        return self.leave(code + 0.1 * torch.randn_like(code))


@pytest.mark.parametrize(("weight", "sites"), [(30.0, ["enter.1"]), (1e-3, [])])
def test_a_part_that_a_penalty_shuts_off_is_told_as_cut_off(weight: float, sites: list[str]) -> None:
    model = Coder()
    model.weight = weight
    watch = trained(lambda out, x: functional.mse_loss(out, x) + model.pressure, 150, 3e-3, model)
    assert [alarm.finding.site for alarm in watch.alarms if alarm.finding.rule == "cut-off"] == sites


def test_a_gradient_that_was_far_too_large_at_first_alone_is_not_cut_off() -> None:
    model = Coder()

    def loss(out: Tensor, x: Tensor) -> Tensor:
        return functional.mse_loss(out, x) + next(scales) * model.enter_output.square().mean()

    scales = iter([1e3] * 10 + [1.0] * 200)
    model.enter.register_forward_hook(lambda module, inputs, output: setattr(model, "enter_output", output))
    watch = trained(loss, 150, 1e-6, model)
    share = (watch.history["enter.1"]["gradient"] / watch.history["leave.1"]["gradient"]) ** 2
    assert share[-3:].max() < 0.03 * share[0]
    assert [alarm.finding.rule for alarm in watch.alarms if alarm.finding.rule == "cut-off"] == []


@pytest.mark.parametrize(("first", "factor", "said"), [(1e-3, 200.0, False), (1.0, 200.0, True), (1e-3, 1e5, True)])
def test_a_range_may_grow_up_to_what_networks_have(first: float, factor: float, said: bool) -> None:
    """E z² grows by the square of a factor."""
    model = nn.Sequential(nn.Linear(8, 16, bias=False), nn.ReLU(), nn.Linear(16, 4))
    nn.init.normal_(model[0].weight, std=first / math.sqrt(8))
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None, alarms=["drift"]) as watch:
        for step in range(60):
            if step == 30:
                with torch.no_grad():
                    model[0].weight.mul_(factor)
            model(torch.randn(32, 8)).square().mean().backward()
            optimizer.step()
    assert bool(watch.alarms) == said

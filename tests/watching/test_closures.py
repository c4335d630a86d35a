"""Steps that are given a closure, as trainers do, are seen as those behind gradients that are there already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

import leaky

CALLS: dict[str, Any] = {
    "first": lambda optimizer, closure: optimizer.step(closure),
    "named": lambda optimizer, closure: optimizer.step(closure=closure),
    "before": lambda optimizer, closure: (closure(), optimizer.step()),
}


def watched(call: str, sign: float = 1.0, rate: float = 0.05) -> Any:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(model.parameters(), rate, momentum=0.9)
    draw = torch.Generator().manual_seed(1)
    with leaky.watch(model, optimizer, report_every=5, on_alarm=lambda alarm: None) as watch:
        for _ in range(60):
            x = torch.randn(64, 6, generator=draw)

            def closure(x: torch.Tensor = x) -> torch.Tensor:
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(model(x), x[:, :2].abs())
                loss.register_hook(lambda gradient: sign * gradient)
                loss.backward()
                return loss

            CALLS[call](optimizer, closure)
    return watch, [weight.detach() for weight in model.parameters()]


@pytest.mark.parametrize("call", ["first", "named"])
def test_a_closure_shows_what_gradients_that_are_there_before_the_step_show(call: str) -> None:
    (plain, theirs), (watch, mine) = watched("before"), watched(call)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert watch.step_number == plain.step_number == 60
    assert [str(alarm) for alarm in watch.alarms] == [str(alarm) for alarm in plain.alarms]
    for figure in ("update", "weight", "gradient", "rate"):
        np.testing.assert_array_equal(watch.history["1"][figure], plain.history["1"][figure], figure)


def test_a_loss_that_rises_in_a_closure_is_told() -> None:
    watch, _ = watched("first", -1.0, 2e-3)
    assert "rising-loss" in {alarm.finding.rule for alarm in watch.alarms}


def test_a_closure_that_is_called_again_within_a_step_makes_one_step() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), torch.randn(32, 4)
    optimizer, calls = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5), [0]

    def closure() -> torch.Tensor:
        calls[0] += 1
        optimizer.zero_grad()
        loss = (model(x) - x[:, :1]).square().mean()
        loss.backward()
        return loss

    with leaky.watch(model, optimizer, report_every=2, alarms=()) as watch:
        for _ in range(6):
            optimizer.step(closure)
    assert calls[0] > 12
    assert watch.step_number == 6
    assert (watch.history["1"]["update"] > 0).all()


@pytest.mark.parametrize(("make", "level"), [(torch.optim.LBFGS, "info"), (torch.optim.SGD, "error")])
def test_long_steps_of_an_optimizer_that_searches_by_the_loss_are_no_alarm(make: Any, level: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(512, 16)
    y = (x[:, :2].prod(1) > 0).long()
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = make(model.parameters(), 1.0 if make is torch.optim.LBFGS else 30.0)
    losses = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        losses.append(loss.item())
        return loss

    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None) as watch:
        for _ in range(10):
            optimizer.step(closure)
    long = [alarm.finding.level for alarm in watch.alarms if alarm.finding.rule == "update-size"]
    assert set(long) == {level}
    assert (losses[-1] < 0.1 * losses[0]) == (level == "info")


def test_a_compiled_step_of_the_optimizer_leaves_what_leaky_does_to_python() -> None:
    samples = []
    for compiles in (False, True):
        torch.manual_seed(0)
        torch._dynamo.reset()
        counters.clear()
        model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 1))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        step = torch.compile(optimizer.step, backend="eager") if compiles else optimizer.step
        with leaky.watch(model, optimizer, alarms=()) as watch:
            for _ in range(3):
                optimizer.zero_grad()
                model(torch.ones(6, 4)).sum().backward()
                step()
        (site,) = watch.record().sites
        samples.append((site.samples, watch.step_number, [p.tolist() for p in model.parameters()]))
        assert counters["stats"]["unique_graphs"] == compiles
    torch._dynamo.reset()
    assert samples[1] == samples[0]

"""Alarms that name a cause, each beside trainings of the same form that are well."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import leaky
from leaky.watching.alarm import AlarmWarning

torch.set_num_threads(1)


def rectified(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 16))


@pytest.mark.parametrize(("sinks", "told"), [(0.0, False), (0.03, True)])
def test_a_site_through_which_next_to_nothing_gets_any_more_is_told_though_its_units_fire(
    sinks: float, told: bool
) -> None:
    model, draw = rectified(), torch.Generator().manual_seed(1)
    shares: list[float] = []
    with warnings.catch_warnings(), leaky.watch(model, alarms=["fading"]) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for _ in range(100):
            with torch.no_grad():
                model[0].bias -= sinks
            x = torch.randn(64, 16, generator=draw)
            z = model[0](x).detach().double()
            shares.append(float(z.clamp(min=0).square().sum() / z.square().sum()))
            nn.functional.mse_loss(model(x), x).backward()
            watch.step()
    assert [alarm.finding.site for alarm in watch.alarms] == ["1"] * told
    if told:
        assert min(shares[watch.alarms[0].step - 15 : watch.alarms[0].step + 1]) < 1e-3 < shares[0]
        assert watch.history["1"]["silent"][watch.history.steps == watch.alarms[0].step] < 0.5


def test_a_site_that_let_little_through_from_the_start_does_not_fade() -> None:
    model, draw = rectified(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        model[0].bias -= 2.5
    with leaky.watch(model, alarms=["fading"]) as watch:
        for _ in range(60):
            x = torch.randn(64, 16, generator=draw)
            nn.functional.mse_loss(model(x), x).backward()
            watch.step()
    assert watch.alarms == []


def left_alone(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    backward()


def accumulated(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    backward()
    backward()


def clipped(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)


def zeroed_but_for_one(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    for parameter in list(model.parameters())[:-1]:
        parameter.grad = None
    backward()


def zeroed(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    optimizer.zero_grad()
    backward()


def zeroed_in_place(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    model.zero_grad(set_to_none=False)
    backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)


def zeroed_and_accumulated(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    optimizer.zero_grad(set_to_none=False)
    backward()
    backward()


def zeroed_after_a_gradient_for_another(
    model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]
) -> None:
    backward()
    optimizer.zero_grad(set_to_none=False)
    backward()


def decayed(model: nn.Module, optimizer: torch.optim.Optimizer, backward: Callable[[], None]) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(0.9)
    backward()


@pytest.mark.parametrize(
    ("loop", "told", "compiled"),
    [
        (left_alone, True, False), (zeroed_but_for_one, True, False), (accumulated, True, False),
        (clipped, True, False), (zeroed, False, False),
        (zeroed_in_place, False, False), (zeroed_and_accumulated, False, False), (decayed, False, False),
        (zeroed_after_a_gradient_for_another, False, False), (left_alone, True, True), (zeroed, False, True),
    ],
)  # fmt: skip
def test_a_gradient_that_nobody_zeroes_is_told_in_the_first_report(loop: Any, told: bool, compiled: bool) -> None:
    model, draw = rectified(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    run = torch.compile(model, backend="aot_eager") if compiled else model

    def backward() -> None:
        x = torch.randn(64, 16, generator=draw)
        nn.functional.mse_loss(run(x), x).backward()

    with warnings.catch_warnings(), leaky.watch(model, optimizer, alarms=["never-zeroed"]) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for _ in range(25):
            loop(model, optimizer, backward)
            optimizer.step()
    assert [alarm.step for alarm in watch.alarms] == [9] * told


@pytest.mark.parametrize(("factor", "grows", "told"), [(1.05, 1.0, False), (1.05, 1.1, True), (1.0, 1.1, False)])
def test_a_rate_that_rises_is_blamed_only_where_ranges_grow_by_orders_of_magnitude_with_it(
    factor: float, grows: float, told: bool
) -> None:
    model, draw = rectified(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, alarms=["rising-rate", "drift"]) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for _ in range(80):
            with torch.no_grad():
                model[0].weight *= grows
            x = torch.randn(64, 16, generator=draw)
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), x).backward()
            optimizer.step()
            optimizer.param_groups[0]["lr"] *= factor
    drifts = ["drift"] if grows > 1 else []
    assert [alarm.finding.rule for alarm in watch.alarms] == ["rising-rate"] * told + drifts
    if told:
        first = watch.alarms[0]
        assert first.finding.evidence["rise"] == pytest.approx(factor**first.step)


class Last(nn.Module):
    """Something recurrent or a normalisation over a series, and a rectified head on what it gives last."""

    def __init__(self, front: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.front, self.body, self.act, self.head = front(), nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.front(x)
        return self.head(self.act(self.body(out[0][:, -1] if isinstance(out, tuple) else out.flatten(1))))


@pytest.mark.parametrize(
    ("front", "scale", "told"),
    [
        (lambda: nn.GRU(1, 12, batch_first=True), 800.0, True),
        (lambda: nn.LSTM(1, 12, batch_first=True), 800.0, True),
        (lambda: nn.RNN(1, 12, batch_first=True), 800.0, True),
        (lambda: nn.GRU(1, 12, batch_first=True), 1.0, False),
        (lambda: nn.LayerNorm((12, 1)), 800.0, False),
    ],
    ids=["gru", "lstm", "rnn", "gru, scaled", "normalised"],
)
def test_a_large_input_is_a_warning_where_nothing_tells_its_samples_apart_any_more(
    front: Callable[[], nn.Module], scale: float, told: bool
) -> None:
    torch.manual_seed(0)
    model, draw = Last(front), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with warnings.catch_warnings(), leaky.watch(model, optimizer, alarms=["input"]) as watch:
        warnings.simplefilter("ignore", AlarmWarning)
        for _ in range(40):
            x = torch.randn(32, 12, 1, generator=draw)
            optimizer.zero_grad()
            nn.functional.mse_loss(model((x / 40 + 1) * scale if scale > 1 else x), x[:, -1]).backward()
            optimizer.step()
    assert ["warning" in {alarm.finding.level for alarm in watch.alarms}] == [told]


class Gated(nn.Module):
    """A GRU with a rectified head."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.body = nn.GRU(4, 24, batch_first=True), nn.Linear(24, 24)
        self.act, self.head = nn.ReLU(), nn.Linear(24, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.act(self.body(self.cell(x)[0][:, -1])))


@pytest.mark.parametrize(
    ("born", "killed", "told"),
    [(0, 0, []), (12, 0, []), (12, 1, []), (0, 12, ["warning"]), (4, 14, ["error"]), (0, 24, ["error"])],
    ids=["healthy", "born half dead", "one more", "half die", "most of the rest die", "all die"],
)
def test_units_behind_a_gru_that_die_are_told_and_those_born_dead_are_not(
    born: int, killed: int, told: list[str]
) -> None:
    """A unit is killed by a bias that no gradient takes back; the healthy twin learns the same sums of a sequence."""
    torch.manual_seed(0)
    model, draw = Gated(), torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    with torch.no_grad():
        model.body.bias[:] = 0.5
        model.body.bias[:born] = -100.0
    with leaky.watch(model, optimizer, on_alarm=lambda alarm: None, alarms=["dead"]) as watch:
        for step in range(120):
            with torch.no_grad():
                model.body.bias[born : born + (step >= 60) * killed] = -100.0
            x = torch.randn(32, 16, 4, generator=draw)
            loss = nn.functional.cross_entropy(model(x), (x[:, :, 0].sum(1) > 0).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    loud = [alarm for alarm in watch.alarms if alarm.finding.level != "info"]
    assert [(alarm.finding.site, alarm.finding.level) for alarm in loud] == [("act", level) for level in told]
    assert all(alarm.step >= 60 for alarm in loud)
    assert watch.history["act"]["dead"][-1] == (born + killed) / 24
    if not killed:
        assert sum(losses[-10:]) < 0.6 * sum(losses[:10])

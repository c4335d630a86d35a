"""Alarms that name a cause: what presses an output to nothing, each beside a training to which it does not happen."""

from __future__ import annotations

import warnings

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

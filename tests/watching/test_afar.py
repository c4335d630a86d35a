"""On a device that would have to be waited for, sums stay there until a report: the same ones as on the host.

A model on "meta" computes everything but has no values: whoever asks for one there raises.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from tests.watching.networks import SHAPES, made, train
from torch import nn

import leaky
from leaky.watching import afar, optimizers, sums
from leaky.watching.watch import Watch

COUNTED = ("counts", "fired", "nonfinite", "minimum", "maximum", "last_fired", "samples")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the CPU are taken for those of a device that would have to be waited for."""
    monkeypatch.setattr(sums, "dense", lambda value, layout: None)
    monkeypatch.setattr(sums, "waits", lambda device: True)


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The device has no float64."""
    for module in (afar, sums):
        monkeypatch.setattr(module, "precision", lambda device: torch.float32)
    return


@pytest.mark.parametrize("name", SHAPES)
def test_no_value_is_asked_for_between_reports(name: str) -> None:
    model, data = made(name)
    model = model.to("meta")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    watch = leaky.watch(model, optimizer, report_every=100).start()
    try:
        train(model, optimizer, data.to("meta"), 3)
        optimizer.param_groups[0]["lr"] = 0.05  # steps after a rise of the rate are measured, as the first ones are
        train(model, optimizer, data.to("meta"), 3)
        assert not watch.notes
        assert watch.observer.sites
        for site in watch.observer.sites.values():
            assert site.afar is not None
            assert not site.rows.seen[:12].any()
            assert site.rows.gradient_samples > 0
    finally:
        watch.let_go()


def watched(name: str, steps: int = 7) -> Watch:
    """A short training with a report every third step."""
    model, data = made(name)
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with leaky.watch(model, optimizer, report_every=3, alarms=()) as watch:
        train(model, optimizer, data, steps)
    return watch


@pytest.mark.parametrize("name", SHAPES)
def test_the_sums_are_those_of_the_host(name: str, request: pytest.FixtureRequest) -> None:
    here = watched(name)
    request.getfixturevalue("away")
    there = watched(name)
    assert all(site.afar is not None for site in there.observer.sites.values())
    assert here.history.steps.tolist() == there.history.steps.tolist()
    for mine, theirs in zip(here.record().sites, there.record().sites, strict=True):
        left, right = mine.statistics, theirs.statistics
        for figure in COUNTED:
            np.testing.assert_array_equal(getattr(left, figure), getattr(right, figure), figure)
        for figure in ("sums", "squares", "output_squares"):
            if getattr(left, figure) is not None:
                np.testing.assert_allclose(getattr(left, figure), getattr(right, figure), 1e-6, 1e-6, err_msg=figure)
        assert left.gradient is not None
        assert right.gradient is not None
        np.testing.assert_allclose(left.gradient.absolute_sums, right.gradient.absolute_sums, 1e-5, 1e-9)
        np.testing.assert_allclose(left.gradient.squares, right.gradient.squares, 1e-5, 1e-12)


@pytest.mark.usefixtures("single")
def test_a_pair_of_single_numbers_loses_nothing_over_a_long_run() -> None:
    total = afar.Total(1, 1, torch.device("cpu"))
    for _ in range(1000):
        total.add(torch.full((1, 1), 2.0**24))
        total.add(torch.ones(1, 1))
    (value,) = total.read(iter([part.double().numpy().ravel() for part in total.parts()])).ravel()
    assert value == 1000 * 2.0**24 + 1000


@pytest.mark.usefixtures("away")
def test_a_report_brings_everything_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    brought: list[int] = []
    read = torch.Tensor.cpu
    with leaky.watch(model, optimizer, report_every=100, alarms=()) as watch:
        train(model, optimizer, data, 5)
        monkeypatch.setattr(torch.Tensor, "cpu", lambda self: brought.append(self.numel()) or read(self))
        watch.observer.bring()
        monkeypatch.undo()
    assert len(brought) == 1


@pytest.mark.usefixtures("away")
def test_the_first_site_and_batch_with_nan_are_told_at_the_next_report() -> None:
    class Sick(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.steps = nn.Linear(4, 4), nn.Linear(4, 4), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.steps += 1
            h = torch.relu(self.first(x))
            return torch.relu(self.second(h / 0.0 if self.steps == 4 else h))

    torch.manual_seed(0)
    model = Sick()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with leaky.watch(model, optimizer, report_every=10, on_alarm=lambda alarm: None) as watch:
        for _ in range(10):
            optimizer.zero_grad()
            model(torch.randn(8, 4)).sum().backward()
            optimizer.step()
    alarm = next(each for each in watch.alarms if each.finding.rule == "non-finite")
    assert alarm.finding.site == list(watch.history.units)[1]  # the weights of both are NaN from the next batch on
    assert "in batch 4" in alarm.finding.message


@pytest.mark.parametrize("brought", [False, True])
def test_a_scale_is_taken_out_where_the_sums_are(brought: bool, request: pytest.FixtureRequest) -> None:
    def squares() -> np.ndarray:
        model, data = made("mlp")
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
        with leaky.watch(model, optimizer, report_every=100, alarms=(), scaler=scaler) as watch:
            for _ in range(5):
                optimizer.zero_grad()
                scaler.scale(model(data).square().mean()).backward()
                if brought:
                    watch.record()
                scaler.step(optimizer)
                scaler.update()
        found = watch.record().sites[0].statistics.gradient
        assert found is not None
        return found.squares

    here = squares()
    request.getfixturevalue("away")
    np.testing.assert_allclose(squares(), here, 1e-5)


def test_the_updates_of_weights_on_a_device_come_with_the_next_report(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = []
    for far in (False, True):
        monkeypatch.setattr(optimizers, "waits", lambda device, far=far: far)
        model, data = made("mlp")
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        with leaky.watch(model, optimizer, report_every=3, alarms=()) as watch:
            train(model, optimizer, data, 7)
        figures.append([[site[name] for name in ("update", "weight")] for site in watch.history.values()])
    np.testing.assert_allclose(*figures, rtol=1e-6)
    assert np.isfinite(figures[0]).all()

"""Firing rates unit by unit over a training: against a count of its own, bounded, and checked when they are read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import leaky
from leaky.watching import unit_rates
from leaky.watching.unit_rates import MOST, UNSEEN, KeptMoments, UnitRates, levels


def test_the_rates_are_those_of_a_plain_count() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 2))
    with torch.no_grad():
        first = model[0]
        assert isinstance(first, nn.Linear)
        assert first.bias is not None
        first.bias[2] = -50.0  # never fires
        first.bias[3] = 50.0  # always does
    optimizer = torch.optim.SGD(model.parameters(), 1e-9)
    counted: list[np.ndarray] = []
    with leaky.watch(model, optimizer, report_every=2, alarms=[]) as watch:
        for _ in range(3):
            fired = np.zeros(9)
            for _ in range(2):
                data = torch.randn(40, 6)
                with torch.no_grad():
                    fired += (data @ first.weight.T + first.bias > 0).sum(0).numpy()
                optimizer.zero_grad()
                model(data).square().mean().backward()
                optimizer.step()
            counted.append(fired / 80)
    found = watch.run().unit_rates
    assert found is not None
    assert found.steps.tolist() == watch.history.steps.tolist()
    np.testing.assert_allclose(found.rates("1"), np.array(counted), atol=0.5 / MOST + 1e-12)
    assert (found.levels("1")[:, 2] == 0).all()
    assert (found.levels("1")[:, 3] == MOST).all()


def test_only_a_unit_that_never_fired_has_the_level_nothing() -> None:
    assert levels(np.array([0.0, 1.0, 999_999.0, 1e6]), 1e6).tolist() == [0, 1, MOST, MOST]
    assert levels(np.array([0.0, 1.0]), 0).tolist() == [UNSEEN, UNSEEN]


def test_moments_stay_few_and_spread_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_rates, "MOST_CELLS", 40)
    moments, kept = KeptMoments(), 0
    for step in range(1000):
        if moments.due():
            kept += 1
            moments.add(step, {"a": np.full(4, step % 255, np.uint8)})
    found = moments.document({"a": 4, "new": 2})
    assert found is not None
    gaps = np.diff(found.steps)
    assert 5 <= len(found.steps) <= 10
    assert len(set(gaps.tolist())) == 1
    assert kept < 100  # what a log is given does not grow with the steps
    assert found.levels("a")[:, 0].tolist() == (found.steps % 255).tolist()
    assert np.isnan(found.rates("new")).all()


@pytest.mark.parametrize("text", ["no base64!", "AAAA"])
def test_what_is_not_a_byte_a_unit_and_moment_is_refused(text: str) -> None:
    with pytest.raises(leaky.LeakyError, match="unit rates"):
        UnitRates(np.array([1, 2]), {"a": text})

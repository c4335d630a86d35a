"""What a watch holds does not grow with the steps, however long the training."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
import torch
from tests.watching.networks import made

import leaky
from leaky.watching import history, unit_rates

STEPS = 200
A_STEP = 150
"""Bytes a step that may come from what is not leaky's; a record kept for each would be more."""


@pytest.mark.parametrize("name", ["mlp", "functional"])
def test_memory_stays_what_it_was_when_history_and_rates_are_full(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 32)
    monkeypatch.setattr(unit_rates, "MOST_MOMENTS", 8)
    model, data = made(name)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)

    def steps(count: int) -> None:
        for step in range(count):
            optimizer.zero_grad()
            model(data[: 8 + step % 3]).square().mean().backward()
            optimizer.step()

    with leaky.watch(model, optimizer, report_every=1, alarms=()) as watch:
        steps(STEPS)
        gc.collect()
        tracemalloc.start()
        try:
            steps(40)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            steps(STEPS)
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert len(watch.history.steps) <= 34
    assert grown < STEPS * A_STEP

"""What a watch holds does not grow with the steps, however long the training."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import pairwise

import pytest
import torch
from tests.watching.networks import made

import leaky
from leaky.watching import history, unit_rates

STEPS = 200
A_STEP = 150
"""Bytes a step that may come from what is not leaky's; a record kept for each would be more."""
STRETCHES = 6
"""Python's own stores of freed objects fill at first; what is kept for every step grows in each of these."""


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
        held = []
        tracemalloc.start()
        try:
            for _ in range(STRETCHES + 1):
                steps(STEPS)
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
    assert len(watch.history.steps) <= 34
    assert min(later - earlier for earlier, later in pairwise(held)) < STEPS * A_STEP

"""The history is plain arrays that stay what they were, and as many reports as it may keep."""

from __future__ import annotations

import numpy as np
import pytest

from leaky.watching import history
from leaky.watching.history import FIGURES, FigureHistory


def filled(reports: int) -> FigureHistory:
    """`a` from the first report on, `b` from the fourth; figures that tell their step."""
    found = FigureHistory()
    found.units.update(a=3, b=5)
    for step in range(reports):
        row = {"a": dict.fromkeys(FIGURES, float(step))}
        if step >= 3:
            row["b"] = dict.fromkeys(FIGURES, -float(step))
        found.add(step, 2 * step, row)
    return found


def test_every_figure_is_an_array_over_the_steps() -> None:
    found = filled(40)
    assert found.steps.tolist() == list(range(40))
    assert found.samples.tolist() == list(range(0, 80, 2))
    for figure in FIGURES:
        np.testing.assert_array_equal(found["a"][figure], np.arange(40.0))
        np.testing.assert_array_equal(found["b"][figure], [np.nan] * 3 + [-float(step) for step in range(3, 40)])
    assert found.last("b", "rate") == -39.0
    assert np.isnan(found.last("c", "rate"))
    assert [(step, samples, sorted(row)) for step, samples, row in found.reports()][2:4] == [
        (2, 4, ["a"]),
        (3, 6, ["a", "b"]),
    ]


def test_an_array_in_a_users_hand_stays_what_it_was_and_cannot_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 20)
    found = filled(15)
    held, steps = found["a"]["dead"], found.steps
    with pytest.raises(ValueError, match="read-only"):
        held[0] = 7.0
    for step in range(15, 90):
        found.add(step, 1, {"a": dict.fromkeys(FIGURES, float(step))})
    np.testing.assert_array_equal(held, np.arange(15.0))
    np.testing.assert_array_equal(steps, np.arange(15))


def test_beyond_its_most_every_second_report_is_dropped_and_the_last_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 20)
    found = filled(500)
    assert 10 <= len(found.steps) <= 21
    assert found.steps[-1] == 499
    assert (np.diff(found.steps) > 0).all()
    np.testing.assert_array_equal(found["a"]["rate"], found.steps.astype(float))

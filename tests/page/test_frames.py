"""The page inside a notebook's cell, and the page of the function."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.page.conftest import Visit
from tests.page.networks import hostile, small
from tests.page.test_looks import faults

from leaky.commands import run
from leaky.report.fragment import as_html
from leaky.report.page import notebook
from leaky.report.terminal import checkup_view

NOTEBOOK = "<!doctype html><html lang=en data-drawn><title>notebook</title><body>{}</body></html>"


def test_a_cell_shows_the_page_in_a_frame_that_can_reach_nothing(visit: Callable[..., Visit]) -> None:
    for diagnosis in (small(), hostile()):
        shown = visit(NOTEBOOK.format(notebook.in_a_cell(diagnosis)))
        frame = shown.page.frame_locator("iframe")
        frame.locator("html[data-drawn]").wait_for()
        assert frame.locator("[role=option]").count() == len(diagnosis.record.sites)
        assert shown.page.locator("iframe").get_attribute("sandbox") == "allow-scripts"
        assert shown.page.locator("body > details table").count() >= 1
        assert shown.page.locator("body > img, body > script").count() == 0
        shown.calm()


def test_a_large_page_leaves_the_table_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "LARGEST_IN_A_CELL", 1000)
    diagnosis = small()
    assert notebook.in_a_cell(diagnosis) == as_html(checkup_view(diagnosis))


def test_the_page_of_the_function_moves_its_slope(visit: Callable[..., Visit], tmp_path: Path) -> None:
    path = tmp_path / "leaky.html"
    assert run(["plot", "--slopes", "0", "0.1", "--out", str(path)]) == 0
    shown = visit(path)
    for alpha in (0.1, 0.3, -0.2):
        shown.page.get_by_label("Negative slope α as a number").fill(str(alpha))
        assert shown.value("gain") == pytest.approx(math.sqrt(2 / (1 + alpha**2)), rel=1e-12)
        assert shown.value("second_moment") == pytest.approx((1 + alpha**2) / 2, rel=1e-12)
    for chart in ("diagram-value", "diagram-derivative"):
        assert shown.page.locator(f"#{chart} svg g[data-mark=line] path").count() == 3
    assert faults(shown) == []
    shown.calm()

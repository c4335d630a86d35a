"""What a watch did to a training, on the page of the run, in a real browser: marks in time, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.page.conftest import Visit
from tests.page.networks import HOSTILE
from tests.page.test_looks import faults
from tests.page.test_other_pages import run

from leaky.report.page import page_of
from leaky.text import printable
from leaky.watching.control_record import ControlRecord
from leaky.watching.run import Run

UNDONE = ControlRecord(
    3000, "rate", HOSTILE[0], "update-too-large", "too long", ("block4.weight",), 0.5, ended=5200, why_ended="over"
)
HELD = ControlRecord(6000, "clamp", "block1.relu", "gradient-spike", HOSTILE[3], ("block1.relu",), 8.0)
UNFOLLOWED = ControlRecord(7000, "rate", None, "update-too-large", "steps too long", (HOSTILE[1],), 0.25, 0.01)
REFUSED = ControlRecord(4000, "slope", HOSTILE[1], "dead-share-rising", HOSTILE[2], refused="it has no slope")


def controlled(*controls: ControlRecord) -> Run:
    """The run with these controls."""
    return replace(run(), controls=controls)


def across(shown: Visit, mark: str, canvas: str = "#layers .heat") -> tuple[float, float]:
    """Where the middle of a mark lies in the picture below it, as shares of its width and height."""
    of, over = (shown.page.locator(each).bounding_box() for each in (mark, canvas))
    return (
        (of["x"] + of["width"] / 2 - over["x"]) / over["width"],
        (of["y"] + of["height"] / 2 - over["y"]) / over["height"],
    )


def test_controls_are_marks_at_their_step_and_site(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("run", controlled(UNDONE, REFUSED, HELD, UNFOLLOWED)).one_file())
    assert shown.page.locator(".control-mark").count() == 2  # neither what was refused nor what has no row
    assert across(shown, ".control-mark >> nth=0") == pytest.approx((3000 / 8990, 4.5 / 6), abs=0.01)
    assert across(shown, ".control-mark >> nth=1") == pytest.approx((6000 / 8990, 1.5 / 6), abs=0.01)
    assert "step 6000: clamp" in shown.page.locator(".control-mark").nth(1).get_attribute("title")
    chart = shown.page.locator("#run-network")
    assert "control" in chart.locator(".legend").inner_text()
    bars = chart.locator("[data-mark=rule] line").evaluate_all(
        "(all) => all.map((each) => [each.x1, each.x2].map((end) => end.baseVal.value)).filter(([a, b]) => a !== b)"
    )
    ticks = [first for first, _ in bars]
    lengths = [last - first for first, last in bars]
    assert len(bars) == 3
    assert (ticks[1] - ticks[0]) / 3000 == pytest.approx((ticks[2] - ticks[1]) / 1000, rel=0.01)
    assert lengths[0] / 2200 == pytest.approx(lengths[1] / 2990, rel=0.01)
    assert shown.page.locator("#run-network [data-mark=dot] path").count() == 2 + 3
    assert faults(shown) == []
    shown.calm()


def test_each_control_says_what_was_done_and_why(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("run", controlled(UNDONE, REFUSED, HELD)).one_file(), width=360)
    section = shown.page.locator("#controls")
    made = section.locator(":scope > ol > li")
    assert made.count() == 2
    assert "of each step on block4.weight the part 0.5 is kept; undone at step 5200: over" in made.nth(0).inner_text()
    assert "until step 5,200" in made.nth(0).inner_text()
    assert "held to the end" in made.nth(1).inner_text()
    assert printable(HOSTILE[3])[:20] in made.nth(1).inner_text()
    section.locator("summary").click()
    assert "it has no slope" in section.locator("details li").inner_text()
    assert "Control," not in shown.page.locator("footer").inner_text()
    assert shown.page.locator('a[href="#controls"]').count() == 1
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 360
    assert faults(shown) == []
    shown.calm()


def test_a_run_that_nothing_was_done_to_has_no_word_of_controls(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("run", run()).one_file())
    assert shown.page.locator("#controls, .control-mark").count() == 0
    assert "control" not in shown.page.locator("#network").inner_text()
    shown.calm()


def test_controls_are_told_without_script(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("run", controlled(UNDONE, REFUSED)).one_file(), java_script_enabled=False)
    rows = shown.page.get_by_role("table").filter(has_text="control").locator("tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == ["3000", "4000"]
    assert "slope, refused" in rows[1]

"""How the page looks, at three widths and in both themes, and whether everybody can read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.page.conftest import Visit, missing
from tests.page.looks import MEAN_TOLERANCE, PART_TOLERANCE, assert_looks, differences
from tests.page.networks import small

from leaky.report.page import checkup_page

AXE = Path(__file__).parents[2] / "page" / "node_modules" / "axe-core" / "axe.min.js"
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def html() -> str:
    return checkup_page(small()).one_file()


def faults(found: Visit) -> list[str]:
    """Serious and critical faults that axe finds."""
    if not AXE.exists():
        missing("axe-core (make page)")
    found.page.evaluate(AXE.read_text("utf-8"))
    violations = found.page.evaluate("axe.run().then((result) => result.violations)")
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:160]}"
        for each in violations
        if each["impact"] in SERIOUS
    ]


@pytest.fixture(scope="module")
def shown(visit: Callable[..., Visit], html: str) -> Visit:
    return visit(html)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_it_looks_as_it_did(shown: Visit, width: int, theme: str) -> None:
    shown.page.set_viewport_size({"width": width, "height": 900})
    shown.page.emulate_media(color_scheme=theme)
    settled(shown)
    shown.page.evaluate("scrollTo(0, 0)")
    assert_looks(shown.page.screenshot(), f"checkup-{theme}-{width}")
    shown.page.locator("#site .charts").evaluate("(element) => element.scrollIntoView()")
    assert_looks(shown.page.screenshot(), f"site-{theme}-{width}")
    assert shown.page.evaluate("document.documentElement.scrollWidth") == width


def settled(found: Visit) -> None:
    """Charts have been drawn anew for the width: two frames of the browser."""
    found.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_read_it(shown: Visit, theme: str) -> None:
    shown.page.set_viewport_size({"width": 1280, "height": 900})
    shown.page.emulate_media(color_scheme=theme)
    settled(shown)
    everything = shown.page.locator("details")
    everything.evaluate_all("(all) => all.forEach((each) => { each.open = true; })")
    try:
        assert faults(shown) == []
    finally:  # also where axe-core is missing, and the test skipped
        everything.evaluate_all("(all) => all.forEach((each) => { each.open = false; })")


def test_the_comparison_of_pictures_can_fail() -> None:
    picture = np.zeros((40, 40, 3))
    moved = picture.copy()
    moved[:10] = 0.5
    mean, part = differences(picture, moved)
    assert mean > MEAN_TOLERANCE
    assert part > PART_TOLERANCE


def test_what_is_folded_is_open_on_paper(shown: Visit) -> None:
    folded = "[...document.querySelectorAll('details')].filter((each) => !each.open).length"
    before = shown.page.evaluate(folded)
    assert before > 0
    shown.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.page.evaluate(folded) == 0
    advice = shown.page.locator("#findings .finding .advice")
    assert advice.count() == shown.page.locator("#findings .finding").count()
    assert shown.page.evaluate("document.documentElement.dataset.theme") == "light"
    shown.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert shown.page.evaluate(folded) == before

"""The page of a checkup in a real browser: what it shows, what it computes, what it never does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.page.conftest import Visit
from tests.page.networks import HOSTILE, hostile, small

from leaky.diagnosis import Diagnosis, Finding, Level
from leaky.record import Site
from leaky.report.page import Page, checkup_page
from leaky.report.rows import headline
from leaky.text import printable

Visiting = Callable[..., Visit]


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return small()


@pytest.fixture(scope="module")
def page(diagnosis: Diagnosis) -> Page:
    return checkup_page(diagnosis)


@pytest.fixture(scope="module")
def shown(visit: Visiting, page: Page) -> Visit:
    """The page as every test here leaves it: nothing filtered, nothing folded."""
    return visit(page.one_file())


def test_the_verdict_comes_first_and_every_chart_has_data(shown: Visit, diagnosis: Diagnosis) -> None:
    found = shown
    assert found.page.locator("h1").inner_text() == headline(diagnosis)
    assert found.page.locator("[role=option]").count() == len(diagnosis.record.sites)
    for chart in ("depth-second-moment", "depth-gradient", "depth-shift", "unit-ranges", "function"):
        marks = found.page.locator(f"#{chart} svg g:is([data-mark=dot], [data-mark=line], [data-mark=rule])")
        assert marks.count() >= 1, chart
        assert found.page.locator(f"#{chart} svg :is(circle, path, line)").count() > 5, chart
    colours = found.page.evaluate(
        """() => [...document.querySelectorAll("canvas")].map((canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return new Set(new Uint32Array(data.buffer)).size;
        })"""
    )
    assert len(colours) >= len(diagnosis.record.sites)
    assert min(colours) >= 3
    found.calm()


@pytest.mark.parametrize("name", ["block0.relu1", "head.relu6", "head.prelu"])
def test_the_slider_says_what_the_library_says_of_any_slope(shown: Visit, diagnosis: Diagnosis, name: str) -> None:
    found, site = shown, diagnosis.record.site(name)
    place = [each.name for each in diagnosis.record.sites].index(name)
    found.page.get_by_label("Site", exact=True).select_option(index=place)
    for alpha in (0.0, 0.01, 0.3, 1.0, -0.5, 1.7):
        found.page.get_by_label("Negative slope α as a number").fill(str(alpha))
        expected = _expected(site, alpha)
        for figure, value in expected.items():
            assert found.value(figure) == pytest.approx(value, rel=1e-6, abs=1e-9), (figure, alpha)
    found.calm()


def _expected(site: Site, alpha: float) -> dict[str, float]:
    """By the library's own moments, and by the sums of single regions."""
    moments, s = site.output_moments(alpha), site.statistics
    assert s.gradient is not None
    passed = s.gradient.squares[2].sum() + alpha**2 * s.gradient.squares[1].sum()
    above, below = (s.squares[regions].sum() for regions in ([2, 3], [0, 1]))
    return {
        "mean": float(np.mean(moments.mean)),
        "second_moment": float(np.mean(moments.second_moment)),
        "strongest": float(moments.second_moment.max() / moments.second_moment.sum()),
        "passed": float(passed / s.gradient.squares.sum()),
        "negative_kept": float(alpha**2 * below / (above + alpha**2 * below)),
    }


def test_findings_stand_worst_first_and_causes_first_within_a_level(visit: Visiting) -> None:
    levels: list[Level] = ["info", "error", "warning", "error"]
    found = tuple(Finding(f"rule{i}", level, None, (), "said", {}, "do") for i, level in enumerate(levels))
    shown = visit(checkup_page(replace(small(), findings=found)).one_file())
    rules = shown.page.locator("#findings li.finding").evaluate_all("all => all.map(each => each.dataset.rule)")
    assert rules == ["rule1", "rule3", "rule2", "rule0"]
    shown.calm()


def test_findings_are_filtered_and_sorted(shown: Visit, diagnosis: Diagnosis) -> None:
    found = shown
    items = found.page.locator(".finding")
    assert items.count() == len(diagnosis.findings)
    found.page.locator(".levels input[value=info]").uncheck()
    assert items.count() == sum(finding.level != "info" for finding in diagnosis.findings)
    found.page.locator(".levels input[value=info]").check()
    rule = diagnosis.findings[0].rule
    found.page.get_by_label("Rule", exact=True).select_option(rule)
    assert items.count() == sum(finding.rule == rule for finding in diagnosis.findings)
    found.page.get_by_label("Rule", exact=True).select_option("")
    found.page.get_by_label("Find in findings").fill("BLOCK2.relu1")
    wanted = sum("block2.relu1" in f"{each.site} {each.message} {each.advice}" for each in diagnosis.findings)
    assert items.count() == wanted > 0
    found.page.get_by_label("Find in findings").fill("")
    found.page.get_by_role("button", name="By rule").click()
    shown = items.evaluate_all("items => items.map((item) => item.dataset.rule)")
    assert shown == sorted(finding.rule for finding in diagnosis.findings)
    first = found.page.locator(".finding").first
    first.locator("summary").click()
    first.get_by_text(f"docs/rules/{shown[0]}.md").wait_for(timeout=5000)


def test_the_keyboard_walks_layers_and_units(shown: Visit, diagnosis: Diagnosis) -> None:
    found, site = shown, diagnosis.record.sites[1]
    found.page.locator("[role=option]").first.focus()
    found.page.keyboard.press("ArrowDown")
    found.page.keyboard.press("ArrowRight")
    words = found.page.locator("[aria-live=polite]").inner_text()
    unit = int(np.lexsort((np.arange(site.units), site.statistics.fired))[0])
    assert f"{site.name} · unit {unit}" in words
    assert f"fired on {site.statistics.fired[unit]} of 1,000 samples" in words
    found.page.keyboard.press("Enter")
    assert site.name in found.page.locator("h3.site-name").inner_text()
    assert found.page.locator("[role=option][aria-selected=true]").get_attribute("aria-selected") == "true"
    grid = found.page.locator("canvas[role=slider]")
    grid.focus()
    found.page.keyboard.press("End")
    assert grid.get_attribute("aria-valuenow") == str(site.units - 1)
    assert "fired on" in (grid.get_attribute("aria-valuetext") or "")


def test_silent_units_carry_their_bound(shown: Visit) -> None:
    found = shown
    strip = found.page.locator("[role=option]", has_text="block2.relu1").locator("canvas")
    strip.hover(position={"x": 2, "y": 4})
    words = found.page.locator(".tip").inner_text()
    assert "fired on 0 of 1,000 samples" in words
    assert "fires on at most" in words


def test_layers_are_found_and_folded(shown: Visit) -> None:
    found, rows = shown, shown.page.locator("[role=option]:visible")
    everything = rows.count()
    found.page.get_by_label("Find a layer by its name").fill("head")
    assert rows.count() == 2
    found.page.get_by_label("Find a layer by its name").fill("nowhere")
    assert rows.count() == 0
    assert found.page.get_by_text("No layer has this in its name").is_visible()
    found.page.get_by_label("Find a layer by its name").fill("")
    found.page.get_by_role("button", name="Fold all", exact=True).click()
    assert rows.count() == 0
    found.page.locator(".block-head").first.click()
    assert 0 < rows.count() < everything
    found.page.get_by_role("button", name="Unfold all", exact=True).click()
    assert rows.count() == everything


def test_the_theme_follows_the_system_until_it_is_chosen(visit: Visiting, page: Page) -> None:
    found = visit(page.one_file(), theme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = found.page.evaluate(ground)
    found.page.get_by_role("button", name="Light").click()
    light = found.page.evaluate(ground)
    assert sum(map(int, light[4:-1].split(","))) > 600 > 200 > sum(map(int, dark[4:-1].split(",")))
    found.page.get_by_role("button", name="System").click()
    assert found.page.evaluate(ground) == dark


def test_names_do_no_harm(visit: Visiting) -> None:
    html = checkup_page(hostile()).one_file()
    assert "alert(1)</script>" not in html
    found = visit(html, width=360)
    assert found.page.locator("img, iframe, object").count() == 0
    assert found.page.locator("script").count() == 2
    assert found.page.evaluate("document.documentElement.scrollWidth") == 360
    for place in range(found.page.locator("[role=option]").count()):
        found.page.locator("[role=option]").nth(place).click()
    names = found.page.locator("h3.site-name").get_attribute("title")
    assert names == printable(HOSTILE[-1])
    assert "\u202e" not in found.page.content()
    found.calm()


def test_without_script_there_is_a_table(visit: Visiting, diagnosis: Diagnosis, page: Page) -> None:
    found = visit(page.one_file(), java_script_enabled=False)
    words = found.page.locator("noscript").inner_text()
    assert headline(diagnosis) in words
    assert found.page.locator("noscript tbody tr").count() >= len(diagnosis.record.sites)
    for finding in diagnosis.findings:
        assert finding.message in words
    hostile_page = visit(checkup_page(hostile()).one_file(), java_script_enabled=False)
    assert hostile_page.page.locator("noscript img, noscript script").count() == 0


def test_in_parts_nothing_stands_inline(visit: Visiting, page: Page, tmp_path: object) -> None:
    files = page.in_parts()
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")  # type: ignore[operator]
    assert "<style>" not in files["index.html"]
    assert files["index.html"].count("<script") == files["index.html"].count("<script src=")
    found = visit(tmp_path / "index.html")  # type: ignore[operator]
    assert found.page.locator("[role=option]").count() == 10
    found.calm()


def test_the_policy_lets_nothing_else_run(visit: Visiting, page: Page) -> None:
    broken = page.one_file().replace("</body>", "<script>document.title = 'harmed'</script></body>")
    found = visit(broken)
    assert found.page.title() != "harmed"
    assert any("Content Security Policy" in words for words in found.complaints)
    fetched = found.page.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')")
    assert fetched == "refused"


def test_the_data_stand_in_the_page_once(page: Page) -> None:
    html = page.one_file()
    assert html.count(page.packed) == 1
    assert json.dumps(page.packed)[1:-1] == page.packed  # nothing in it needs an escape

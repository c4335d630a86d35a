"""The pages of comparisons, studies, repairs and of what has no page of its own, in a real browser."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.page.conftest import Visit
from tests.page.looks import assert_looks
from tests.page.networks import HOSTILE, hostile, small
from tests.page.test_looks import faults, settled
from tests.records import normal, planted, record_from, site_from

import leaky
from leaky.diagnosis import Comparison, Finding, Level, compare, diagnose
from leaky.errors import InputError
from leaky.repairing.outcome import RepairRecord, SiteDrift, TreatmentResult
from leaky.repairing.plan import Action, Left
from leaky.repairing.recipe import Recipe
from leaky.report.page import page, page_of
from leaky.report.page.columns import Columns
from leaky.report.page.run import MOST_REPORTS, kept_reports, run_content
from leaky.text import printable, share
from leaky.watching.alarm import Alarm
from leaky.watching.run import Run
from leaky.watching.unit_rates import UnitRates

STUDY = Path(__file__).parents[2] / "benchmarks" / "results" / "tune_deep_digits_study.json"


def comparison() -> Comparison:
    """Of the small network with one whose units died."""
    old = small()
    z = normal(1000, 64, seed=3)
    sick = planted(z, range(20), -abs(z[:, :20]) - 0.1)
    return compare(old, diagnose(record_from(*(site_from(sick, 0.0, name=site.name) for site in old.record.sites[:8]))))


def repair() -> RepairRecord:
    """With a name that wants to be more."""
    return RepairRecord(
        verdict="kept",
        reason="the metric rose by .03",
        actions=(Action("swap", HOSTILE[0], (), "40% dead", 0.1, (HOSTILE[1],)), Action("revive", "b", (1, 2), "dead")),
        left=(Left(HOSTILE[1], (3,), HOSTILE[3]),),
        output_change=0.2,
        metric=(0.81, 0.86),
        lost_share=(0.094, 0.003),
        recipe=Recipe(),
        results=(TreatmentResult("as it was", 0.81, 0.83, 3), TreatmentResult("revived", 0.79, 0.86, 3)),
        notes=(HOSTILE[4],),
        drift=(
            SiteDrift(HOSTILE[0], (-1.5, 0.25), (4.0, 1.0), 1.75),
            SiteDrift("b", (0.125, 0.5), (0.5, 2.0), float("inf")),
        ),
    )


def test_a_comparison_says_why_it_got_worse(visit: Callable[..., Visit]) -> None:
    found = comparison()
    assert found.worse
    shown = visit(page_of("comparison", found).one_file())
    assert "It got worse" in shown.page.locator("h1").inner_text()
    for reason in found.reasons:
        assert reason in shown.page.locator("#reasons").inner_text()
    for chart in ("change-dead", "change-second-moment", "change-firing"):
        assert shown.page.locator(f"#{chart} svg circle").count() == 2 * len(found.figures)
    assert shown.page.locator("#changes tbody tr").count() == len(found.units) + len(found.findings)
    shown.page.locator("#totals").get_by_role("button", name="change").click()
    changes = [now - before for before, now in found.totals.values() if before or now]
    first = shown.page.locator("#totals tbody tr").first.locator("td").last.inner_text()
    assert first.replace("−", "-").replace(",", "") in (f"+{max(changes)}", "")
    assert faults(shown) == []
    shown.calm()


def test_a_study_shows_what_the_library_concludes(visit: Callable[..., Visit]) -> None:
    study: Any = leaky.load(STUDY)
    shown = visit(page(study.to_dict()))
    assert shown.page.locator("h1").inner_text() == str(study).split("\n\n")[0]
    trials = [trial for trial in study.trials if not trial.confirms and trial.score is not None]
    assert shown.page.locator("#study-scores svg circle").count() == len(trials)
    pairs = sum(trial.arm != study.reference.label for trial in trials)
    assert shown.page.locator("#study-differences svg circle").count() == pairs + len(study.arms) - 1
    assert shown.page.locator("#study-dead-share svg circle").count() == len(trials)
    rows = shown.page.locator("#ranking tbody tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows] == [arm.label for arm in study.ranking]
    gap = study.difference(study.ranking[0], study.reference)
    assert f"{gap.low:.4g}" in rows[0]
    assert faults(shown) == []
    shown.calm()


def test_a_repair_stands_before_and_after_side_by_side(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("repair", repair()).one_file(), width=360)
    assert "Kept: the metric rose" in shown.page.locator("h1").inner_text()
    cards = shown.page.locator(".card").all_inner_texts()
    assert "0.81" in cards[0]
    assert "0.86" in cards[0]
    assert shown.page.locator("#repair-results svg circle").count() == 4
    for chart in ("drift-second-moment", "drift-mean"):
        assert shown.page.locator(f"#{chart} svg circle").count() == 4
    rows = [row.split("\t")[1:] for row in shown.page.locator("#drift tbody tr").all_inner_texts()]
    assert rows == [["175%", "4", "1", "−1.5", "0.25"], ["not finite", "0.5", "2", "0.125", "0.5"]]
    assert printable(HOSTILE[0]) in shown.page.locator("#actions").inner_text()
    assert shown.page.locator("img").count() == 0
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 360
    assert faults(shown) == []
    shown.calm()


def test_what_has_no_page_of_its_own_is_shown_in_words(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("recipe", f"a recipe\n{HOSTILE[1]}\nsecond line").one_file())
    assert shown.page.locator("pre").inner_text() == f"{HOSTILE[1]}\nsecond line"
    shown.calm()


def test_hostile_names_in_a_comparison_do_no_harm(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("comparison", compare(hostile(), hostile())).one_file())
    assert shown.page.locator("img").count() == 0
    shown.calm()


def test_save_writes_the_page_of_every_kind(tmp_path: Path) -> None:
    for place, thing in enumerate((comparison(), repair(), small().record, leaky.load(STUDY))):
        path = tmp_path / f"{place}.html"
        thing.save(path)
        assert path.read_text("utf-8").startswith("<!doctype html>")


def test_what_is_no_document_is_refused() -> None:
    with pytest.raises(InputError, match="must be a JSON object with a kind"):
        page({"a": 1})


def unit_rates(names: list[str]) -> UnitRates:
    """Of 128 units at 40 moments: unit u of the second site fires up to moment u; the others always half the time."""
    moments = np.arange(40)
    stops = np.where(moments[:, None] <= np.arange(128), 127, 0).astype(np.uint8)
    cells = {name: np.full((40, 128), 127, np.uint8) for name in names} | {names[1]: stops}
    return UnitRates(moments * 200, {name: base64.b64encode(each.tobytes()).decode() for name, each in cells.items()})


def run() -> Run:
    """What a watched training says: 900 reports of 6 layers, two alarms."""
    time, names = np.linspace(0, 1, 900), [*(f"block{i}.relu" for i in range(4)), HOSTILE[0], HOSTILE[1]]
    figures = {
        name: {
            "silent": np.clip(time * place / 6, 0, 1),
            "dead": np.where(time < 0.1, np.nan, time * place / 8),
            "gradient": np.exp(-place - 3 * time),
            **dict.fromkeys(("locked", "nearly_dead", "dormant", "rate", "second_moment", "update"), 0.1 + 0.5 * time),
        }
        for place, name in enumerate(names)
    }
    finding = Finding("dead-share-rising", "warning", HOSTILE[0], (), HOSTILE[3], {}, "Lower the learning rate.")
    return Run(
        model="train.py:net",
        units=dict.fromkeys(names, 128),
        activations=dict.fromkeys(names, "ReLU"),
        steps=np.arange(900) * 10,
        samples=np.full(900, 640),
        figures=figures,
        unit_rates=unit_rates(names),
        alarms=(Alarm(3000, finding), Alarm(5200, finding)),
        ended="stopped",
        notes=("statistics at every step",),
    )


def test_alarms_of_one_rule_at_one_step_are_one_with_the_worst_first(visit: Callable[..., Visit]) -> None:
    def alarm(step: int, level: Level, site: str | None) -> Alarm:
        return Alarm(step, Finding("drift", level, site, (), f"grew at {site}", {}, "Lower the learning rate."))

    at = ["block0.relu", "block1.relu", "block2.relu"]
    levels: list[Level] = ["warning", "error", "warning"]
    watched = replace(
        run(),
        alarms=(*map(alarm, [3000] * 3, levels, at), alarm(5200, "warning", at[0]), alarm(5200, "info", at[1])),
    )
    shown = visit(page_of("run", watched).one_file())
    verdict = shown.page.locator("h1").inner_text()
    assert verdict == "2 alarms, the first at step 3,000: drift, block1.relu and 2 sites more."
    first = shown.page.locator("#alarms .finding").first
    assert first.locator(".message").inner_text() == "grew at block1.relu"
    assert first.locator(".advice").count() == 1
    first.locator("summary").click()
    assert [each.split(": ")[0] for each in first.locator("li").all_inner_texts()] == [at[0], at[2]]
    assert shown.page.locator(".alarm-mark").count() == 4
    shown.page.get_by_text("1 remark of level info").click()
    assert shown.page.get_by_text("grew at block1.relu").count() == 2
    shown.calm()


def test_a_run_is_read_on_a_slider_and_marks_its_alarms(visit: Callable[..., Visit]) -> None:
    watched = run()
    shown = visit(page_of("run", watched).one_file())
    assert "2 alarms, the first at step 3,000" in shown.page.locator("h1").inner_text()
    assert shown.page.locator(".alarm-mark").count() == 2
    assert shown.page.locator("#run-network svg path").count() > 2
    slider = shown.page.get_by_label("Moment", exact=True)
    slider.focus()
    shown.page.keyboard.press("Home")
    assert shown.value("moment") == 0
    shown.page.keyboard.press("End")
    assert shown.value("moment") == watched.steps[-1]
    shown.page.locator("#layers summary").click()
    cells = shown.page.locator("#layers tbody tr").all_inner_texts()
    assert [cell.split("\t")[-1] for cell in cells] == [
        share(watched.figures[name]["silent"][-1]) for name in watched.units
    ]
    shown.page.get_by_role("button", name="Gradient").click()
    shown.page.locator("#layers summary").click()
    gradient = shown.page.locator("#layers tbody tr").first.inner_text().split("\t")[-1]
    assert float(gradient) == pytest.approx(watched.figures["block0.relu"]["gradient"][-1], rel=1e-2)
    assert faults(shown) == []
    shown.calm()


def test_a_layer_is_read_unit_by_unit(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("run", run()).one_file(), width=360)
    units = shown.page.locator("#units")
    assert units.locator("select").evaluate("(each) => each.selectedIndex") == 1  # the one with most silent units
    assert "39 of 128 units did not fire at the last moment" in units.inner_text()
    canvas = units.locator("canvas")
    assert canvas.evaluate("(each) => [each.width, each.height]") == [40, 128]
    canvas.focus()
    shown.page.keyboard.press("Home")
    for _ in range(3):
        shown.page.keyboard.press("ArrowDown")  # units by when they last fired: the fourth is unit 3
    assert canvas.get_attribute("aria-valuetext") == "unit 3. step 0. fires on 50% of the samples"
    for _ in range(4):
        shown.page.keyboard.press("ArrowRight")
    assert canvas.get_attribute("aria-valuetext") == "unit 3. step 800. never fires"
    line = canvas.evaluate("(each) => [...each.getContext('2d').getImageData(0, 3, 5, 1).data]")
    colours = [tuple(line[4 * at : 4 * at + 3]) for at in range(5)]
    assert len(set(colours[:4])) == 1
    assert colours[4] != colours[0]
    units.locator("summary").click()
    assert units.locator("tbody tr").count() == 39
    units.locator("select").select_option(index=0)
    assert "all 128 units fired" in units.inner_text()
    assert shown.page.evaluate("document.documentElement.scrollWidth") == 360
    assert faults(shown) == []
    shown.calm()


@pytest.fixture(scope="module")
def watched(visit: Callable[..., Visit]) -> Visit:
    return visit(page_of("run", run()).one_file())


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_a_run_looks_as_it_did(watched: Visit, width: int, theme: str) -> None:
    watched.page.set_viewport_size({"width": width, "height": 900})
    watched.page.emulate_media(color_scheme=theme)
    settled(watched)
    watched.page.locator("#layers").evaluate("(element) => element.scrollIntoView()")
    assert_looks(watched.page.screenshot(), f"run-{theme}-{width}")
    assert watched.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_run_without_a_report_has_a_page(visit: Callable[..., Visit]) -> None:
    shown = visit(page_of("run", Run("m", {"a": 3}, {"a": "ReLU"}, *NO_REPORT, {"a": {}})).one_file())
    assert "No alarm in 0 steps" in shown.page.locator("h1").inner_text()
    shown.calm()


def test_units_over_time_stay_few_enough_for_a_page() -> None:
    many = UnitRates(np.arange(3), {"a": base64.b64encode(bytes(3 * 900_000)).decode()})
    columns = Columns()
    found = run_content(Run("m", {"a": 900_000}, {"a": "ReLU"}, *NO_REPORT, {"a": {}}, unit_rates=many), columns)
    assert found["unit_rates"] is not None
    packed = zlib.decompress(base64.b64decode(columns.pack(found)))
    assert 2 * 900_000 < len(packed) < 2 * 900_000 + 10_000


NO_REPORT = (np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_time_is_thinned_and_keeps_its_ends() -> None:
    kept = kept_reports(100_000)
    assert len(kept) == MOST_REPORTS
    assert (kept[0], kept[-1]) == (0, 99_999)
    assert len(set(np.diff(kept))) <= 2
    assert kept_reports(3).tolist() == [0, 1, 2]

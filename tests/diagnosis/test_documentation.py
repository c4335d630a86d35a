"""Every rule has a page, every page a rule; a page names its rule's thresholds with their defaults."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leaky.diagnosis import RULES, Rule, Thresholds

FOLDER = Path(__file__).parents[2] / "docs" / "rules"
SECTIONS = (
    "## Definition",
    "## What it means",
    "## Thresholds",
    "## What to do",
    "## When it is a false alarm",
    "## Source",
)


def page(slug: str) -> str:
    return (FOLDER / f"{slug}.md").read_text(encoding="utf-8")


def test_pages_and_rules_are_the_same() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} == set(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_page_has_every_section_in_order(rule: Rule) -> None:
    text = page(rule.slug)
    assert text.startswith(f"# {rule.slug}\n")
    assert rule.summary.split()[0].lower() in text.lower()
    places = [text.find(section + "\n") for section in SECTIONS]
    assert -1 not in places
    assert places == sorted(places)
    bodies = [text[start:end].split("\n", 1)[1] for start, end in zip(places, [*places[1:], len(text)], strict=True)]
    assert all(body.strip() for body in bodies)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_page_names_exactly_the_thresholds_that_its_rule_reads(rule: Rule) -> None:
    section = page(rule.slug).split("## Thresholds\n")[1].split("\n## ")[0]
    named = dict(re.findall(r"`(\w+)` \(([^)]+)\)", section))
    defaults = Thresholds().as_dict()
    assert set(named) == set(rule.thresholds)
    assert {name: float(value) for name, value in named.items()} == {name: defaults[name] for name in rule.thresholds}


def test_the_index_shows_what_healthy_networks_were_measured_to_show() -> None:
    measured = (FOLDER.parents[1] / "benchmarks" / "results" / "healthy.md").read_text(encoding="utf-8").strip()
    assert measured in page("README")
    defaults = Thresholds().as_dict()
    for row in measured.splitlines()[2:]:
        figure, _, he, trained, limit = (cell.strip() for cell in row.strip("|").split("|"))
        name, value = limit.split()
        assert defaults[name.strip("`")] == float(value)
        at_least = figure == "share above the threshold"
        assert all((float(seen) > float(value)) == at_least for seen in (he, trained)), row


def test_the_index_links_every_rule_with_its_summary() -> None:
    index = page("README")
    for slug, rule in RULES.items():
        assert f"[{slug}]({slug}.md) | {rule.summary}" in index

"""The table of thresholds: one home for every number, overridable by name, shown as it is."""

from __future__ import annotations

import ast
import math
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from tests.records import normal, record_from, site_from

from leaky.diagnosis import RULES, Thresholds, diagnose
from leaky.diagnosis.thresholds import table
from leaky.errors import InputError

RULES_FOLDER = Path(__file__).parents[2] / "docs" / "rules"
WATCHING = Path(__file__).parents[2] / "src" / "leaky" / "watching"


def test_defaults_are_those_of_the_table() -> None:
    assert Thresholds().as_dict() == {row.name: row.default for row in table()}
    assert Thresholds().dead_derivative == 1e-3
    assert (Thresholds().rate, Thresholds().delta, Thresholds().dormant_score) == (0.01, 0.05, 0.025)


def test_every_default_lies_in_its_own_range_and_says_what_it_means() -> None:
    for row in table():
        assert row.low <= row.default <= row.high
        assert row.meaning
        assert row.source


def test_overrides_take_effect_and_are_kept_as_numbers() -> None:
    chosen = Thresholds.of({"rate": 0.1, "least_samples": 5})
    assert (chosen.rate, chosen.least_samples, chosen.delta) == (0.1, 5.0, 0.05)
    assert Thresholds.of(chosen.as_dict()) == chosen


def test_a_diagnosis_keeps_the_thresholds_that_it_used() -> None:
    found = diagnose(record_from(site_from(normal(40, 3))), thresholds={"dead_derivative": 0.05})
    assert found.thresholds == Thresholds(dead_derivative=0.05)


def test_an_unknown_name_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(InputError, match=r"there is no threshold 'dead_slope'; did you mean 'dead_(score|error)'"):
        diagnose(record_from(), thresholds={"dead_slope": 1.0})


@pytest.mark.parametrize("name", [row.name for row in table()])
def test_values_outside_the_range_are_refused(name: str) -> None:
    row = next(row for row in table() if row.name == name)
    wrong = [row.low - 1, math.nan] + ([row.high + 1] if math.isfinite(row.high) else [])
    for value in wrong:
        with pytest.raises(InputError, match=f"{name} must be a number in"):
            Thresholds.of({name: value})


def test_truth_values_and_words_are_no_numbers() -> None:
    for value in (True, "0.1", None):
        with pytest.raises(InputError, match="rate must be a number"):
            Thresholds.of({"rate": value})  # type: ignore[dict-item]


def test_thresholds_do_not_change_under_a_diagnosis() -> None:
    with pytest.raises(FrozenInstanceError):
        Thresholds().rate = 0.5  # type: ignore[misc]


def test_rules_name_thresholds_that_exist_and_each_is_read_by_one_or_by_a_watch() -> None:
    names = {row.name for row in table()}
    read = {name for rule in RULES.values() for name in rule.thresholds}
    assert read <= names
    parts = [node for file in WATCHING.rglob("*.py") for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    assert names - read - {node.attr for node in parts if isinstance(node, ast.Attribute)} == set()


def test_the_documentation_shows_the_table() -> None:
    rows = [f"| `{row.name}` | {row.default:g} | {cell(row.meaning)} | {cell(row.source)} |" for row in table()]
    shown = "\n".join(["| name | default | meaning | source |", "|---|---|---|---|", *rows])
    assert shown in (RULES_FOLDER / "README.md").read_text(encoding="utf-8")


def cell(words: str) -> str:
    """As a table's cell holds it, where a bar would end it."""
    return words.replace("|", "\\|")

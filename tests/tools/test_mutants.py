"""Mutation testing itself: each change is one, is valid Python, and is noticed by a test that looks."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from tools.mutants import __main__ as runs
from tools.mutants.mutations import Mutant, mutants_of, mutated
from tools.mutants.rooms import ROOMS, Room

SOURCE = '''"""A docstring."""
from dataclasses import dataclass

NAMES = "one two"


def chosen(values: list[int], least: int = 2, strict: bool = False) -> list[int]:
    """Words that stay."""
    if not values:
        raise ValueError("nothing was given")
    best = max(values) - 1
    values.sort()
    return [v for v in values if v >= least and (not strict or v < best)]
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    return path


def test_every_kind_of_change_is_made_and_wording_is_left_alone(file: Path) -> None:
    changes = [mutant.change for mutant in mutants_of(file)]
    for wanted in (
        "'one two' → 'one two_other'",
        "2 → 3",
        "False → True",
        "not values → values",
        "raise ValueError('nothing was given') → (nothing)",
        "max(values) - 1 → max(values) + 1",
        "max(values) → min(values)",
        "1 → 2",
        "values.sort() → (nothing)",
        "v >= least → v > least",
        "v < best → v <= best",
        "not strict → strict",
    ):
        assert changes.count(wanted) == 1, wanted
    assert any(change.endswith("→ return None") for change in changes)
    assert any(change.endswith("→ (no condition)") for change in changes)
    assert not any("docstring" in change or "Words" in change for change in changes)
    assert not any(change.startswith("'nothing") for change in changes)


def test_each_change_is_one_place_of_valid_code(file: Path) -> None:
    before = ast.unparse(ast.parse(SOURCE))
    results = [ast.unparse(mutated(mutant)) for mutant in mutants_of(file)]
    assert before not in results
    assert len(set(results)) == len(results)
    for result in results:
        compile(result, "module", "exec")


def test_lines_are_those_of_the_statement_and_none_at_import(file: Path) -> None:
    found: dict[str, Mutant] = {mutant.change: mutant for mutant in mutants_of(file)}
    assert found["'one two' → 'one two_other'"].lines is None
    assert found["2 → 3"].lines is None  # a default is evaluated at import
    assert found["1 → 2"].lines == (11, 11)
    assert found["1 → 2"].where == "chosen"
    assert found["not values → values"].lines == (9, 9)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_room_has_sources_with_mutants(room: object) -> None:
    mutants = [mutant for source in room.files() for mutant in mutants_of(source)]  # type: ignore[attr-defined]
    assert len(mutants) > 50


class Unwatched:
    """Tests that notice names and no numbers."""

    def __init__(self, room: Room) -> None:
        self.seconds, self.failed = {"test": 0.1}, ()

    def notices(self, mutant: Mutant) -> str:
        return "test" if "_other" in mutant.change else ""

    def order(self, mutant: Mutant) -> list[str]:
        return ["test"]


def test_a_run_that_is_cut_off_keeps_a_fair_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "Bench", Unwatched)
    room = ROOMS[0]
    whole = list(runs.tried(room, 60, seed=0))
    assert [each["tried"] for each in whole] == list(range(1, 61))
    assert all(each["killed"] + len(each["survivors"]) == each["tried"] for each in whole)
    part = [each["mutant"] for each in whole[29]["survivors"]]
    assert len({name.split()[0] for name in part}) > 4  # not the first files alone
    assert part == [each["mutant"] for each in list(runs.tried(room, 60, seed=0))[29]["survivors"]]
    assert list(runs.tried(room, 60, seed=0, minutes=0.0)) == []
    again = list(runs.tried(room, 60, seed=0, before=whole[-1]))
    assert (again[-1]["tried"], again[-1]["killed"]) == (60, whole[-1]["killed"])

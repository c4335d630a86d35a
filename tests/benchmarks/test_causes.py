"""A fast part of the suites on causes and on healthy networks, and that what they keep is what README may claim."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from benchmarks.causes import asked, last, posted, quiet, reported, suspects, wondered
from benchmarks.causes.__main__ import cases, row, suspect
from benchmarks.causes.building import Trouble
from benchmarks.causes.troubles import HELD_OUT, LOOKED_AT, broadcast, dead_layer, missing_values, softmax_over_one
from benchmarks.healthy.__main__ import row as healthy_row

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize(
    "kind",
    [broadcast, dead_layer, missing_values, softmax_over_one, posted.update_gate_shut, posted.all_weights_equal],
)
def test_the_first_thing_said_is_the_cause(kind: Callable[[int], Trouble]) -> None:
    found = row(kind, 5)
    assert (found["verdict"], found["twin"]) == ("right", []), found


@pytest.mark.parametrize(("kind", "seed"), [("regression", 7), ("tables", 6)])
def test_healthy_networks_get_notes_at_most(kind: str, seed: int) -> None:
    assert healthy_row(kind, seed)["above info"] == []


def test_the_halves_differ_in_kinds_and_seeds() -> None:
    looked, held = set(cases(False)), set(cases(True))
    assert not looked & held
    assert len(looked | held) >= 40
    assert len({*LOOKED_AT, *HELD_OUT}) >= 12
    assert not set(LOOKED_AT) & set(HELD_OUT)


@pytest.mark.parametrize("half", ["looked-at", "held-out"])
def test_what_is_kept_holds_what_is_claimed(half: str) -> None:
    causes = json.loads((RESULTS / f"causes-{half}.json").read_text(encoding="utf-8"))
    assert sum(row["verdict"] == "right" for row in causes) >= 0.9 * len(causes)
    assert sum(row["verdict"] == "wrong" for row in causes) <= 0.05 * len(causes)
    healthy = [row for row in json.loads((RESULTS / f"healthy-{half}.json").read_text("utf-8")) if row["healthy"]]
    assert len(healthy) >= 30
    assert len({row["kind"] for row in healthy}) >= 8


@pytest.mark.parametrize(
    ("name", "kinds", "healthy"),
    [
        ("last", last.TROUBLES, suspects.SUSPECTS),
        ("last-again", last.TROUBLES, suspects.SUSPECTS),
        ("reported", reported.TROUBLES, quiet.QUIET),
    ],
)
def test_further_kinds_are_others_and_what_is_kept_of_them_holds_what_is_claimed(
    name: str, kinds: Sequence[Callable[..., Any]], healthy: Sequence[Callable[..., Any]]
) -> None:
    names = {kind.__name__ for kind in kinds}
    assert not names & {kind.__name__ for kind in (*LOOKED_AT, *HELD_OUT)}
    kept = json.loads((RESULTS / f"causes-{name}.json").read_text(encoding="utf-8"))
    troubles, fine = kept["troubles"], kept["suspects"]
    assert {found["kind"] for found in troubles} == names
    assert {found["kind"] for found in fine} == {kind.__name__ for kind in healthy}
    assert sum(found["verdict"] == "right" for found in troubles) >= 0.9 * len(troubles)
    assert sum(found["verdict"] == "wrong" for found in troubles) <= 0.05 * len(troubles)
    assert not [found for found in troubles if found["twin"]]
    assert not [found for found in fine if found["above info"]]


def test_two_of_the_last_kinds_run() -> None:
    found = row(last.weight_not_a_number, 6)
    assert (found["verdict"], found["twin"]) == ("right", []), found
    assert suspect(suspects.log_softmax_before_cross_entropy, 6)["above info"] == []


@pytest.mark.parametrize(
    "kind", [reported.softmax_over_the_batch, reported.decayed_to_nothing, reported.not_a_number_in_the_targets]
)
def test_what_the_reported_kinds_showed_first_is_mended(kind: Callable[[int], Trouble]) -> None:
    found = row(kind, 6)
    assert (found["verdict"], found["twin"]) == ("right", []), found


@pytest.mark.parametrize(
    "kind",
    [
        asked.attention_over_samples,
        asked.mean_over_the_batch,
        asked.mask_inverted,
        asked.forget_gate_shut,
        wondered.clipped_at_the_end,
        wondered.sigmoid_driven_far_out,
    ],
)
def test_what_people_ask_about_is_told_on_a_seed_that_nobody_tuned_on(kind: Callable[[int], Trouble]) -> None:
    found = row(kind, 6)
    assert (found["verdict"], found["twin"]) == ("right", []), found

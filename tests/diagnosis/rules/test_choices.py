"""Shut gates, one-hot attention and softmaxes between layers, on records whose counts are planted."""

from __future__ import annotations

import pytest
from tests.diagnosis.helpers import ENOUGH, findings_in, only, terms
from tests.records import normal, record_from, site_from, tensor

from leaky.diagnosis import diagnose
from leaky.record import PIECES, Choice, NotExamined
from leaky.structure.softmaxes import REASON

N = 1000


def judged(choice: Choice, noise: float | None = None, **others: object) -> object:
    known = {} if noise is None else {"terms": terms(noise), "outputs": (terms(noise)[0].given,)}
    return record_from(site_from(normal(ENOUGH, 4)), choices=(choice,), **known, **others)


@pytest.mark.parametrize(
    ("low", "high", "shut", "level"),
    [(N, 0, True, "info"), (N - 1, 0, True, "info"), (N - 20, 20, None, None), (0, N, False, "info")],
)
def test_a_gate_is_stuck_if_it_is_the_same_for_all(low: int, high: int, shut: bool | None, level: str | None) -> None:
    found = findings_in("shut-gate", judged(Choice("cell.gate", "gate", N, low, high)))
    assert [(f.level, f.evidence["shut"]) for f in found] == ([] if level is None else [(level, shut)])
    assert all("cell.gate" in f.message for f in found)


@pytest.mark.parametrize(("noise", "level"), [(0.1, "info"), (0.8, "warning"), (30.0, "warning"), (None, "info")])
def test_what_has_learned_or_shows_no_harm_gets_a_note(noise: float | None, level: str) -> None:
    assert only(findings_in("shut-gate", judged(Choice("g", "gate", N, N, 0), noise))).level == level


@pytest.mark.parametrize(("noise", "level"), [(0.1, "info"), (30.0, "warning"), (None, "info")])
def test_sharp_attention_is_a_warning_where_nothing_was_learned(noise: float | None, level: str) -> None:
    assert only(findings_in("saturated-attention", judged(Choice("a", "attention", N, 0, N), noise))).level == level


@pytest.mark.parametrize(("high", "level"), [(N, "info"), (900, "info"), (700, "info"), (690, None), (0, None)])
def test_attention_by_the_share_of_one_hot_rows(high: int, level: str | None) -> None:
    found = findings_in("saturated-attention", judged(Choice("a", "attention", N, 0, high)))
    assert [f.level for f in found] == ([] if level is None else [level])
    assert [f.evidence["shares"] for f in found] == ([] if level is None else [[high / N]])


@pytest.mark.parametrize(("idle", "noise", "level"), [(24, 0.1, "info"), (24, 30.0, "warning"), (23, 30.0, None)])
def test_pieces_of_which_a_quarter_is_never_the_largest(idle: int, noise: float, level: str | None) -> None:
    found = findings_in("idle-pieces", judged(Choice("a", PIECES, 96, idle, 0), noise))
    assert [(f.level, f.evidence["idle"], f.evidence["pieces"]) for f in found] == [(level, idle, 96)] * bool(level)
    assert all("24 of 96 pieces" in f.message for f in found)


def test_few_samples_or_rows_are_not_judged() -> None:
    assert findings_in("shut-gate", judged(Choice("g", "gate", 20, 20, 0))) == []
    few = record_from(site_from(normal(20, 4)), choices=(Choice("g", "gate", N, N, 0),))
    assert findings_in("shut-gate", few) == []


def test_an_output_that_is_the_same_follows_from_the_gate() -> None:
    same = tensor([[1.0]] * ENOUGH, "output")
    record = record_from(choices=(Choice("g", "gate", N, N, 0),), outputs=(same,), samples=ENOUGH)
    first, second = diagnose(record).findings
    assert (first.rule, first.level, second.rule, second.follows_from) == (
        "shut-gate",
        "error",
        "same-output",
        "shut-gate",
    )


@pytest.mark.parametrize(
    ("softmaxes", "noise", "level"),
    [(1, None, "info"), (3, None, "info"), (1, 30.0, "warning"), (3, 0.1, "info"), (0, None, None)],
)
def test_a_softmax_between_layers(softmaxes: int, noise: float | None, level: str | None) -> None:
    listed = tuple(NotExamined(str(place), REASON) for place in range(softmaxes))
    found = findings_in("softmax-inside", judged(Choice("x", "gate", N, 0, 0), noise, not_examined=listed))
    assert [f.level for f in found] == ([] if level is None else [level])

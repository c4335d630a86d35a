"""Numbers and words: short, and harmless whatever they hold."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaky.text import ascii_only, counted, did_you_mean, number, printable, ranges, share


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.0, "1"),
        (-3.0, "−3"),
        (0.0123, "0.012"),
        (-0.5, "−0.5"),
        (12.345, "12"),
        (99.7, "1e2"),
        (123.4, "123"),
        (99_999.0, "99999"),
        (100_000.0, "1e5"),
        (-3.14e7, "−3.1e7"),
        (1e-12, "1e−12"),
        (float("nan"), "–"),
        (float("inf"), "–"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0%"),
        (1.0, "100%"),
        (0.5, "50%"),
        (0.0996, "10%"),
        (0.0994, "9.9%"),
        (0.00123, "0.12%"),
        (0.994, "99%"),
        (0.997, "99.7%"),
        (0.99999, "99.999%"),
        (float("nan"), "–"),
    ],
)
def test_share(value: float, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("units", "text"),
    [
        ([], ""),
        ([3], "3"),
        ([0, 1, 2, 3, 7, 9, 10], "0–3, 7, 9–10"),
        (range(0, 40, 2), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 and 8 more"),
    ],
)
def test_ranges(units: list[int], text: str) -> None:
    assert ranges(units) == text


def test_counted() -> None:
    assert [counted(n, "unit") for n in (0, 1, 1797)] == ["0 units", "1 unit", "1,797 units"]


def test_printable_keeps_what_is_for_showing() -> None:
    assert printable("Schicht α, 層 1, é🙂") == "Schicht α, 層 1, é🙂"


def test_printable_spells_out_what_steers() -> None:
    assert printable("a\x1b[31m\r\n\x9b\u202e\u2028\ud800\U000e0001") == (
        "a\\x1b[31m\\x0d\\x0a\\x9b\\u202e\\u2028\\ud800\\U000e0001"
    )


@given(st.text(alphabet=st.characters()))
def test_nothing_that_steers_gets_through(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert ascii_only(shown).isascii()


def test_ascii_only_spells_our_signs() -> None:
    assert ascii_only("α ≤ 0.1 → −3…4, Σ∂L²") == "alpha <= 0.1 -> -3...4, sum dL^2"
    assert ascii_only("層") == "\\u5c64"


def test_an_unknown_name_gets_the_nearest_or_a_list_that_is_no_page() -> None:
    names = [f"threshold_{i}" for i in range(70)]
    assert did_you_mean("treshold_7", names) == "; did you mean 'threshold_7'?"
    told = did_you_mean("x", names)
    assert told.startswith("; it must be one of threshold_0, threshold_1,")
    assert told.endswith("threshold_39 and 30 more")

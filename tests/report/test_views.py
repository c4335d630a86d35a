"""Views: every renderer shows all of one, and nothing that comes from outside steers any of them."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from rich.console import Console

from leaky.report.drawing import Drawing, as_text
from leaky.report.fragment import as_html
from leaky.report.shown import Shown
from leaky.report.view import Column, Gap, Line, Table, View, line, points, titled

NASTY = "a[red]<script>alert(1)</script>\x1b[31m\r\nb\u202e\ud800&amp;" + "n" * 5000
VIEW: View = (
    line("The verdict", "error"),
    titled("why", "because", indent=1),
    Line((("one", "good"), (" two", "")), 2),
    Gap(),
    Table((Column("slope"), Column("score", numbers=True)), (("0.1", "0.5"), ("prelu", "12.25"))),
    *points(["first", "second"]),
)
NASTY_VIEW: View = (
    line(NASTY, "note"),
    titled(NASTY, NASTY),
    Table((Column(NASTY), Column("score", numbers=True)), ((NASTY, "1"),)),
    *points([NASTY]),
)


class Result(Shown):
    def __init__(self, view: View) -> None:
        self._view = view

    def view(self) -> View:
        return self._view


def test_as_text_it_is_lines_points_and_columns() -> None:
    assert str(Result(VIEW)).splitlines() == [
        "The verdict",
        "  why: because",
        "    one two",
        "",
        "slope  score",
        "0.1      0.5",
        "prelu  12.25",
        "  · first",
        "  · second",
    ]


def test_a_notebook_gets_the_same_words_without_script_or_style_sheet() -> None:
    shown = Result(VIEW)._repr_mimebundle_()
    assert shown["text/plain"] == str(Result(VIEW))
    words = re.sub(r"<[^>]+>", " ", shown["text/html"]).split()
    expected = "The verdict why: because one two slope score 0.1 0.5 prelu 12.25 first second"
    assert words == expected.split()
    assert shown["text/html"].startswith('<div class="leaky">')


def test_a_terminal_gets_colours_and_no_markup() -> None:
    stream = io.StringIO()
    Console(width=60, file=stream, force_terminal=True, color_system="standard", _environ={}).print(Result(VIEW))
    assert "\x1b[1;31mThe verdict" in stream.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_from_outside_gets_through(encoding: str) -> None:
    shown = as_text(Drawing(NASTY_VIEW), 200, encoding)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in shown.replace("\n", ""))
    assert "[red]" in shown
    assert len(shown) < 5000
    html = as_html(NASTY_VIEW)
    assert "<script" not in html
    assert html.isprintable()
    assert len(html) < 5000


def test_a_narrow_terminal_loses_no_word() -> None:
    shown = as_text(Drawing(VIEW), 12)
    assert all(len(row) <= 12 for row in shown.splitlines())
    assert "because" in shown

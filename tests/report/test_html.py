"""The fragment for notebooks: well-formed, and no word of it is markup."""

from __future__ import annotations

from html.parser import HTMLParser

from leaky.diagnosis import Diagnosis
from leaky.report.fragment import as_html
from leaky.report.terminal import checkup_view

VOID = {"br", "rect"}


class Checker(HTMLParser):
    """Every tag that is opened, and whether each is closed in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def read(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def test_it_holds_what_the_terminal_holds(diagnosis: Diagnosis) -> None:
    page = read(as_html(checkup_view(diagnosis)))
    for words in ("9 dead (7%)", "body.1", "+9?", "Not examined", diagnosis.confidence, diagnosis.findings[0].message):
        assert words in page.words
    assert page.seen.count("svg") == 4


def test_no_word_is_markup(nasty: Diagnosis) -> None:
    page = read(as_html(checkup_view(nasty, full=True)))
    assert "script" not in page.seen
    assert page.words.count("<script>alert(1)</script>") >= 7
    assert set(page.seen) == {
        *("b", "div", "i", "li", "p", "rect", "small"),
        *("svg", "table", "tbody", "td", "th", "thead", "tr", "ul"),
    }
    as_html(checkup_view(nasty, full=True)).encode()

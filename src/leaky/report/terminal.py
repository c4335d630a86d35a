"""A diagnosis on a terminal: the verdict in a line, a table by layer, the findings with what to do.

It must be readable at 80 columns, use the width where there is more, carry its meaning without colour, and fall back
to ASCII where the terminal knows nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from leaky.diagnosis import Diagnosis
from leaky.report import rows as report_rows
from leaky.report.findings import LEVEL_STYLES, all_findings, findings_by_rule
from leaky.report.groups import shortened
from leaky.report.pen import Pen
from leaky.report.rows import Shares
from leaky.report.sites import WIDE, legend, site_table

STATES = (
    ("dead", "dead", "█", "red"),
    ("locked", "locked", "▓", "yellow"),
    ("unproven", "silent so far", "▒", "magenta"),
    ("dormant", "dormant", "░", "cyan"),
    ("others", "others", "·", "dim"),
)
"""(attribute of Shares, its words, its sign in the bar, its colour)."""


class TerminalReport:
    """A diagnosis that rich can print.

    Attributes:
        diagnosis: what it shows.
        full: whether each finding is shown in full, not only the worst of each rule.
        sites: "auto" for a table of many sites made short, "all" for a row each.
    """

    def __init__(self, diagnosis: Diagnosis, full: bool = False, sites: str = "auto") -> None:
        self.diagnosis = diagnosis
        self.full = full
        self.sites = sites

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _report(self.diagnosis, Pen.of(options), self.full, self.sites)


def _report(diagnosis: Diagnosis, pen: Pen, full: bool, sites: str) -> Iterable[RenderableType]:
    rows = report_rows.rows(diagnosis)
    first = report_rows.lead(diagnosis)
    if first is not None:
        yield pen.text(first[1], LEVEL_STYLES[first[0]])
    yield pen.text(report_rows.headline(diagnosis), "bold")
    if rows:
        yield _bar(report_rows.shares(rows), pen)
    yield pen.text(report_rows.subtitle(diagnosis), "dim")
    yield Text()
    if rows:
        shown = shortened(rows, diagnosis) if sites == "auto" else rows
        yield site_table(shown, pen)
        if len(shown) < len(rows):
            yield pen.text(f"{len(rows)} sites in {len(shown)} lines; --sites all shows a row for each", "dim")
        yield legend(rows, pen)
        yield Text()
    yield from (all_findings if full else findings_by_rule)(diagnosis, pen)
    if diagnosis.record.not_examined:
        yield pen.text("Not examined", "bold")
        yield from (pen.bullet(f"{item.name}: {item.reason}") for item in diagnosis.record.not_examined)
        yield Text()
    for note in diagnosis.record.notes:
        yield pen.text(f"Note: {note}", "dim")
    if diagnosis.conclusion:
        yield pen.text(diagnosis.conclusion, "bold")
    if rows:
        yield pen.text(diagnosis.confidence, "dim")


def _bar(total: Shares, pen: Pen) -> Text:
    """All units side by side, at least a cell for each state that has any; below it what the signs mean."""
    bar, meaning = Text(), Text()
    for (state, words, sign, style), cells in zip(STATES, _cells(total, min(pen.width, WIDE)), strict=True):
        bar.append(pen.words(sign) * cells, style)
        if cells:
            meaning.append(f"{pen.words(sign)} ", style).append(f"{getattr(total, state):,} {words}   ")
    return bar.append("\n").append(meaning)


def _cells(total: Shares, width: int) -> list[int]:
    """`width` cells shared out among the states; one with any unit gets at least one, the fullest gives them up."""
    counts = [getattr(total, state) for state, *_ in STATES]
    if not total.units:
        return [0] * len(counts)
    cells = [max(round(count / total.units * width), 1) if count else 0 for count in counts]
    cells[counts.index(max(counts))] += width - sum(cells)
    return cells

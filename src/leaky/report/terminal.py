"""What a reader is shown of a diagnosis: the verdict in a line, a table by layer, the findings with what to do.

It must be readable at 80 columns, use the width where there is more, carry its meaning without colour, and fall back
to ASCII where the terminal knows nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from rich.table import Table
from rich.text import Text

from leaky.diagnosis import Diagnosis, Level
from leaky.report.drawing import Drawing
from leaky.report.findings import LEVEL_TONES, all_findings, findings_by_rule
from leaky.report.groups import Group, shortened
from leaky.report.html import html_table
from leaky.report.pen import Pen
from leaky.report.rows import Shares, SiteRow, headline, lead, shares, site_rows, subtitle
from leaky.report.sites import WIDE, legend, site_table
from leaky.report.view import Block, Gap, Picture, View, line, points

STATES = (
    ("dead", "dead", "█", "red"),
    ("locked", "locked", "▓", "yellow"),
    ("unproven", "silent so far", "▒", "magenta"),
    ("dormant", "dormant", "░", "cyan"),
    ("others", "others", "·", "dim"),
)
"""(attribute of Shares, its words, its sign in the bar, its colour)."""


class TerminalReport(Drawing):
    """A diagnosis that rich can print.

    Args:
        diagnosis: what it shows.
        full: whether each finding is shown in full, not only the worst of each rule.
        sites: "auto" for a table of many sites made short, "all" for a row each.
    """

    def __init__(self, diagnosis: Diagnosis, full: bool = False, sites: str = "auto") -> None:
        super().__init__(checkup_view(diagnosis, full, sites))


def checkup_view(diagnosis: Diagnosis, full: bool = False, sites: str = "auto") -> View:
    """What a reader is shown of a diagnosis: the answer, the units, the sites, what was found and how sure that is."""
    rows = site_rows(diagnosis)
    first = lead(diagnosis)
    view: list[Block] = [] if first is None else [line(first[1], LEVEL_TONES[cast("Level", first[0])])]
    view.append(line(headline(diagnosis), "strong"))
    view += [Bar(shares(rows))] if rows else []
    view += [line(subtitle(diagnosis), "quiet"), Gap()]
    if rows:
        shown = shortened(rows, diagnosis) if sites == "auto" else rows
        view.append(Sites(tuple(shown)))
        if len(shown) < len(rows):
            view.append(line(f"{len(rows)} sites in {len(shown)} lines; --sites all shows a row for each", "quiet"))
        view += [line(legend(rows), "quiet"), Gap()]
    view += (all_findings if full else findings_by_rule)(diagnosis)
    if diagnosis.record.not_examined:
        view += [line("Not examined", "strong")]
        view += [*points(f"{item.name}: {item.reason}" for item in diagnosis.record.not_examined), Gap()]
    view += [line(f"Note: {note}", "quiet") for note in diagnosis.record.notes]
    view += [line(diagnosis.conclusion, "strong")] if diagnosis.conclusion else []
    return (*view, *([line(diagnosis.confidence, "quiet")] if rows else []))


@dataclass(frozen=True)
class Bar(Picture):
    """All units side by side, by their states."""

    total: Shares

    def on_terminal(self, pen: Pen) -> Text:
        """A line of signs, and what they mean."""
        return _bar(self.total, pen)

    def as_html(self) -> str:
        """Nothing: the headline has the numbers."""
        return ""


@dataclass(frozen=True, eq=False)
class Sites(Picture):
    """A row a site, or a block of sites."""

    rows: tuple[SiteRow | Group, ...]

    def on_terminal(self, pen: Pen) -> Table:
        """A table with the columns that the terminal has the width for."""
        return site_table(self.rows, pen)

    def as_html(self) -> str:
        """A table with bars for the firing rates."""
        return html_table(self.rows)


def _bar(total: Shares, pen: Pen) -> Text:
    """All units side by side, at least a cell for each state that has any; below it what the signs mean."""
    bar, meaning = Text(), Text()
    for (state, words, sign, style), cells in zip(STATES, cells_of(total, min(pen.width, WIDE)), strict=True):
        bar.append(pen.words(sign) * cells, style)
        if cells:
            meaning.append(f"{pen.words(sign)} ", style).append(f"{getattr(total, state):,} {words}   ")
    return bar.append("\n").append(meaning)


def cells_of(total: Shares, width: int) -> list[int]:
    """`width` cells shared out among the states; one with any unit gets at least one, the fullest gives them up."""
    counts = [getattr(total, state) for state, *_ in STATES]
    if not total.units:
        return [0] * len(counts)
    cells = [max(round(count / total.units * width), 1) if count else 0 for count in counts]
    cells[counts.index(max(counts))] += width - sum(cells)
    return cells

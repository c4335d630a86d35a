"""The table of a report: one row a site, with a picture of its units' firing rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich.table import Table
from rich.text import Text

from leaky.report.groups import Group, folded
from leaky.report.pen import Pen
from leaky.report.rows import SiteRow
from leaky.report.strip import ASCII_RAMP, RAMP, strip
from leaky.text import number, share

WIDE = 100
"""From this width on, the table has a column for the bound of each site."""


NARROWEST = 12
"""Columns that a site's name has at least."""


def site_table(rows: Sequence[SiteRow | Group], pen: Pen) -> Table:
    """The table; a column has its place where it has something to show and the terminal has the width for it."""
    columns = [column for column in COLUMNS if pen.width >= column.least_width]
    if all(row.gradient is None for row in rows):
        columns = [column for column in columns if column.name != "grad"]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    cells = [[column.cell(row, pen) for column in columns] for row in rows]
    taken = sum(
        1 + max([len(pen.words(column.name)), *(line[i].cell_len for line in cells)])
        for i, column in enumerate(columns)
    )
    room = max(NARROWEST, pen.width - taken - 1)
    table.add_column("site", no_wrap=True, min_width=NARROWEST)
    for column in columns:
        table.add_column(Text(pen.words(column.name)), no_wrap=True, justify=column.justify)
    for row, line in zip(rows, cells, strict=True):
        table.add_row(_name(row, pen, room), *line)
    return table


def legend(rows: list[SiteRow]) -> str:
    """What the table's signs mean, as far as they occur in it."""
    words = []
    if any(row.unproven for row in rows):
        words.append("+n? are silent so far, on too few samples to call them dead or locked")
    bounds = [row.bound for row in rows if row.bound is not None]
    if bounds:
        words.append(f"silent units fire on at most {share(max(bounds))} of such samples, all of them at once")
    if any(row.gradient is not None for row in rows):
        words.append("grad is the root mean square of ∂L/∂h")
    return "; ".join(words)


def _name(row: SiteRow | Group, pen: Pen, width: int) -> Text:
    output = " (output)" if row.is_output else ""
    return Text("\n".join(folded(pen.words(f"{row.name} {row.activation}{output}"), width, pen.words("…"))))


def _strip(row: SiteRow | Group, pen: Pen) -> Text:
    cells = strip(row.firing_rate, ASCII_RAMP if pen.ascii else RAMP)
    if not cells:
        return Text("no samples", "dim")
    left, right = "||" if pen.ascii else "▏▕"
    return Text.assemble((left, "dim"), (cells[0], "red"), cells[1:-1], (cells[-1], "yellow"), (right, "dim"))


def _count(count: int, style: str, uncertain: str = "") -> Text:
    certain = f"{count:,}" if count or not uncertain else ""
    return Text.assemble((certain, style if count else "dim"), (uncertain, "magenta"))


@dataclass(frozen=True)
class SiteColumn:
    """What the table shows of a row, and from which width of the terminal on."""

    name: str
    least_width: int
    cell: Callable[[SiteRow | Group, Pen], Text]
    justify: Literal["left", "right"] = "right"


COLUMNS = (
    SiteColumn("units", 56, lambda row, _: Text(f"{row.units:,}")),
    SiteColumn("never → always", 0, _strip, "left"),
    SiteColumn("dead", 0, lambda row, _: _count(row.dead, "red", f"+{row.unproven}?" if row.unproven else "")),
    SiteColumn("locked", 0, lambda row, _: _count(row.locked, "yellow")),
    SiteColumn("dormant", 56, lambda row, _: _count(row.dormant, "cyan")),
    SiteColumn("fires ≤", WIDE, lambda row, _: Text("" if row.bound is None else share(row.bound))),
    SiteColumn("range of z", 72, lambda row, pen: pen.text(row.z_range)),
    SiteColumn("grad", 72, lambda row, pen: pen.text(number(float("nan") if row.gradient is None else row.gradient))),
)
"""In their order, behind the site's name; with the widths that keep at least twelve characters for that."""

"""The table of a report: one row a site, with a picture of its units' firing rates."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from leaky.report.pen import Pen
from leaky.report.rows import Row
from leaky.report.strip import ASCII_RAMP, RAMP, strip
from leaky.report.words import number, share

WIDE = 100
"""From this width on, the table has a column for the bound of each site."""


def site_table(rows: list[Row], pen: Pen) -> Table:
    """The table; with columns for gradients where they were seen, and for each site's bound where there is room."""
    wide = pen.width >= WIDE
    gradient = any(row.gradient is not None for row in rows)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", expand=False)
    table.add_column("site", overflow="fold", min_width=12)
    table.add_column("units", no_wrap=True, justify="right")
    table.add_column(pen.words("never → always"), no_wrap=True)
    for name in ("dead", "locked", "dormant", *([pen.words("fires ≤")] if wide else []), "range of z"):
        table.add_column(name, no_wrap=True, justify="right")
    if gradient:
        table.add_column("grad", no_wrap=True, justify="right")
    for row in rows:
        cells: list[RenderableType] = [
            _name(row, pen),
            f"{row.site.units:,}",
            _strip(row, pen),
            _count(row.dead, "red", f"+{row.unproven}?" if row.unproven else ""),
            _count(row.locked, "yellow"),
            _count(row.dormant, "cyan"),
        ]
        cells += [Text("" if row.bound is None else share(row.bound))] if wide else []
        cells += [pen.text(row.z_range)]
        cells += [pen.text(number(float("nan") if row.gradient is None else row.gradient))] if gradient else []
        table.add_row(*cells)
    return table


def legend(rows: list[Row], pen: Pen) -> Text:
    """What the table's signs mean, as far as they occur in it."""
    words = []
    if any(row.unproven for row in rows):
        words.append("+n? are silent so far, on too few samples to call them dead or locked")
    bounds = [row.bound for row in rows if row.bound is not None]
    if bounds:
        words.append(f"silent units fire on at most {share(max(bounds))} of such samples, all of them at once")
    if any(row.gradient is not None for row in rows):
        words.append("grad is the root mean square of ∂L/∂h")
    return pen.text("; ".join(words), "dim")


def _name(row: Row, pen: Pen) -> Text:
    output = [(" (output)", "dim")] if row.site.is_output else []
    return pen.parts((row.site.name, ""), (f" {row.activation}", "dim"), *output)


def _strip(row: Row, pen: Pen) -> Text:
    cells = strip(row.site.firing_rate, ASCII_RAMP if pen.ascii else RAMP)
    if not cells:
        return Text("no samples", "dim")
    left, right = "||" if pen.ascii else "▏▕"
    return Text.assemble((left, "dim"), (cells[0], "red"), cells[1:-1], (cells[-1], "yellow"), (right, "dim"))


def _count(count: int, style: str, uncertain: str = "") -> Text:
    certain = f"{count:,}" if count or not uncertain else ""
    return Text.assemble((certain, style if count else "dim"), (uncertain, "magenta"))

"""Two checkups side by side on a terminal: whether it got worse and why, then everything that changed."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from leaky.diagnosis import Comparison
from leaky.report.pen import Pen
from leaky.text import counted


class ComparisonReport:
    """A comparison that rich can print."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _report(self.comparison, Pen.of(options))


def _report(found: Comparison, pen: Pen) -> Iterable[RenderableType]:
    if found.worse:
        yield pen.text(f"It got worse, for {counted(len(found.reasons), 'reason')}:", "bold red")
        yield from (pen.bullet(reason) for reason in found.reasons)
    elif not found.examined:
        yield pen.text("Nothing could be compared: no site is in both.", "bold yellow")
    else:
        yield pen.text("It did not get worse.", "bold green")
    yield Text()
    yield _totals(found)
    # The last line of its own words is the verdict, which stands above.
    changes = [line for line in str(found).splitlines()[:-2] if line]
    if changes:
        yield Text()
        yield pen.text("What changed", "bold")
        yield from (pen.bullet(change) for change in changes)


def _totals(found: Comparison) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("")
    for name in ("before", "now", "change"):
        table.add_column(name, justify="right")
    for name, (before, after) in found.totals.items():
        if before or after:
            change = f"{after - before:+,}" if after != before else ""
            table.add_row(name.replace("_", " "), f"{before:,}", f"{after:,}", change)
    return table

"""Two checkups side by side: whether it got worse and why, then everything that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leaky.report.view import Column, Gap, Line, Table, View, line, points
from leaky.text import counted

if TYPE_CHECKING:
    from leaky.diagnosis.comparison import Comparison


def comparison_view(found: Comparison) -> View:
    """What a reader is shown of a comparison."""
    changes: View = (Gap(), line("What changed", "strong"), *points(found.changes)) if found.changes else ()
    return (_verdict(found), *points(found.reasons), Gap(), _totals(found), *changes)


def _verdict(found: Comparison) -> Line:
    if found.worse:
        return line(f"It got worse, for {counted(len(found.reasons), 'reason')}:", "error")
    if not found.examined:
        return line("Nothing could be compared: no site is in both.", "warning")
    return line("It did not get worse.", "good")


def _totals(found: Comparison) -> Table:
    columns = (Column(""), *(Column(name, numbers=True) for name in ("before", "now", "change")))
    rows = [
        (name.replace("_", " "), f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else "")
        for name, (before, after) in found.totals.items()
        if before or after
    ]
    return Table(columns, tuple(rows))

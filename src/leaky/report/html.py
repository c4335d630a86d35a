"""The table of a report's sites in HTML, with the firing rates of each as ten bars."""

from __future__ import annotations

from collections.abc import Sequence

from leaky.report.fragment import words
from leaky.report.groups import Group
from leaky.report.rows import SiteRow
from leaky.report.strip import histogram
from leaky.text import number, share

STRIP_COLOURS = ("#c0392b", *["#7f8c8d"] * 8, "#b9770e")
"""Never, the parts between, always."""


def html_table(rows: Sequence[SiteRow | Group]) -> str:
    """A row a site, or a block of sites."""
    gradient = any(row.gradient is not None for row in rows)
    names = ["site", "units", "never → always", "dead", "locked", "dormant", "range of z"] + ["grad"] * gradient
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(_row(row, gradient) for row in rows)}</tbody></table>"


def _row(row: SiteRow | Group, gradient: bool) -> str:
    bound = "" if row.bound is None else f" title='silent units fire on at most {share(row.bound)} of such samples'"
    cells = [
        f"{words(row.name)} <small>{words(row.activation)}{' (output)' * row.is_output}</small>",
        f"{row.units:,}",
        _strip(row),
        f"{row.dead:,}" + (f" +{row.unproven:,}?" if row.unproven else ""),
        f"{row.locked:,}",
        f"{row.dormant:,}",
        words(row.z_range),
    ]
    cells += [number(float("nan") if row.gradient is None else row.gradient)] if gradient else []
    data = "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)
    return f"<tr{bound}>{data}</tr>"


def _strip(row: SiteRow | Group) -> str:
    """The histogram of firing rates as ten bars."""
    counts = histogram(row.firing_rate)
    fullest = max(counts) or 1
    bars = "".join(
        f'<rect x="{8 * i}" y="{16 - height:g}" width="7" height="{height:g}" fill="{colour}"/>'
        for i, (count, colour) in enumerate(zip(counts, STRIP_COLOURS, strict=True))
        if (height := max(1.0, round(16 * count / fullest, 1)) if count else 0)
    )
    return f'<svg width="80" height="16" role="img" aria-label="firing rates: {counts}">{bars}</svg>'

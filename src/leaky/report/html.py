"""A diagnosis as a fragment of HTML for notebooks: no script, no style sheet, every word escaped."""

from __future__ import annotations

from collections.abc import Iterable

from leaky.diagnosis import Diagnosis, Finding
from leaky.report import rows as report_rows
from leaky.report.fragment import words
from leaky.report.rows import Row
from leaky.report.strip import histogram
from leaky.text import number, ranges, share

LEVEL_COLOURS = {"error": "#c0392b", "warning": "#b9770e", "info": "#2471a3"}
STRIP_COLOURS = ("#c0392b", *["#7f8c8d"] * 8, "#b9770e")
"""Never, the parts between, always."""


def as_html(diagnosis: Diagnosis) -> str:
    """The report as one `<div>`."""
    rows = report_rows.rows(diagnosis)
    record = diagnosis.record
    parts = [
        f"<p><b>{words(report_rows.headline(diagnosis))}</b><br><small>{words(report_rows.subtitle(diagnosis))}"
        "</small></p>",
        _table(rows) if rows else "",
        *(_finding(finding) for finding in diagnosis.findings if finding.level != "info"),
        _notes([finding for finding in diagnosis.findings if finding.level == "info"]),
        _list("Not examined", (f"{item.name}: {item.reason}" for item in record.not_examined)),
        _list("Notes", record.notes),
        f"<p><small>{words(diagnosis.confidence)}</small></p>" if rows else "",
    ]
    return f'<div class="leaky">{"".join(parts)}</div>'


def _table(rows: list[Row]) -> str:
    gradient = any(row.gradient is not None for row in rows)
    names = ["site", "units", "never → always", "dead", "locked", "dormant", "range of z"] + ["grad"] * gradient
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(_row(row, gradient) for row in rows)}</tbody></table>"


def _row(row: Row, gradient: bool) -> str:
    bound = "" if row.bound is None else f" title='silent units fire on at most {share(row.bound)} of such samples'"
    cells = [
        f"{words(row.site.name)} <small>{words(row.activation)}{' (output)' * row.site.is_output}</small>",
        f"{row.site.units:,}",
        _strip(row),
        f"{row.dead:,}" + (f" +{row.unproven:,}?" if row.unproven else ""),
        f"{row.locked:,}",
        f"{row.dormant:,}",
        words(row.z_range),
    ]
    cells += [number(float("nan") if row.gradient is None else row.gradient)] if gradient else []
    data = "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells)
    return f"<tr{bound}>{data}</tr>"


def _strip(row: Row) -> str:
    """The histogram of firing rates as ten bars."""
    counts = histogram(row.site.firing_rate)
    fullest = max(counts) or 1
    bars = "".join(
        f'<rect x="{8 * i}" y="{16 - height:g}" width="7" height="{height:g}" fill="{colour}"/>'
        for i, (count, colour) in enumerate(zip(counts, STRIP_COLOURS, strict=True))
        if (height := max(1.0, round(16 * count / fullest, 1)) if count else 0)
    )
    return f'<svg width="80" height="16" role="img" aria-label="firing rates: {counts}">{bars}</svg>'


def _finding(finding: Finding) -> str:
    units = f"<br><small>units {ranges(finding.units)}</small>" if finding.units else ""
    return (
        f'<p><b style="color:{LEVEL_COLOURS[finding.level]}">{finding.level}</b> '
        f"<b>{words(finding.site or 'network')}</b> <small>[{words(finding.rule)}]</small><br>"
        f"{words(finding.message)}{units}<br><i>→ {words(finding.advice)}</i></p>"
    )


def _notes(findings: list[Finding]) -> str:
    if not findings:
        return ""
    return f"<details><summary>{len(findings)} noted</summary>{''.join(map(_finding, findings))}</details>"


def _list(title: str, items: Iterable[str]) -> str:
    points = "".join(f"<li>{words(item)}</li>" for item in items)
    return f"<p>{title}</p><ul>{points}</ul>" if points else ""

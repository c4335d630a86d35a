"""A view as a fragment of HTML for notebooks: no script, no style sheet, every word escaped."""

from __future__ import annotations

from html import escape

from leaky.report.view import Block, Gap, Line, Points, Table, Tone, View
from leaky.text import printable

COLOURS: dict[Tone, str] = {"error": "#c0392b", "warning": "#b9770e", "note": "#2471a3", "good": "#1e8449"}
TAGS: dict[Tone, str] = {"strong": "b", "quiet": "small", "advice": "i"}


def as_html(view: View) -> str:
    """The view as one `<div>`."""
    return f'<div class="leaky">{"".join(map(_drawn, view))}</div>'


def words(text: str) -> str:
    """Untrusted text, escaped for HTML."""
    return escape(printable(text))


def _drawn(block: Block) -> str:
    if isinstance(block, Line):
        indent = f' style="margin-left:{2 * block.indent}em"' if block.indent else ""
        return f"<p{indent}>{''.join(_span(text, tone) for text, tone in block.spans)}</p>"
    if isinstance(block, Points):
        return f"<ul>{''.join(f'<li>{words(item)}</li>' for item in block.items)}</ul>"
    if isinstance(block, Table):
        return _table(block)
    return "" if isinstance(block, Gap) else block.as_html()


def _span(text: str, tone: Tone) -> str:
    if tone in COLOURS:
        return f'<b style="color:{COLOURS[tone]}">{words(text)}</b>'
    return f"<{TAGS[tone]}>{words(text)}</{TAGS[tone]}>" if tone in TAGS else words(text)


def _table(block: Table) -> str:
    aligned = [f' style="text-align:{"right" if column.numbers else "left"}"' for column in block.columns]
    head = "".join(f"<th{side}>{words(c.name)}</th>" for c, side in zip(block.columns, aligned, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{side}>{_span(cell, column.tone)}</td>"
            for cell, column, side in zip(row, block.columns, aligned, strict=True)
        )
        + "</tr>"
        for row in block.rows
    )
    headed = f"<thead><tr>{head}</tr></thead>" if any(column.name for column in block.columns) else ""
    return f"<table>{headed}<tbody>{body}</tbody></table>"

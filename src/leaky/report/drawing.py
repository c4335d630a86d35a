"""A view on a terminal, as rich draws it; and as plain text without any escape sequence.

It must be readable at 80 columns, carry its meaning without colour, and fall back to ASCII where the terminal knows
nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Literal

import click
import rich.table
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text

from leaky.report.pen import Pen
from leaky.report.view import Block, Gap, Line, Points, Table, Tone, View

STYLES: dict[Tone, str] = {
    "": "",
    "strong": "bold",
    "quiet": "dim",
    "advice": "italic",
    "good": "bold green",
    "note": "bold blue",
    "warning": "bold yellow",
    "error": "bold red",
}
INDENT = 2
NARROW = 60
"""Columns of a terminal below which everything is wrapped."""


class Drawing:
    """A view that rich can print."""

    def __init__(self, view: View) -> None:
        self.view = view

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pen = Pen.of(options)
        for block in self.view:
            yield from _drawn(block, pen)


def _drawn(block: Block, pen: Pen) -> Iterable[RenderableType]:
    if isinstance(block, Line):
        text = pen.parts(*((words, STYLES[tone]) for words, tone in block.spans))
        yield Padding(text, (0, 0, 0, INDENT * block.indent)) if block.indent else text
    elif isinstance(block, Points):
        step = (0, 0, 0, INDENT * (block.indent - 1))  # a point stands one step in by itself
        yield from (Padding(pen.bullet(item), step) if block.indent > 1 else pen.bullet(item) for item in block.items)
    elif isinstance(block, Gap):
        yield Text()
    elif isinstance(block, Table):
        yield _table(block, pen)
    else:
        yield block.on_terminal(pen)


def _table(block: Table, pen: Pen) -> rich.table.Table:
    headed = any(column.name for column in block.columns)
    table = rich.table.Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold", show_header=headed)
    for column in block.columns:
        side: Literal["left", "right"] = "right" if column.numbers else "left"
        whole = column.whole and pen.width >= NARROW
        table.add_column(Text(pen.words(column.name)), justify=side, overflow="fold", no_wrap=whole)
    styles = [STYLES[column.tone] for column in block.columns]
    for row in block.rows:
        table.add_row(*(pen.text(words, style) for words, style in zip(row, styles, strict=True)))
    return table


def as_text(report: RenderableType, width: int = 80, encoding: str = "utf-8") -> str:
    """What rich would print, as plain text without any escape sequence, lines of at most `width` columns."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    console = Console(file=stream, width=width, color_system=None, force_terminal=False, _environ={})
    console.print(report)
    stream.seek(0)
    return "\n".join(line.rstrip() for line in stream.read().splitlines())


def show(report: RenderableType) -> None:
    """Print to stdout: in colour to a terminal that wants it, as plain text to a file or another program."""
    console = Console()
    if console.is_terminal:
        console.print(report)
    else:
        click.echo(as_text(report, console.width, console.encoding))

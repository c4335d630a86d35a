"""What a reader is shown of a result, as plain data: lines, points, tables, pictures of counts.

A view must hold everything that every renderer shows and nothing of how: the terminal, plain text and the notebook draw
the same one. Words in it may come from outside; the renderers escape all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Tone = Literal["", "strong", "quiet", "advice", "good", "note", "warning", "error"]
Span = tuple[str, Tone]
"""Words, and how they are meant."""


@dataclass(frozen=True)
class Line:
    """Words that follow each other; wrapped where they are too long.

    Attributes:
        spans: the words.
        indent: steps to the right.
    """

    spans: tuple[Span, ...]
    indent: int = 0


@dataclass(frozen=True)
class Points:
    """A list of points."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Gap:
    """Some room."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, and whether it holds numbers."""

    name: str
    numbers: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of words under headings."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Line | Points | Gap | Table
View = tuple[Block, ...]


def line(words: str, tone: Tone = "", indent: int = 0) -> Line:
    """A line in one tone."""
    return Line(((words, tone),), indent)


def titled(title: str, words: str, tone: Tone = "strong", indent: int = 0) -> Line:
    """A line that begins with what it is about: "Kept: …"."""
    return Line(((f"{title}: ", tone), (words, "")), indent)


def points(items: Iterable[str]) -> tuple[Points, ...]:
    """A list of points; nothing for none."""
    found = tuple(items)
    return (Points(found),) if found else ()

"""What a reader is shown of a result, as plain data: lines, points, tables, pictures.

A view must hold everything that every renderer shows and nothing of how: the terminal, plain text and the notebook draw
the same one. Words in it may come from outside; the renderers escape all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Tone = Literal["", "strong", "quiet", "advice", "good", "note", "warning", "error"]
Span = tuple[str, Tone]
"""Words, and how they are meant."""


@dataclass(frozen=True)
class Line:
    """A line of text in one or several styles, wrapped to the width.

    Attributes:
        spans: the words.
        indent: steps to the right.
    """

    spans: tuple[Span, ...]
    indent: int = 0


@dataclass(frozen=True)
class Points:
    """A bulleted list, indented by a number of levels."""

    items: tuple[str, ...]
    indent: int = 1


@dataclass(frozen=True)
class Gap:
    """A blank line."""


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its heading; a table whose columns have none has no line of headings.
        numbers: whether it holds numbers.
        tone: of its words.
        whole: whether its words are not wrapped, where the terminal is not too narrow for that.
    """

    name: str
    numbers: bool = False
    tone: Tone = ""
    whole: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of words under headings."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


class Picture:
    """Data that are shown in a way of their own; nothing else of a view knows how it is drawn."""

    def on_terminal(self, pen: Any) -> Any:
        """What rich prints, written with the pen of this terminal."""
        raise NotImplementedError

    def as_html(self) -> str:
        """A fragment of HTML, every word escaped."""
        raise NotImplementedError


Block = Line | Points | Gap | Table | Picture
View = tuple[Block, ...]


def line(words: str, tone: Tone = "", indent: int = 0) -> Line:
    """A line in one tone."""
    return Line(((words, tone),), indent)


def titled(title: str, words: str, tone: Tone = "strong", indent: int = 0) -> Line:
    """A line that begins with what it is about: "Kept: …"."""
    return Line(((f"{title}: ", tone), (words, "")), indent)


def points(items: Iterable[str], indent: int = 1) -> tuple[Points, ...]:
    """A list of points; nothing for none."""
    found = tuple(items)
    return (Points(found, indent),) if found else ()

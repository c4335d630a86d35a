"""Escapes untrusted text for a terminal: never as markup, and in ASCII where the encoding allows no more."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.text import Text

from leaky.text import ascii_only, printable


@dataclass(frozen=True)
class Pen:
    """Writes for one terminal: `width` columns, ASCII alone or everything."""

    width: int
    ascii: bool

    @classmethod
    def of(cls, options: ConsoleOptions) -> Pen:
        """The pen for a console as rich describes it."""
        return cls(options.max_width, options.ascii_only)

    def words(self, words: str) -> str:
        """`words` as this terminal can show them, control characters spelled out."""
        shown = printable(words)
        return ascii_only(shown) if self.ascii else shown

    def text(self, words: str, style: str = "") -> Text:
        """`words` that wrap and never lose a character."""
        return Text(self.words(words), style=style, overflow="fold")

    def parts(self, *parts: tuple[str, str]) -> Text:
        """One text of (words, style) parts."""
        text = Text(overflow="fold")
        for words, style in parts:
            text.append(self.words(words), style)
        return text

    def bullet(self, words: str) -> RenderableType:
        """A point of a list."""
        return Padding(self.text(f"· {words}"), (0, 0, 0, 2))

"""Mixin that shows a result as text, on a terminal and in a notebook, all from one view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leaky.report.view import View

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

WIDTH = 10_000
"""Columns of `str(result)`: whoever prints a string wraps it, or searches in it."""


def as_text(view: View, width: int = WIDTH) -> str:
    """A view as plain text."""
    from leaky.report import drawing

    return drawing.as_text(drawing.Drawing(view), width)


class Shown:
    """A result with a `view`; what draws it is imported at first use."""

    def view(self) -> View:
        """What a reader is shown."""
        raise NotImplementedError

    def __str__(self) -> str:
        return as_text(self.view())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from leaky.report.drawing import Drawing

        yield Drawing(self.view())

    def _repr_html_(self) -> str:
        from leaky.report.fragment import as_html

        return as_html(self.view())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._repr_html_()}

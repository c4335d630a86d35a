"""The interface of all engines."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from leaky.tuning.trial import Cell, Trial


def never() -> bool:
    """A stop condition that is never met."""
    return False


class Engine(Protocol):
    """Trains the cells of a study."""

    @property
    def at_once(self) -> int:
        """Cells that it takes at a time."""

    @property
    def description(self) -> str:
        """How it trains, for the reader."""

    def run(self, cells: list[Cell], stop: Callable[[], bool] = ...) -> Generator[Trial, None, None]:
        """The trainings of these cells as they end; a further one begins when the caller comes back for more.

        After `stop` no further one begins, and cells without a result are left.
        """

    def close(self) -> None:
        """Give up what the engine holds: processes, for one."""

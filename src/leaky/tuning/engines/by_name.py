"""A task by its name, for processes that cannot be sent the code itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

from leaky.tuning.engines.engine import Engine, never
from leaky.tuning.trial import Cell, Trial
from leaky.user_code import resolve


def task_named(name: str) -> Any:
    """The task or objective that "package.module:name" or "path/to/file.py:name" names.

    Raises:
        InputError: if there is none.
    """
    return resolve(name, "TASK")


@dataclass
class NamedEngine:
    """An engine that each process makes for itself.

    Attributes:
        name: of the task.
        make: the engine of a task; picklable.
    """

    name: str
    make: Callable[[Any], Engine]
    _made: Engine | None = field(default=None, repr=False)

    @property
    def at_once(self) -> int:
        """Cells that it takes at a time."""
        return self._engine().at_once

    @property
    def description(self) -> str:
        """How it trains, for the reader."""
        return self._engine().description

    def run(self, cells: list[Cell], stop: Callable[[], bool] = never) -> Generator[Trial, None, None]:
        """The trainings of these cells, as they end."""
        return self._engine().run(cells, stop)

    def close(self) -> None:
        """Give up what the engine holds."""
        if self._made is not None:
            self._made.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return (NamedEngine, (self.name, self.make))

    def _engine(self) -> Engine:
        if self._made is None:
            self._made = self.make(task_named(self.name))
        return self._made

"""KeyboardInterrupt at a chosen line of leaky: the hardest moment for whatever must be put back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import leaky

SOURCE = str(Path(leaky.__file__).parent)


class _Interrupter:
    """Counts the lines of leaky that run, and raises at one of them."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.lines = 0
        self.place = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(SOURCE):
            return None
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self


def lines_of(run: Callable[[], Any]) -> int:
    """How many lines of leaky one run takes."""
    return _traced(run, None).lines


def interrupted_at(run: Callable[[], Any], line: int) -> str:
    """Run with an interruption at that line; returns its place, "" if it never came to it."""
    return _traced(run, line).place


def _traced(run: Callable[[], Any], at: int | None) -> _Interrupter:
    interrupter, before = _Interrupter(at), sys.gettrace()
    sys.settrace(interrupter)
    try:
        run()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return interrupter

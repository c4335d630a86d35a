"""KeyboardInterrupt at a chosen line of leaky: the hardest moment for whatever must be put back."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import leaky

SOURCE = str(Path(leaky.__file__).parent)
PATIENCE = 300.0
"""Seconds after which an interrupted run counts as one that hangs."""


class Point(NamedTuple):
    """One execution of a line: which of the run's, where, and from where its function was called."""

    number: int
    place: str
    caller: str


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
            self.comes_to(frame)
        return self

    def comes_to(self, frame: FrameType) -> None:
        """Interrupt here, if this is the line."""
        if self.lines == self.at:
            self.place = _place(frame)
            raise KeyboardInterrupt


class _Recorder(_Interrupter):
    """Remembers every line that runs."""

    def __init__(self) -> None:
        super().__init__(None)
        self.points: list[Point] = []

    def comes_to(self, frame: FrameType) -> None:
        caller = _place(frame.f_back) if frame.f_back else ""
        self.points.append(Point(self.lines, _place(frame), caller))


class _Forker(_Interrupter):
    """At each of some lines, a child of this process is interrupted there, and this one goes on."""

    def __init__(self, numbers: Collection[int]) -> None:
        super().__init__(None)
        self.numbers = frozenset(numbers)
        self.child: int | None = None
        self.found: list[tuple[str, set[str]]] = []

    def comes_to(self, frame: FrameType) -> None:
        if self.lines not in self.numbers:
            return
        reading, writing = os.pipe()
        drawn = random.getstate()
        child = os.fork()
        if not child:
            random.setstate(drawn)  # Python itself begins anew in a child
            os.close(reading)
            self.child = writing
            raise KeyboardInterrupt
        os.close(writing)
        self.found.append((_place(frame), _told(child, reading)))


def _told(child: int, reading: int) -> set[str]:
    """What an interrupted child found to be changed."""
    content = b""
    while select.select([reading], [], [], PATIENCE)[0] and (part := os.read(reading, 65536)):
        content += part
    os.close(reading)
    if not content:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return set(json.loads(content)) if content else {"it did not end"}


def _place(frame: FrameType) -> str:
    path = frame.f_code.co_filename
    return f"{os.path.relpath(path, SOURCE) if path.startswith(SOURCE) else Path(path).name}:{frame.f_lineno}"


def lines_of(run: Callable[[], Any]) -> int:
    """How many lines of leaky one run takes."""
    return _traced(run, _Interrupter(None)).lines


def points_of(run: Callable[[], Any]) -> list[Point]:
    """Every line of leaky that one run takes, in order."""
    recorder = _Recorder()
    _traced(run, recorder)
    return recorder.points


def distinct(points: Iterable[Point]) -> list[int]:
    """The first and the last execution of each line, for each place that its function is called from."""
    first: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], int] = {}
    for point in points:
        first.setdefault(point[1:], point.number)
        last[point[1:]] = point.number
    return sorted({*first.values(), *last.values()})


def interrupted_at(run: Callable[[], Any], line: int) -> str:
    """Run with an interruption at that line; returns its place, "" if it never came to it."""
    return _traced(run, _Interrupter(line)).place


def interrupted_in_children(
    run: Callable[[], Any], numbers: Collection[int], look: Callable[[], set[str]]
) -> list[tuple[str, set[str]]]:
    """Run once, and at each of these lines fork a child that is interrupted there and looks at what has changed.

    So a point costs what comes after it, not the run up to it. Where the interruption did not come out of `run`, or
    something else did, that is among what is found.

    Returns:
        (place, what has changed) of each interruption.
    """
    forker, before = _Forker(numbers), sys.gettrace()
    raised = "the interruption was swallowed"
    sys.settrace(forker)
    try:
        run()
    except KeyboardInterrupt:
        raised = ""
    except BaseException as error:
        raised = f"{type(error).__name__} instead of the interruption: {error}"
    finally:
        sys.settrace(before)
    if forker.child is None:
        return forker.found
    try:
        found = look() | ({raised} if raised else set())
    except BaseException as error:
        found = {f"looking raised {type(error).__name__}: {error}"}
    os.write(forker.child, json.dumps(sorted(found)).encode())
    os._exit(0)


def _traced(run: Callable[[], Any], interrupter: _Interrupter) -> Any:
    before = sys.gettrace()
    sys.settrace(interrupter)
    try:
        run()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return interrupter

"""Clean-ups that are not cut short: what arrives meanwhile, Ctrl-C for one, is raised when they are done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

MOST = 20
"""Interruptions of one step after which it is given up: somebody insists."""


def surely(steps: Iterable[Callable[[], None]]) -> None:
    """Run every step, whatever an earlier one raised; a step that was interrupted runs again.

    Args:
        steps: functions that may run twice.

    Raises:
        BaseException: the first that any of them raised, after the last step.
    """
    first: BaseException | None = None
    for step in steps:
        for _ in range(MOST):
            try:
                step()
                break
            except Exception as error:  # it would fail again
                first = first or error
                break
            except BaseException as error:
                first = first or error
    if first is not None:
        raise first


def surely_twice(steps: Callable[[], Iterable[Callable[[], None]]]) -> None:
    """The same, also where the interruption comes between two steps: then all of them run again.

    Args:
        steps: makes the steps.
    """
    try:
        surely(steps())
    except BaseException:
        surely(steps())
        raise


def undone_unless_done(act: Callable[[], T], undo: Callable[[], None]) -> T:
    """What `act` returns; where it raises, `undo` has run, also where its own beginning was interrupted.

    Args:
        act: the work.
        undo: puts back what `act` changed; may run twice.
    """
    try:
        try:
            return act()
        except BaseException:
            undo()
            raise
    except BaseException:
        undo()
        raise

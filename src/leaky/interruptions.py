"""Clean-ups that are not cut short: what arrives meanwhile, Ctrl-C for one, is raised when they are done."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Kind = type[BaseException] | None

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


class Leaving(Generic[T]):
    """`__exit__` written as a generator: what a `with` statement calls at its end is inside the generator's `try`.

    A function can be interrupted before its first line, whatever that line is. So the generator goes to its first
    `yield` when the `with` statement looks `__exit__` up, before the block, and compiled code wakes it up after it.

    The generator yields ALERT inside its `try`, then WOKEN there, which gives the kind of what the block raised or
    None; after its work it yields DONE for ever. What it raises leaves the `with` statement.

    Args:
        waits: the generator function, of the context manager.
    """

    ALERT, WOKEN, DONE = 0, 1, 0

    def __init__(self, waits: Callable[[T], Generator[int, Kind, None]]) -> None:
        self.waits = waits

    def __get__(self, manager: T | None, owner: type[T]) -> Callable[..., None]:
        if manager is None:  # an ExitStack looks it up at the class, and gives the manager with the rest
            return lambda manager, *raised: self.__get__(manager, owner)(*raised)
        left = self.waits(manager)
        next(left)
        # max hands None, then kind, value and trace of what was raised, to `send` in turn, and gives back the one for
        # which most was yielded: None for WOKEN, so that nothing is swallowed.
        compiled: Callable[..., Any] = partial(max, None, key=left.send)
        return compiled

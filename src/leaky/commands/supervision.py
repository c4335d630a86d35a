"""Runs a study in a forked process and restarts it if that process dies, for example in a segfault.

The fork is taken before torch or any code of the user's is loaded, so that nothing of theirs (threads, devices, locks)
is in the parent. What had ended is in the study's storage; a training over which the process died twice has that for
a result, and the study goes on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from leaky.commands.ending import Status, debugging, status_of
from leaky.signals import heard, listening
from leaky.tuning.child_process import end_with_parent

SLACK = 0.5
"""Seconds after the time limit in which the work may end by itself."""
GRACE = 3.0
"""Seconds in which it must have ended once it was interrupted for that."""
OVER = 1e-3
"""Seconds left of a time limit that is over."""
REPORTING = 120.0
"""Seconds for the answer of a study whose time is over, which a run of its own then gives."""
VAIN = 6
"""Deaths in a row after which it is given up, where no training ended meanwhile."""

Work = Callable[[str, "float | None"], int]
"""Runs the study in this storage, for so many seconds, and returns the status."""


def possible() -> bool:
    """Whether this process can safely be forked: it is the `leaky` program and runs no other threads."""
    return listening() and sys.platform == "linux" and "torch" not in sys.modules and not debugging()


def supervised(work: Work, storage: str | None, time_limit: float | None) -> int:
    """Do the work in a child process, restarting it if it dies, and return its exit status."""
    with _journal(storage) as place:
        until = None if time_limit is None else time.monotonic() + time_limit
        deaths, before = 0, -1
        while True:
            left = None if until is None else max(until - time.monotonic(), OVER)
            child = _Child(work, place, left)
            status = child.outcome()
            if status is not None:
                return status
            buried, ended = _bury(place, child.owner)
            if child.too_long and left != OVER:
                continue
            deaths, before = (deaths + 1 if ended == before else 1), ended
            if not buried or deaths > VAIN:
                click.echo(f"Error: code of the task ended the program ({child.end})", err=True)
                return Status.WRONG_INPUT


def _bury(place: str, owner: str) -> tuple[int, int]:
    from leaky.tuning.storage.store import bury_in

    return bury_in(place, owner) if "://" in place or Path(place).exists() else (0, 0)


@contextlib.contextmanager
def _journal(storage: str | None) -> Iterator[str]:
    if storage is not None:
        yield storage
        return
    with tempfile.TemporaryDirectory(prefix="leaky-") as folder:
        yield f"{folder}/study.journal"


class _Child:
    """The process that does the work once."""

    def __init__(self, work: Work, place: str, left: float | None) -> None:
        self.too_long = False
        self.end = ""
        given = None if left is None else REPORTING if left == OVER else left + SLACK
        self._until = None if given is None else time.monotonic() + given
        reading, writing = os.pipe()
        parent = os.getpid()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: ours only waits
            self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            _work(work, place, left, writing, parent)
        os.close(writing)
        with contextlib.suppress(OSError):
            os.setpgid(self.pid, self.pid)  # Ctrl-C of a terminal then comes here, and goes on from here
        self._pipe = reading
        from leaky.tuning.storage.ownership import owner_of

        self.owner = owner_of(self.pid)

    def outcome(self) -> int | None:
        """The status that it ended with; None if it died, or had to be ended at the time limit."""
        try:
            return self._outcome()
        finally:
            self._kill()
            os.close(self._pipe)

    def _outcome(self) -> int | None:
        while True:
            try:
                if self._answered():
                    return self._status()
            except KeyboardInterrupt:
                os.kill(self.pid, signal.SIGINT)  # it ends with the answer so far
                self._until = None

    def _answered(self) -> bool:
        """Wait for its end; False where it was ended by the time limit and may still answer."""
        left = None if self._until is None else self._until - time.monotonic()
        if select.select([self._pipe], [], [], None if left is None else max(left, 0.0))[0]:
            return True
        if not self.too_long:
            self.too_long = True
            os.kill(self.pid, signal.SIGINT)
            self._until = time.monotonic() + GRACE
            return False
        self._kill()
        return True

    def _status(self) -> int | None:
        told = os.read(self._pipe, 1)
        _, ended = os.waitpid(self.pid, 0)
        self.pid = 0
        if told and not (self.too_long and told[0] == Status.INTERRUPTED):  # it had not begun the study
            return told[0]
        code = os.waitstatus_to_exitcode(ended)
        self.end = f"status {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return None

    def _kill(self) -> None:
        if self.pid:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)


def _work(work: Work, place: str, left: float | None, writing: int, parent: int) -> None:
    """In the child: the work, its status into the pipe, and out."""
    status = int(Status.INTERNAL)
    try:
        with contextlib.suppress(OSError):
            os.setpgid(0, 0)
        end_with_parent(parent, group=True)
        with heard():
            status = status_of(lambda: work(place, left))
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os.write(writing, bytes([status]))
    finally:
        os._exit(status)

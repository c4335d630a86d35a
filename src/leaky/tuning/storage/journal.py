"""A journal file that a killed process cannot damage.

Optuna's own locks are files that outlive the process that made them, and a line that was cut off by a kill would make
the file unreadable at the next append. Here the kernel drops the lock with its process, and whoever locks the journal
next removes what was cut off.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, cast

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from leaky.errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


class KernelLock:
    """An exclusive lock that ends with the process that holds it.

    Ctrl-C at any instant, and a fork while it is held, must not leave it locked: it is unlocked, not just closed,
    and what an interrupted call of the same thread left behind is given up first.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: dict[int, int] = {}

    def acquire(self) -> bool:
        """Wait for the lock, then cut off an unfinished last line."""
        self.release()
        handle = os.open(f"{self._path}.lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._held[threading.get_ident()] = handle
            _cut_off_unfinished_line(self._path)
        except BaseException:
            if threading.get_ident() in self._held:
                self.release()
            else:
                fcntl.flock(handle, fcntl.LOCK_UN)
                os.close(handle)
            raise
        return True

    def release(self) -> None:
        """Give the lock up, if this thread has it."""
        handle = self._held.get(threading.get_ident())
        if handle is not None:
            fcntl.flock(handle, fcntl.LOCK_UN)  # a process that was forked meanwhile has the handle as well
            del self._held[threading.get_ident()]
            os.close(handle)


def _cut_off_unfinished_line(path: str) -> None:
    with Path(path).open("rb+") as stream:
        end = stream.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            begin = max(0, at - 4096)
            stream.seek(begin)
            found = stream.read(at - begin).rfind(b"\n")
            if found >= 0:
                at = begin + found + 1
                break
            at = begin
        if at < end:
            stream.truncate(at)


def journal_storage(path: str) -> Any:
    """Optuna's storage in a journal file.

    Raises:
        InputError: if the file is no journal or cannot be written.
    """
    if not Path(path).absolute().parent.is_dir():
        raise InputError(f"the folder of the storage {path!r} must exist")
    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"the storage {path!r} must be a regular file, or not be there yet")
    try:
        return JournalStorage(JournalFileBackend(path, cast(Any, KernelLock(path)) if fcntl else None))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"the storage {path!r} must be a journal file of Optuna's: {error}") from error

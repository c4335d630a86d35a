"""A journal file that a killed process cannot damage.

Optuna's own locks are files that outlive the process that made them, and a line that was cut off by a kill would make
the file unreadable at the next append. Here the kernel drops the lock with its process, and whoever locks the journal
next removes what was cut off.
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from typing import Any, cast

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation

from leaky.documents import loads
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
            cut_off_unfinished_line(self._path)
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


def cut_off_unfinished_line(path: str) -> None:
    """Truncate the file after its last complete line: a killed process may have written part of one."""
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


def _must_be_a_journal(path: Path) -> None:
    """Check each line: a damaged journal is refused with the line's number; Optuna would fail obscurely or hang."""
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"the storage {str(path)!r} must be a regular file, or not be there yet")
    seen: set[bytes] = set()
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if not line.endswith(b"\n"):
                    return  # cut off by a kill; whoever writes next removes it
                wrong = _wrong(line, seen)
                if wrong:
                    raise InputError(
                        f"the storage {str(path)!r} must be a journal file of Optuna's; line {number} {wrong}"
                    )
    except OSError as error:
        raise InputError(f"the storage {str(path)!r} must be readable: {error.strerror}") from error


def _wrong(line: bytes, seen: set[bytes]) -> str:
    """The error in a line, or ""; state from the preceding lines is kept in `seen`."""
    try:
        entry = loads(line, "it")
    except InputError as error:
        return f"is no JSON object: {str(error).partition(': ')[2] or error}"
    code, digest = entry.get("op_code"), hashlib.blake2b(line, digest_size=16).digest()
    if type(code) is not int or not 0 <= code < len(JournalOperation):
        return "has no op_code that Optuna knows"
    if digest in seen and code != JournalOperation.CREATE_TRIAL:  # undated: one that was given back can be begun again
        return "stands there twice: take it out, or begin with another storage"
    seen.add(digest)
    return ""


def journal_storage(path: str) -> Any:
    """Optuna's storage in a journal file.

    Raises:
        InputError: if the file is no journal or cannot be written.
    """
    if not Path(path).absolute().parent.is_dir():
        raise InputError(f"the folder of the storage {path!r} must exist")
    _must_be_a_journal(Path(path))
    try:
        return JournalStorage(JournalFileBackend(path, cast(Any, KernelLock(path)) if fcntl else None))
    except Exception as error:  # whatever Optuna makes of lines that are none of its own
        raise InputError(f"the storage {path!r} must be a journal file of Optuna's: {error}") from error

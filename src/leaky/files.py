"""Files that are written whole or not at all, to wherever their name points.

A regular file is replaced by one atomic rename, durably, with the owner and permissions that it had; a symlink stays
one and what it points to is replaced. A device, a pipe or a descriptor is never replaced: it is written through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import tempfile
from pathlib import Path

from leaky.errors import InputError

Name = str | os.PathLike[str]

PREFIX = ".leaky-"
"""Of temporary files; short and the same for all, since a target's own name may be as long as names can be."""
PROBE = 4096
"""Bytes that are written, and removed again, to see whether a folder takes any."""
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/(?:fd/([0-9]{1,9})|(stdout)|(stderr))")


def write_whole(path: Name, content: bytes) -> None:
    """Write `content` to what `path` points to.

    Raises:
        InputError: if the folder does not exist or the file cannot be written; an old file then stands as it was.
    """
    try:
        target = _target(path)
        if target is None:
            _write_through(path, content)
        elif not target.parent.is_dir():
            raise InputError(f"the folder of {os.fspath(path)!r} must exist; make {str(target.parent)!r} first")
        else:
            _replace(target, content)
    except OSError as error:
        raise InputError(f"{os.fspath(path)!r} must be writable: {error.strerror or error}") from error


def must_be_writable(path: Name, what: str) -> None:
    """Tell before the work what would fail after it; what can be told without writing to the file itself.

    Args:
        path: of a file that is to be written later.
        what: it is called by the user, "--json" for one.

    Raises:
        InputError: if it is a folder, its own folder does not exist, takes no file, or the disk is full.
    """
    wanted = f"{what} must be a file in a folder that exists and can be written to, not {os.fspath(path)!r}"
    try:
        target = _target(path)
        if target is None:
            possible = _descriptor(path) is not None or os.access(path, os.W_OK)
        else:
            possible = bool(os.fspath(path)) and not target.is_dir() and target.parent.is_dir()
            if possible:
                _probe(target)
    except OSError as error:
        raise InputError(f"{wanted}: {error.strerror or error}") from error
    if not possible:
        raise InputError(wanted)


def same_file(one: Name, other: Name) -> bool:
    """Whether what is written to one name replaces what the other names; devices and pipes are never replaced."""
    places = [_target(name) for name in (one, other)]
    return None not in places and places[0] == places[1]


def _target(path: Name) -> Path | None:
    """The regular file to replace, there or not yet, behind every symlink; None for what is written through."""
    if "\0" in os.fspath(path):
        raise InputError(f"the name of a file must have no null character, not {os.fspath(path)!r}")
    if os.fspath(path).endswith(os.sep):
        raise InputError(f"the name of a file must not end in {os.sep!r}, as {os.fspath(path)!r} does")
    if _descriptor(path) is not None:
        return None
    with contextlib.suppress(FileNotFoundError):
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return None
    return Path(os.path.realpath(path))


def _descriptor(path: Name) -> int | None:
    """The descriptor of this process that `path` names, as /dev/stdout and `>(…)` of a shell do."""
    found = _DESCRIPTOR.fullmatch(os.path.normpath(os.fspath(path)))
    if found is None:
        return None
    return int(found[1]) if found[1] else 1 if found[2] else 2


def _write_through(path: Name, content: bytes) -> None:
    descriptor = _descriptor(path)
    if descriptor is None:
        handle = os.open(path, os.O_WRONLY)
    else:
        # Through the same open file and after what was printed: opened anew it would begin at its start.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        handle = os.dup(descriptor)
    _fill(handle, content, durable=False)


def _replace(target: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(prefix=PREFIX, dir=target.parent)
    try:
        _keep_owner_and_mode(handle, target)
        _fill(handle, content)
        try:
            Path(temporary).replace(target)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # One file that is mounted into a container cannot be renamed over.
            _fill(os.open(target, os.O_WRONLY | os.O_TRUNC), content)
    finally:
        Path(temporary).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # some file systems know no such thing
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _fill(handle: int, content: bytes, durable: bool = True) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())


def _keep_owner_and_mode(handle: int, target: Path) -> None:
    """Those of the file that is replaced, or those that `open` would have given a new one."""
    try:
        old = target.stat()
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        os.fchmod(handle, 0o666 & ~umask)
        return
    if (old.st_uid, old.st_gid) != (os.getuid(), os.getgid()):
        with contextlib.suppress(OSError):  # only root may give a file to somebody else
            os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode))


def _probe(target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        target.lstat()  # tells a name that is too long
    handle, temporary = tempfile.mkstemp(prefix=PREFIX, dir=target.parent)
    try:
        _fill(handle, bytes(PROBE), durable=False)
    finally:
        Path(temporary).unlink(missing_ok=True)

"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from leaky.errors import InputError


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to `path` through a temporary file beside it and one atomic rename.

    Raises:
        InputError: if the folder does not exist or the file cannot be written; an old file then stands as it was.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"the folder of {str(target)!r} must exist; make {str(target.parent)!r} first")
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise InputError(f"{str(target)!r} must be writable: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(temporary).chmod(_permissions(target))
        Path(temporary).replace(target)
    except OSError as error:
        raise InputError(f"{str(target)!r} must be writable: {error.strerror}") from error
    finally:
        Path(temporary).unlink(missing_ok=True)


def _permissions(target: Path) -> int:
    """Those of the file that is replaced, or those that `open` would have given a new one."""
    if target.exists():
        return target.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask

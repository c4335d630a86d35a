"""An exception as one line for a person: what happened, and where in *their* code.

A line, not a traceback: what leaky raises on purpose already says what to do, and of what the user's code raises, the
innermost line of that code is what helps.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from leaky.errors import LeakyError
from leaky.text import in_a_line, printable

MOST = 400
"""Characters of an exception's own words that are shown."""


def one_line(error: BaseException, context: str = "", ours: bool = False) -> str:
    """The message of `error`, and for anything but a `LeakyError` its type and its place in the user's code.

    Args:
        error: what was raised.
        context: what the error happened on, for errors of the user's code.
        ours: whether its place is looked for in leaky instead.
    """
    words = in_a_line(_words(error))
    if isinstance(error, LeakyError):
        return words
    words = words if len(words) <= MOST else f"{words[: MOST - 2]} …"
    place = _own_place(error) if ours else _place(error)
    parts = [f"{type(error).__name__}{': ' * bool(words)}{words}", f"at {place}" if place else "", context]
    return "; ".join(part for part in parts if part)


def is_internal(error: BaseException) -> bool:
    """Whether leaky's own code went wrong: raised there, or below it without any code of the user's or of a model."""
    if isinstance(error, (LeakyError, OSError, MemoryError, ImportError)) or not isinstance(error, Exception):
        return False
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    if _is_ours(frames[-1].filename):
        return True
    others = [frame for frame in frames if not _is_ours(frame.filename)]
    return all(_is_installed(frame.filename) and frame.name != "forward" for frame in others)


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # somebody's own __str__
        return "(its message could not be made)"


def _own_place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame.filename)]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}, in {frames[-1].name}" if frames else ""


def _place(error: BaseException) -> str:
    """The innermost frame of the user's code; "" where the user's code had not begun."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    theirs = [frame for frame in frames if not _is_installed(frame.filename)]
    # Of a package's frames, a layer's forward says more than what torch calls inside it.
    theirs = theirs or [frame for frame in frames if frame.name == "forward"] or frames
    if not theirs:
        return ""
    frame = theirs[-1]
    file = Path(frame.filename)
    near = file.is_relative_to(Path.cwd()) and not _is_installed(frame.filename)
    shown = os.path.relpath(file) if near else file.name
    line = f" `{frame.line}`" if frame.line else ""
    return printable(f"{shown}:{frame.lineno}, in {frame.name}:{line}")


def _is_ours(filename: str) -> bool:
    """Of leaky, or of the command line's own library."""
    ours = (Path(__file__).parent, Path(click.__file__).parent)
    return filename.startswith("<") or any(Path(filename).is_relative_to(folder) for folder in ours)


def _is_installed(filename: str) -> bool:
    """Of torch, of another package or of Python itself."""
    library = Path(os.__file__).parent
    path = Path(filename)
    return path.is_relative_to(library) or path.is_relative_to(sys.prefix) or "site-packages" in path.parts

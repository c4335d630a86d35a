"""A situation, and what most of them must end in: one line for a mistake of the user's."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from leaky.errors import LeakyError

LONGEST = 1000
"""Characters of a line that still is one."""


@dataclass(frozen=True)
class Situation:
    """Something that is tried.

    Attributes:
        kind: of issue.
        name: of this one.
        run: does it in an empty folder; raises where it does not end as it should.
    """

    kind: str
    name: str
    run: Callable[[Path], None]


def one_line(act: Callable[[], object], *words: str) -> None:
    """`act` is refused in one line with these words."""
    try:
        act()
    except LeakyError as error:
        check_line(str(error), *words)
    else:
        raise AssertionError("it was accepted")


def survives(act: Callable[[], object], *words: str) -> None:
    """`act` works, or is refused in one line with these words."""
    try:
        act()
    except LeakyError as error:
        check_line(str(error), *words)


def check_line(line: str, *words: str) -> None:
    """One printable line that is not too long."""
    assert "\n" not in line, f"several lines: {line[:200]!r}"
    assert line.isprintable(), f"not printable: {line[:200]!r}"
    assert len(line) <= LONGEST, f"{len(line)} characters"
    for word in words:
        assert word in line, f"{word!r} not in {line[:200]!r}"


def command(*arguments: str, status: tuple[int, ...], words: str = "") -> str:
    """Run the command line here; what it printed to stdout.

    Raises:
        AssertionError: if the status is another, or stderr has more than a line of error or lacks the words.
    """
    from leaky.commands import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ended = run(arguments)
    errors = [line for line in err.getvalue().splitlines() if line.startswith("Error: ")]
    assert ended in status, f"status {ended}: {err.getvalue()[-300:]!r}"
    assert "Traceback" not in err.getvalue()
    assert len(errors) == (ended in (2, 3) and bool(err.getvalue())), f"{len(errors)} errors: {err.getvalue()[-300:]!r}"
    for line in errors:
        check_line(line)
    assert words in err.getvalue(), f"{words!r} not in {err.getvalue()[-300:]!r}"
    return out.getvalue()

"""Where results go: the report to stdout, JSON beside it, and what the user's code prints to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from leaky.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from leaky.serialization import Json


@contextlib.contextmanager
def own_stdout() -> Iterator[None]:
    """Keep stdout for the report: what the user's code prints, from C or another process too, goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def write_result(report: RenderableType, data: Json, json_path: str | None) -> None:
    """Write the JSON where it was asked for, and show the report unless the JSON has stdout to itself."""
    from leaky.files import write_whole
    from leaky.report.terminal import show
    from leaky.serialization import dumps

    content = dumps(data).encode()  # UTF-8, whatever the locale
    if json_path not in (None, "-"):
        write_whole(json_path or "", content)
        click.echo(f"Wrote {json_path}", err=True)
    try:
        if json_path == "-":
            click.echo(content, nl=False)
        else:
            show(report)
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted, and the status is that of the check. Python must not complain when
        # it flushes stdout at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def check_writable(json_path: str | None) -> None:
    """Told before the work, not after it."""
    if json_path in (None, "-"):
        return
    path = Path(json_path or "")
    if not path.parent.is_dir() or path.is_dir():
        raise InputError(f"--json must be - or a file in a folder that exists, not {str(path)!r}")

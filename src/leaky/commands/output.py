"""Where results go: files first, then the report to stdout; what the user's code prints goes to stderr.

What was computed is never lost: a file that cannot be written is kept under another name and the report comes all the
same, and a reader of stdout that goes away (`| head`) changes neither the files nor the status.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leaky.errors import InputError
from leaky.files import must_be_writable, same_file, write_whole

if TYPE_CHECKING:
    from rich.console import RenderableType


@contextlib.contextmanager
def own_stdout() -> Iterator[None]:
    """Keep stdout for the report: what the user's code prints, from C or another process too, goes to stderr."""
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # closed by whoever started us
        yield
        return
    try:
        with contextlib.suppress(OSError):
            os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@dataclass(frozen=True)
class ResultFiles:
    """Where a command writes its result.

    Attributes:
        json_path: a file, "-" for stdout, None for none.
        html: the file of the page, None for none.
        html_dir: the folder of the page in parts, None for none.
    """

    json_path: str | None
    html: str | None
    html_dir: str | None

    def check(self, *read: str | None) -> None:
        """Raise before any work is done if a file could not be written, or is one of those that are `read`."""
        if self.json_path not in (None, "-"):
            must_be_writable(self.json_path or "", "--json")
        check_page_places(self.html, self.html_dir)
        check_apart((("--json", self.json_path), ("--html", self.html)), read)

    def write(self, kind: str, thing: Any, report: RenderableType | str) -> None:
        """Write the files of a result, and show the report unless the JSON has stdout to itself.

        Raises:
            InputError: after the report, if a file could not be written.
        """
        from leaky.documents import dumps

        with written_first(pages(kind, thing, self.html, self.html_dir)):
            write_result(report, dumps(thing.to_dict()), self.json_path)


def write_result(report: RenderableType | str, content: str, json_path: str | None) -> None:
    """Write the JSON where it was asked for, and show the report unless the JSON has stdout to itself.

    Raises:
        InputError: after the report, if the file could not be written.
    """
    if json_path == "-":
        _through(lambda: click.echo(content.encode(), nl=False))  # UTF-8, whatever the locale
        return
    encoded = content.encode()
    with written_first(() if json_path is None else ((json_path, lambda path: write_whole(path, encoded)),)):
        show(report)


def check_apart(written: Sequence[tuple[str, str | None]], read: Sequence[str | None]) -> None:
    """Raise before any work is done if a result would overwrite another result or an input.

    Args:
        written: (option, its file); None and "-" are no files.
        read: names of files, or of things in them as MODEL, DATA and TASK are.
    """
    taken = [name for spec in read if spec for name in (spec, spec.rpartition(":")[0]) if os.path.isfile(name)]  # noqa: PTH113 (Path raises where a name is too long)
    for option, path in written:
        if path is None or path == "-":
            continue
        if any(same_file(path, other) for other in taken):
            raise InputError(f"{option} must not be {path!r}, which is read or written as something else")
        taken.append(path)


def check_page_places(html: str | None, html_dir: str | None, option: str = "--html") -> None:
    """Raise before any work is done if a page could not be written; the folder is created now."""
    if html is not None:
        must_be_writable(html, option)
    if html_dir is not None:
        from leaky.report.page import make_folder

        make_folder(html_dir)


def pages(kind: str, thing: Any, html: str | None, html_dir: str | None) -> list[tuple[str, Callable[[str], None]]]:
    """The page files that were asked for, each with the function that writes it, for `written_first`."""
    if html is None and html_dir is None:
        return []
    from leaky.report.page import page_of

    page = page_of(kind, thing)
    wanted = ((html, page.save), (html_dir, page.save_in_parts))
    return [(path, save) for path, save in wanted if path is not None]


@contextlib.contextmanager
def written_first(files: Sequence[tuple[str, Callable[[str], None]]]) -> Iterator[None]:
    """Write the files, then run the body, which prints the report even if writing failed.

    Args:
        files: (path, what writes there).

    Raises:
        InputError: after the body, if a file could not be written; it says where its content was kept.
    """
    failed: list[str] = []
    for path, save in files:
        try:
            save(path)
        except InputError as error:
            kept = _kept_elsewhere(path, save)
            failed.append(f"{error}{f'; its content is in {kept!r}' if kept else ''}")
        else:
            note(f"Wrote {path}")
    yield
    if failed:
        raise InputError("; ".join(failed))


def _kept_elsewhere(path: str, save: Callable[[str], None]) -> str | None:
    try:
        folder = tempfile.mkdtemp(prefix="leaky-")
    except OSError:
        return None
    place = str(Path(folder) / Path(path).name)
    try:
        save(place)
    except InputError:
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
        return None
    return place


def say(text: str) -> None:
    """Print to stdout; in ASCII where it knows no more."""
    from leaky.text import ascii_only

    def write() -> None:
        try:
            click.echo(text)
        except UnicodeEncodeError:
            click.echo(ascii_only(text))

    _through(write)


def show(report: RenderableType | str) -> None:
    """Print a report to stdout."""
    if isinstance(report, str):
        say(report)
        return
    from leaky.report import drawing

    _through(lambda: drawing.show(report))


def note(text: str) -> None:
    """Print a line to stderr."""
    from leaky.text import printable

    with contextlib.suppress(OSError):
        click.echo(printable(text), err=True)


def _through(write: Callable[[], None]) -> None:
    try:
        write()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has what it wanted, and the status is that of the work.
        _silence()
    except OSError as error:
        _silence()
        raise InputError(f"the standard output must be writable: {error.strerror or error}") from error


def _silence() -> None:
    """Replace a broken stdout so that Python's flush at exit does not raise."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

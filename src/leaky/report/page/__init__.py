"""Any result as one offline page, without torch: thing → content → columns → HTML.

The page must open from an e-mail: one file, no request, no server. What it draws with is the bundle of page/ at the top
of the repository, built once and shipped, so that installing needs no Node.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaky import documents
from leaky.diagnosis import Diagnosis, diagnose
from leaky.errors import InputError
from leaky.files import write_whole
from leaky.report.page import assembly
from leaky.report.page.checkup import DETAILS, Detail, checkup_content
from leaky.report.page.columns import Columns
from leaky.report.page.comparison import comparison_content
from leaky.report.page.diagram import diagram_content
from leaky.report.page.plain import plain_page
from leaky.report.page.repair import repair_content
from leaky.report.page.run import run_content
from leaky.report.page.study import study_content
from leaky.report.page.wording import told
from leaky.text import printable

LARGEST = 6_000_000
"""Bytes of a page, up to which figures of single units keep their precision."""

Content = Callable[[Columns, Detail], dict[str, Any]]


@dataclass(frozen=True)
class Page:
    """A page, ready to be written.

    Attributes:
        title: of the browser's window.
        table: the fragment for readers without script.
        packed: the data, in base64.
    """

    title: str
    table: str
    packed: str

    def one_file(self) -> str:
        """The page as one file of HTML, with script, style and data inside."""
        return assembly.one_file(self.title, self.table, self.packed)

    def in_parts(self) -> dict[str, str]:
        """The page as several files by name, for servers that forbid inline script and style."""
        return assembly.in_parts(self.title, self.table, self.packed)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page as one file, whole or not at all.

        Raises:
            InputError: if the file cannot be written.
        """
        write_whole(path, self.one_file().encode())

    def save_in_parts(self, folder: str | os.PathLike[str]) -> None:
        """Write the page as index.html with script, style and data beside it; the page itself comes last.

        Raises:
            InputError: if the folder cannot be made or a file cannot be written.
        """
        make_folder(folder)
        for name, text in reversed(self.in_parts().items()):
            write_whole(Path(folder) / name, text.encode())


def make_folder(folder: str | os.PathLike[str]) -> None:
    """The folder for a page in parts.

    Raises:
        InputError: if it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"the folder {os.fspath(folder)!r} must be one that can be made: {reason}") from error


def page(document: Mapping[str, Any]) -> str:
    """The page of a saved result, as one file of HTML.

    Args:
        document: what `to_dict` gives and `save` writes: a checkup, a comparison, a study, a repair, …

    Raises:
        InputError: if it is no document that this leaky knows.
    """
    thing = documents.from_data(dict(document), "the document")
    return page_of(str(document.get("kind", "checkup")), thing).one_file()


def page_of(kind: str, thing: Any) -> Page:
    """The page of a result.

    Args:
        kind: of its document.
        thing: the result, as `documents.from_data` gives it.
    """
    if kind == "checkup":
        return checkup_page(thing.diagnosis)
    if kind == "record":
        return checkup_page(diagnose(thing))
    return _fitted(lambda columns, detail: _content(kind, thing, columns))


def _content(kind: str, thing: Any, columns: Columns) -> dict[str, Any]:
    if kind == "comparison":
        return comparison_content(thing)
    if kind == "study":
        return study_content(thing, columns)
    if kind == "run":
        return run_content(thing, columns)
    return repair_content(thing) if kind == "repair" else _in_words(kind, thing)


def diagram_page(slopes: Sequence[float], gain: float, clamp: float | None) -> Page:
    """The page of the function, with a slider that begins at the first slope."""
    return _fitted(lambda columns, detail: diagram_content(slopes, gain, clamp))


def checkup_page(diagnosis: Diagnosis) -> Page:
    """The page of a checkup; figures of single units are rounded where it would grow beyond `LARGEST` bytes."""
    units = sum(site.units for site in diagnosis.record.sites)
    return _fitted(lambda columns, detail: checkup_content(diagnosis, columns, detail), units)


def _in_words(kind: str, thing: Any) -> dict[str, Any]:
    """A result that has no page of its own: what printing it says."""
    first, _, text = str(thing).partition("\n")
    lines = [printable(line) for line in text.splitlines()]
    name = told(kind)
    return {
        "kind": "words",
        "title": name,
        "name": name,
        "verdict": told(first),
        "level": "info",
        "subtitle": "",
        "text": "\n".join(lines),
    }


def _fitted(content_of: Content, units: int = 0) -> Page:
    """The page in the most detail that keeps it within `LARGEST` bytes."""
    spare = LARGEST - len(assembly.bundle("bundle.js")) - len(assembly.bundle("bundle.css"))
    for detail in DETAILS:
        if units * detail.least > spare:
            continue
        columns = Columns()
        content = content_of(columns, detail)
        table, packed = plain_page(content), columns.pack(content)
        if len(table) + len(packed) <= spare:
            break
    return Page(f"{content['title']} · leaky", table, packed)

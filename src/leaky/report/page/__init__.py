"""Any result as one offline page, without torch: content → columns → HTML.

The page must open from an e-mail: one file, no request, no server. What it draws with is the bundle of page/ at the top
of the repository, built once and shipped, so that installing needs no Node.
"""

from __future__ import annotations

from dataclasses import dataclass

from leaky.diagnosis import Diagnosis
from leaky.report.page import assembly
from leaky.report.page.checkup import DETAILS, checkup_content
from leaky.report.page.columns import Columns
from leaky.report.page.plain import plain_page

LARGEST = 6_000_000
"""Bytes of a page, up to which figures of single units keep their precision."""


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


def checkup_page(diagnosis: Diagnosis) -> Page:
    """The page of a checkup; figures of single units are rounded where it would grow beyond `LARGEST` bytes."""
    spare = LARGEST - len(assembly.bundle("bundle.js")) - len(assembly.bundle("bundle.css"))
    for detail in DETAILS:
        columns = Columns()
        content = checkup_content(diagnosis, columns, detail)
        table, packed = plain_page(content), columns.pack(content)
        if len(table) + len(packed) <= spare:
            break
    return Page(f"{content['title']} · leaky", table, packed)

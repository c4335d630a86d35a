"""A checkup in a notebook's cell: its page in a frame of its own, the plain table below for viewers without frames."""

from __future__ import annotations

from html import escape

from leaky.diagnosis import Diagnosis
from leaky.report.fragment import as_html
from leaky.report.page import checkup_page
from leaky.report.terminal import checkup_view

LARGEST_IN_A_CELL = 2_000_000
"""Characters of a page in a notebook: the notebook's file holds one for each cell that shows a checkup."""


def in_a_cell(diagnosis: Diagnosis) -> str:
    """The page in a sandboxed frame and the table, folded; the table alone where the page is large."""
    table = as_html(checkup_view(diagnosis))
    page = checkup_page(diagnosis).one_file()
    if len(page) > LARGEST_IN_A_CELL:
        return table
    frame = (
        '<iframe sandbox="allow-scripts" title="leaky: the checkup as a page" width="100%" height="640" '
        f'style="border:0" srcdoc="{escape(page)}"></iframe>'
    )
    return f"{frame}<details><summary>The checkup as a table</summary>{table}</details>"

"""`leaky page`: a saved result as one offline page, on a machine without torch too."""

from __future__ import annotations

from pathlib import Path

import click

from leaky.commands.options import html_options
from leaky.commands.output import check_apart, check_page_places, pages, written_first


@click.command("page")
@click.argument("file")
@click.option("--out", metavar="FILE.html", help="Where it goes; by default beside FILE, with the suffix .html.")
@html_options("--html-dir")
def command(file: str, out: str | None, html_dir: str | None) -> None:
    """Show FILE, a document or a log of leaky's, as a page: a checkup, a comparison, a study, a repair, a run.

    The page is one file that asks for nothing: it opens from a disk, an e-mail or a server.
    """
    html = out if out is not None or html_dir is not None else str(Path(file).with_suffix(".html"))
    check_page_places(html, html_dir, "--out")
    check_apart((("--out", html),), (file,))
    from leaky import documents

    kind, thing = documents.opened(file)
    with written_first(pages(kind, thing, html, html_dir)):
        pass

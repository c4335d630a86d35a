"""`leaky compare`: what got worse between two checkups."""

from __future__ import annotations

import click

from leaky.commands.ending import Status
from leaky.commands.options import html_options, json_option
from leaky.commands.output import ResultFiles


@click.command("compare")
@click.argument("old")
@click.argument("new")
@json_option
@html_options()
def command(old: str, new: str, json_path: str | None, html: str | None, html_dir: str | None) -> Status:
    """Say what appeared, what went and what grew from OLD to NEW, two JSON files of `leaky check`.

    Exits with 1 where something got worse, with 3 where no site is in both.
    """
    files = ResultFiles(json_path, html, html_dir)
    files.check(old, new)
    from leaky.diagnosis import compare
    from leaky.documents import load_as

    found = compare(load_as("checkup", old), load_as("checkup", new))
    files.write("comparison", found, found)
    if found.worse:
        return Status.FOUND
    return Status.OK if found.examined else Status.NOTHING_EXAMINED

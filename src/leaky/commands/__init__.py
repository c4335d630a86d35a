"""The command line: it parses, calls, prints and exits. Nothing heavy is imported before it is needed.

One module a verb, each with its `command`; what they share stands in `options`, `output` and `ending`.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from leaky import __version__
from leaky.commands import check, compare, page, plot, repair, slope, tune
from leaky.commands.ending import STATUS_HELP, Status, status_of

__all__ = ["Status", "run"]


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its status."""
    # Not in click's standalone mode: that ends with 1 for some failures, and 1 means that something was found.
    return status_of(lambda: cli.main(arguments, prog_name="leaky", standalone_mode=False))


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=STATUS_HELP,
)
@click.version_option(__version__, prog_name="leaky")
def cli() -> None:
    """Find the units of a neural network that have stopped learning."""


for verb in (check, compare, repair, slope, tune, plot, page):
    cli.add_command(verb.command)

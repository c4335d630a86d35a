"""How a command ends: with a status that scripts rely on, and for a mistake with one line on stderr.

LEAKY_DEBUG=1 shows a traceback instead of the line.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import click

from leaky.errors import LeakyError, NothingExaminedError

TRACEBACK_HINT = " (LEAKY_DEBUG=1 shows the traceback)"


class Status(IntEnum):
    """Exit statuses; scripts rely on them."""

    OK = 0
    FOUND = 1
    WRONG_INPUT = 2
    NOTHING_EXAMINED = 3
    INTERRUPTED = 130


def status_of(act: Callable[[], Any]) -> int:
    """Run a command and return its status."""
    try:
        return int(act() or Status.OK)
    except click.ClickException as error:
        error.show()
        return Status.WRONG_INPUT
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return Status.INTERRUPTED
    except SystemExit as stop:
        # sys.exit(0) in code that builds a model must not read as "nothing was found".
        click.echo(f"Error: code of the model or the data ended the program (status {stop.code})", err=True)
        return Status.WRONG_INPUT
    except Exception as error:
        if _debugging():
            raise
        from leaky.failures import one_line

        hint = "" if isinstance(error, LeakyError) else TRACEBACK_HINT
        click.echo(f"Error: {one_line(error)}{hint}", err=True)
        return Status.NOTHING_EXAMINED if isinstance(error, NothingExaminedError) else Status.WRONG_INPUT


def _debugging() -> bool:
    return os.environ.get("LEAKY_DEBUG", "0") not in ("", "0")

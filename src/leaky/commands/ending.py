"""Exit statuses of the commands, and errors as one line on stderr.

LEAKY_DEBUG=1 shows a traceback instead of the line.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any

import click

from leaky import signals
from leaky.errors import LeakyError, NothingExaminedError
from leaky.signals import Terminated
from leaky.text import printable, shortened

LONGEST = 400
"""Characters of what click says of an argument, which it repeats."""
TRACEBACK_HINT = " (LEAKY_DEBUG=1 shows the traceback)"


class Status(IntEnum):
    """Exit statuses; scripts rely on them."""

    OK = 0
    FOUND = 1
    WRONG_INPUT = 2
    NOTHING_EXAMINED = 3
    INTERNAL = 70
    INTERRUPTED = 130
    TERMINATED = 143


STATUS_HELP = """\b
Exit status of every command
  0    done; nothing that a gate should stop at
  1    check: a finding; compare: it got worse; repair: rolled back
  2    wrong usage or input, or the user's code failed
  3    nothing could be examined or compared
  70   an error of leaky's own
  130  interrupted (Ctrl-C); 143 terminated (SIGTERM)

LEAKY_DEBUG=1 in the environment shows a traceback with an error."""


def status_of(act: Callable[[], Any]) -> int:
    """Run a command and return its status."""
    try:
        return int(act() or Status.OK)
    except click.ClickException as error:
        words = shortened(printable(error.format_message()), LONGEST)
        with contextlib.suppress(OSError):
            click.UsageError(words, getattr(error, "ctx", None)).show()
        return Status.WRONG_INPUT
    except (click.Abort, KeyboardInterrupt, Terminated) as arrived:
        return Status(signals.status_of(arrived))
    except SystemExit as stop:
        if _is_clicks_own(stop):
            return Status.OK
        # sys.exit(0) in code that builds a model must not read as "nothing was found".
        words = f"Error: code of the model or the data ended the program (status {stop.code})"
        return _told(words, Status.WRONG_INPUT)
    except BaseException as error:
        return _failed(error)


def _is_clicks_own(stop: SystemExit) -> bool:
    """Whether click raised this SystemExit, as it does when the pipe that its help goes to is closed."""
    frame = stop.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and Path(frame.tb_frame.f_code.co_filename).parent == Path(click.__file__).parent


def _failed(error: BaseException) -> int:
    if debugging():
        raise error
    from leaky.failures import is_internal, one_line

    if isinstance(error, LeakyError):
        missing = isinstance(error, NothingExaminedError)
        return _told(f"Error: {one_line(error)}", Status.NOTHING_EXAMINED if missing else Status.WRONG_INPUT)
    if is_internal(error):
        words = f"Error: leaky itself failed, please report it: {one_line(error, ours=True)}{TRACEBACK_HINT}"
        return _told(words, Status.INTERNAL)
    return _told(f"Error: {one_line(error)}{TRACEBACK_HINT}", Status.WRONG_INPUT)


def _told(words: str, status: Status) -> Status:
    with contextlib.suppress(OSError):  # nobody reads stderr
        click.echo(words, err=True)
    return status


def debugging() -> bool:
    """Whether tracebacks are asked for."""
    return os.environ.get("LEAKY_DEBUG", "0") not in ("", "0")

"""What the processes that a study starts have in common: how they start, and that none outlives its parent."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any

from leaky.errors import InputError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

POLL = 0.2
"""Seconds between two looks whether the parent is there."""


def must_be_picklable(engine: Any, option: str) -> None:
    """Check that an engine can be sent to a process that imports everything anew.

    Args:
        engine: with the task or objective that it trains.
        option: what asks for such a process, for the message.

    Raises:
        InputError: if it cannot be pickled.
    """
    import pickle  # the command line imports this module, and needs none

    try:
        pickle.dumps(engine)
    except Exception as error:
        raise InputError(
            f"with {option} the objective or task must be importable: a function at the top level of a module, "
            f"not a lambda or a function inside another ({error})"
        ) from error


def start(process: BaseProcess) -> None:
    """Start a process, without Python's warning that it may be forked beside threads."""
    with warnings.catch_warnings():
        # Here such a thread may be waiting to give signs of life, no more.
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()


def end_with_parent(parent: int, group: bool = False) -> None:
    """Called in a child: from now on it ends once its parent has died.

    Args:
        parent: the id of the parent.
        group: end the process group that this process leads, too.
    """
    threading.Thread(target=_end_with, args=(parent, group), daemon=True).start()


def _end_with(parent: int, group: bool) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    if group:
        with contextlib.suppress(OSError, AttributeError):
            os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)

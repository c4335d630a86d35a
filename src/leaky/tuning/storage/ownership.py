"""Whether the process that runs a training still lives.

On this machine the kernel knows. Of another machine's process only signs of life are seen, and their absence is
measured with our own clock, since clocks of two machines need not agree.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

SIGN_OF_LIFE_EVERY = 20.0
"""Seconds between two signs of life of a running training."""
SILENCE = 90.0
"""Seconds without one after which a training of another machine counts as orphaned."""


def this_process() -> str:
    """A name that no other process has: machine, its boot, process id and the process's start."""
    return owner_of(os.getpid())


def owner_of(pid: int) -> str:
    """The same of a process of this machine that is there."""
    return f"{_machine()} {pid} {_start(pid)}"


def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node() or 'unnamed'} {boot.read_text().strip() if boot.exists() else '-'}"


def _start(pid: int) -> str:
    """When a process started, in ticks since boot; "-" where the system does not tell."""
    try:
        # The name of the program stands in brackets and may itself hold spaces and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return "-"


def _is_here(owner: str) -> bool:
    return owner.rsplit(" ", 2)[0] == _machine()


def _lives_here(owner: str) -> bool:
    _, pid, start = owner.rsplit(" ", 2)
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives and is another user's
        return True
    return _start(int(pid)) == start


@dataclass
class OrphanWatch:
    """Which of the running trainings are orphans; remembers what it saw of other machines."""

    _seen: dict[int, tuple[object, float]] = field(default_factory=dict)

    def orphans(self, running: Iterable[tuple[int, str, object]]) -> list[int]:
        """The ids of trainings whose process is gone.

        Args:
            running: (id, owner, last sign of life) of every running training.
        """
        now = time.monotonic()
        gone = []
        for trial, owner, sign in running:
            if _is_here(owner):
                if not _lives_here(owner):
                    gone.append(trial)
                continue
            if self._seen.get(trial, (None, 0.0))[0] != sign:
                self._seen[trial] = (sign, now)
            elif now - self._seen[trial][1] > SILENCE:
                gone.append(trial)
        return gone

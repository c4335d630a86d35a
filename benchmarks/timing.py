"""Interleaved timing: contenders take turns in one process, so that what slows the machine slows all of them."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Work = Callable[[], Any]


@dataclass(frozen=True)
class Times:
    """Seconds of every turn of one contender."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def interleaved(contenders: dict[str, Work], budget: float, least: int = 7, most: int = 2000) -> dict[str, Times]:
    """Time contenders A B C A B C …

    Args:
        contenders: by name.
        budget: seconds that all turns together may take, once `least` turns are done.
        least: turns of each at the least.
        most: turns of each at the most.
    """
    repeats = {name: _repeats(work) for name, work in contenders.items()}
    turns: dict[str, list[float]] = {name: [] for name in contenders}
    began = time.perf_counter()
    for turn in range(most):
        for name, work in contenders.items():
            turns[name].append(_time(work, repeats[name]))
        if turn + 1 >= least and time.perf_counter() - began > budget:
            break
    return {name: Times(tuple(seconds)) for name, seconds in turns.items()}


def ratio(times: dict[str, Times], name: str, base: str) -> float:
    """The ratio of the medians."""
    return times[name].median / times[base].median


def _time(work: Work, repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - began) / repeats


def _repeats(work: Work) -> int:
    """Calls a turn: enough that the clock's own cost does not count."""
    work()
    return max(1, int(2e-4 / max(_time(work, 3), 1e-7)))


def machine() -> dict[str, str | int]:
    """What the figures were measured on, without naming whose it is."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = models[0] if models else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cpu": cpu, "cores": cores, "system": platform.system(), "python": platform.python_version()}

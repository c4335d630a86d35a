"""How long a fresh process takes until leaky answers: `import leaky` and `leaky --help`, less `python -c ''`.

    python -m benchmarks.cold_start

Processes take turns, A B C A B C …; a figure is a median less the median of the bare interpreter's. Each is measured
twice: with files in the system's cache, and with leaky's and click's put out of it (Linux), as after a reboot. Results
go to benchmarks/results/cold_start.json; the status is 1 if a limit is passed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

import leaky
from benchmarks.timing import machine
from leaky.files import write_whole

RESULTS = Path(__file__).parent / "results" / "cold_start.json"
BARE = "python -c ''"
COMMANDS = {
    BARE: ["-c", ""],
    "import leaky": ["-c", "import leaky"],
    "leaky --help": ["-m", "leaky", "--help"],
}
LIMITS = {"import leaky": 0.1, "leaky --help": 0.3}
"""Seconds more than the bare interpreter takes."""


def seconds(arguments: list[str]) -> float:
    """Of one fresh process, from its start to its end; one that fails raises."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


def out_of_cache() -> None:
    """Have the system forget the files of leaky and click, so that they come from the disk."""
    for package in (leaky, click):
        for path in Path(str(package.__file__)).parent.rglob("*.py*"):
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def measured(turns: int, before: Callable[[], None]) -> dict[str, float]:
    """The median of each command.

    Args:
        turns: processes of each command.
        before: called before each of them, outside of its time.
    """
    for arguments in COMMANDS.values():
        seconds(arguments)  # bytecode is written once
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(turns):
        for name, arguments in COMMANDS.items():
            before()
            times[name].append(seconds(arguments))
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> int:
    """Measure, print, keep; 1 if a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--turns", type=int, default=41, help="processes of each command")
    turns = parser.parse_args().turns
    caches: dict[str, Callable[[], None]] = {"in the cache": lambda: None}
    if hasattr(os, "posix_fadvise"):
        caches["from the disk"] = out_of_cache
    rows, passed = [], False
    for cache, before in caches.items():
        medians = measured(turns, before)
        for name, limit in LIMITS.items():
            more = medians[name] - medians[BARE]
            passed |= more > limit
            rows.append({"command": name, "files": cache, "seconds": round(more, 4), "limit": limit})
            print(f"{name}, files {cache}: {1000 * more:.0f} ms more than {BARE}; at most {1000 * limit:.0f} ms")
        rows.append({"command": BARE, "files": cache, "seconds": round(medians[BARE], 4)})
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    kept = {"machine": machine(), "load": load, "turns": turns, "rows": rows}
    write_whole(RESULTS, (json.dumps(kept, indent=1) + "\n").encode())
    return int(passed)


if __name__ == "__main__":
    sys.exit(main())

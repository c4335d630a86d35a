"""KeyboardInterrupt at the lines of leaky that a piece of work runs; nothing may be left of it.

`python -m benchmarks.hostile.interruptions` interrupts at the first and the last execution of each line, for each place
that its function is called from, and keeps what came of it in benchmarks/results/interruptions.json. A work runs once;
at each of those lines a child of the process is interrupted. `--all` takes every execution of every line. The replay
takes some of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from tests.hostile.interrupting import distinct

from benchmarks.hostile.situation import Situation
from benchmarks.hostile.works import WORKS
from leaky.files import write_whole

RESULT = Path(__file__).parents[1] / "results" / "interruptions.json"
REPLAYED = 120
"""Points of each work that the replay interrupts, at most."""


def situations() -> Iterator[Situation]:
    """Some points of each work, in a process of its own: children are made of one that has no other threads."""
    for name in WORKS:
        yield Situation("interruptions", f"{name} interrupted", _replayed(name))


def _replayed(name: str) -> Callable[[Path], None]:
    def run(folder: Path) -> None:
        module = [sys.executable, "-m", "benchmarks.hostile.interruptions", name, "--most", str(REPLAYED)]
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(module, env=environment, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, (ended.stdout + ended.stderr)[-300:]

    return run


def main(arguments: list[str] | None = None) -> int:
    """Interrupt these works, or all; 1 if anything was left of one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile.interruptions", description=__doc__)
    parser.add_argument("works", nargs="*", choices=[[], *WORKS], help="all, if none is named")
    parser.add_argument("--all", action="store_true", help="every execution of every line")
    parser.add_argument("--most", type=int, help="that many points at most, evenly apart; the result is not kept")
    asked = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # a child has no threads but its own
    return max(_kept(name, asked.all, asked.most) for name in asked.works or WORKS)


def _kept(name: str, every: bool, most: int | None) -> int:
    """Interrupt one work, and keep what came of it at once."""
    row = interrupted(name, every, most)
    left = row["left something"]
    for place, changed in left.items():
        print(f"{name}: {place}: {', '.join(changed)}", flush=True)
    print(
        f"{name}: {row['interrupted']} points of {row['distinct']} distinct among {row['lines']} executed lines "
        f"interrupted, {len(left)} places left something, {row['seconds']} s",
        flush=True,
    )
    if most is None:
        kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
        write_whole(RESULT, (json.dumps(kept | {name: row}, indent=1) + "\n").encode())
    return int(bool(left) or not row["interrupted"])


def interrupted(name: str, every: bool = False, most: int | None = None) -> dict[str, Any]:
    """What came of interrupting a work.

    Args:
        name: of the work.
        every: whether at every execution of every line.
        most: points at most, evenly apart.
    """
    began, work = time.monotonic(), WORKS[name]()
    points = work.points()
    chosen = distinct(points)
    row: dict[str, Any] = {"lines": len(points), "distinct": len(chosen)}
    chosen = [point.number for point in points] if every else chosen
    chosen = chosen if most is None else chosen[:: -(-len(chosen) // most)]
    found = work.spoilt_in_children(chosen)
    left: dict[str, set[str]] = {}
    for place, changed in found:
        if changed:
            left.setdefault(place, set()).update(changed)
    row |= {"interrupted": len(found), "left something": {place: sorted(left[place]) for place in sorted(left)}}
    return row | {"seconds": round(time.monotonic() - began)}


if __name__ == "__main__":
    sys.exit(main())

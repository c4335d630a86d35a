"""What watching holds after very many steps: the process's memory over a long training, with and without a watch.

    python -m benchmarks.watch_memory

Each contender trains a tiny network in a process of its own. Memory is what the system says the process holds, after
freed memory has been given back, at the end of every stretch of the training; the first stretches fill what is kept for
ever (the history and the rates of units are thinned out beyond some size) and are the warm-up. Told are the growth from
the end of the warm-up to the end, and the least growth of a stretch × stretches: what is kept for every step shows in
each of them. Results go to benchmarks/results/watch_memory.json.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

import leaky
from benchmarks.timing import machine
from leaky.files import write_whole

RESULTS = Path(__file__).parent / "results" / "watch_memory.json"
STEPS = 100_000
STRETCHES = 20
WARM_UP = 4
"""Stretches that fill what is kept for ever."""
TARGET = 5.0
"""Megabytes."""
CONTENDERS = ("plain", "leaky.watch", "leaky.watch, log", "leaky.watch, a report at every step")


def held() -> float:
    """Megabytes that this process holds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run(contender: str, steps: int, log: Path) -> list[float]:
    """Megabytes held at the beginning and after every stretch."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    data = torch.randn(64, 8)
    options: dict[str, Any] = {"on_alarm": lambda alarm: None}
    options |= {"log": log} if "log" in contender else {}
    options |= {"report_every": 1} if "every step" in contender else {}
    watch = None if contender == "plain" else leaky.watch(model, optimizer, **options).start()
    found = [held()]
    for _ in range(STRETCHES):
        for step in range(steps // STRETCHES):
            optimizer.zero_grad()
            model(data[step % 4 * 16 : step % 4 * 16 + 16]).square().mean().backward()
            optimizer.step()
        found.append(held())
    if watch is not None:
        watch.stop()
    return found


def measure(contender: str, steps: int) -> dict[str, Any]:
    """A process of its own."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "run.jsonl"
        command = [sys.executable, "-m", __spec__.name, "--one", contender, "--steps", str(steps), "--log", str(log)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        size = log.stat().st_size if log.exists() else 0
    after = found[WARM_UP:]
    return {
        "steps": steps,
        "megabytes": [round(each, 2) for each in found],
        "growth": round(after[-1] - after[0], 2),
        "least_growth": round(min(b - a for a, b in pairwise(after)) * (len(after) - 1), 2),
        "log_megabytes": round(size / 1e6, 2),
    }


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--only", default="", help="contenders whose names contain this")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run(given.one, given.steps, given.log)))
        return
    for contender in CONTENDERS:
        if given.only not in contender:
            continue
        each = measure(contender, given.steps)
        print(
            f"{contender:38} {each['megabytes'][0]:7.1f} MB at first, {each['megabytes'][-1]:7.1f} after "
            f"{given.steps:,} steps; since the warm-up {each['growth']:+.2f}, of them in every stretch "
            f"{each['least_growth']:+.2f}",
            flush=True,
        )
        _keep(contender, each)


def _keep(contender: str, found: dict[str, Any]) -> None:
    """A run that is cut short keeps what it has."""
    known = json.loads(RESULTS.read_text("utf-8"))["contenders"] if RESULTS.exists() else {}
    kept = {"machine": machine(), "target": TARGET, "stretches": STRETCHES, "warm_up": WARM_UP}
    kept["contenders"] = {**known, contender: found}
    write_whole(RESULTS, (json.dumps(kept, indent=1, ensure_ascii=False) + "\n").encode())


if __name__ == "__main__":
    main()

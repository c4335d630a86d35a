"""Run the trouble suite and print its table.

    python -m benchmarks.repair [--half looked-at|held-out] [--seeds 5] [--jobs 2] [--table]

Results go into benchmarks/results/repair-<half>.json after each set-up; a run that was stopped goes on where it was.
A set-up counts as repaired if the mean over the seeds ends no worse than its healthy twin's by more than max(1 point, 2
standard errors of the paired difference). A healthy twin counts as harmed if, with `leaky.repair` done to it, it ends
worse than without by more than that.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.repair.running import run
from benchmarks.repair.setups import setups
from benchmarks.repair.tables import name_of, table
from leaky.files import write_whole

RESULTS = Path(__file__).parents[1] / "results"
HALVES = ("looked-at", "held-out")


def main() -> None:
    parser = argparse.ArgumentParser(description="The trouble suite of leaky.repair.")
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    options = parser.parse_args()
    kept = {half: _kept(half) for half in HALVES}
    if not options.table:
        _run_rest(kept, [options.half] if options.half else list(HALVES), options.seeds, options.jobs)
    for half, results in kept.items():
        print(f"\n{half}: {len(results)} set-ups\n{table(results)}" if results else f"{half}: nothing kept")
    everything = [result for results in kept.values() for result in results]
    if all(kept.values()):
        print(f"\nall: {len(everything)} set-ups\n{table(everything)}")


def _path(half: str) -> Path:
    return RESULTS / f"repair-{half}.json"


def _kept(half: str) -> list[dict[str, Any]]:
    return json.loads(_path(half).read_text()) if _path(half).exists() else []


def _run_rest(kept: dict[str, list[dict[str, Any]]], halves: list[str], seeds: int, jobs: int) -> None:
    done = {name_of(result) for results in kept.values() for result in results}
    rest = [s for s in setups() if s.name not in done and ("held-out" if s.held_out else "looked-at") in halves]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run, setup, seeds) for setup in rest]):
            result = future.result()
            half = "held-out" if result["held_out"] else "looked-at"
            kept[half].append(result)
            write_whole(_path(half), (json.dumps(kept[half]) + "\n").encode())
            print(name_of(result), flush=True)


if __name__ == "__main__":
    main()

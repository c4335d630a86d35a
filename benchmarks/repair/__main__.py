"""Run the trouble suite and print its table.

    python -m benchmarks.repair [--half looked-at|held-out] [--seeds 5] [--jobs 2] [--table] [--again] [--quick]

Results go into benchmarks/results/repair-<half>.json after each set-up; a run that was stopped goes on where it was.
Every method is seeded, so `--again`, after a change of leaky.repair, runs that alone anew and keeps the others';
`--quick` runs it on every sixth set-up of the looked-at half with one seed, beside what is kept, and writes nothing.
A set-up counts as repaired if the mean over the seeds ends no worse than its healthy twin's by more than max(1 point, 2
standard errors of the paired difference). A healthy twin counts as harmed if, with `leaky.repair` done to it, it ends
worse than without by more than that.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.repair.running import EVERYTHING, run
from benchmarks.repair.setups import Setup, setups
from benchmarks.repair.tables import name_of, table
from leaky.files import write_whole

RESULTS = Path(__file__).parents[1] / "results"
HALVES = ("looked-at", "held-out")
EVERY = 6
"""Of the set-ups that are kept, --quick runs one in so many."""


def main() -> None:
    parser = argparse.ArgumentParser(description="The trouble suite of leaky.repair.")
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--again", action="store_true", help="run what leaky.repair does anew where it was kept")
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    parser.add_argument("--quick", action="store_true", help="a few set-ups beside what is kept; nothing is written")
    options = parser.parse_args()
    kept = {half: _kept(half) for half in HALVES}
    if options.quick:
        _run_quick(kept["looked-at"], options.jobs)
        return
    halves = [options.half] if options.half else list(HALVES)
    if options.again:
        _run_again(kept, halves, options.seeds, options.jobs)
    if not options.table:
        _run_rest(kept, halves, options.seeds, options.jobs)
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
    for result in _in_processes(rest, seeds, jobs, EVERYTHING):
        half = _half(result)
        kept[half].append(result)
        _keep(half, kept[half])


def _run_again(kept: dict[str, list[dict[str, Any]]], halves: list[str], seeds: int, jobs: int) -> None:
    known = {name_of(result): result for half in halves for result in kept[half]}
    chosen = [setup for setup in setups() if setup.name in known]
    for result in _in_processes(chosen, seeds, jobs, ("leaky.repair", "twin, leaky.repair")):
        known[name_of(result)]["outcomes"] |= result["outcomes"]
        _keep(_half(result), kept[_half(result)])


def _run_quick(kept: list[dict[str, Any]], jobs: int) -> None:
    """What leaky.repair ends with now and did when it was kept, between doing nothing and the healthy twin."""
    known = {name_of(result): result["outcomes"] for result in kept}
    chosen = [setup for setup in setups() if setup.name in known][::EVERY]
    before, now = [], []
    for result in _in_processes(chosen, 1, jobs, ("leaky.repair",)):
        ends = {name: outcomes[0]["score"] for name, outcomes in known[name_of(result)].items()}
        before.append(ends["leaky.repair"])
        now.append(result["outcomes"]["leaky.repair"][0]["score"])
        told = f"  nothing {ends['nothing']:.1f}, twin {ends['twin']:.1f}"
        print(f"{told}, leaky.repair {before[-1]:.1f} when kept and {now[-1]:.1f} now", flush=True)
    print(f"mean of {len(now)}: {sum(before) / len(now):.1f} when kept, {sum(now) / len(now):.1f} now")


def _in_processes(chosen: list[Setup], seeds: int, jobs: int, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run, setup, seeds, tuple(names)) for setup in chosen]):
            print(name_of(future.result()), flush=True)
            yield future.result()


def _half(result: dict[str, Any]) -> str:
    return "held-out" if result["held_out"] else "looked-at"


def _keep(half: str, results: list[dict[str, Any]]) -> None:
    write_whole(_path(half), (json.dumps(results) + "\n").encode())


if __name__ == "__main__":
    main()

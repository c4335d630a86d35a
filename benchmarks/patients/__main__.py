"""Run the patients and print the table.

    python -m benchmarks.patients [--half tuned-on|held-out] [--kind WORD] [--seeds 4] [--jobs 2] [--table]

Results are kept in benchmarks/results/patients.json. Cured is what ends no worse than its healthy twin by more than
max(1 point, 2 standard errors of the paired difference); a twin is harmed if it ends worse than without by more.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.patients.kinds import KINDS, Kind
from benchmarks.patients.methods import METHODS, OURS
from benchmarks.patients.running import run, table
from leaky.files import write_whole

RESULTS = Path(__file__).parents[1] / "results" / "patients.json"


def main() -> None:
    parser = argparse.ArgumentParser(description="Patients of many kinds.")
    parser.add_argument("--half", choices=("tuned-on", "held-out"))
    parser.add_argument("--kind", default="", help="only kinds with this word in their name")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    parser.add_argument("--ours", action="store_true", help="run leaky's columns alone, the others are those kept")
    parser.add_argument("--keep", action="store_true", help="write the results")
    options = parser.parse_args()
    kept = {r["kind"]: r for r in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}
    if options.table:
        print(table(list(kept.values())))
        return
    chosen = [k for k in KINDS if options.kind in k.name and options.half in (None, _half(k))]
    found = {}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        methods = OURS if options.ours else tuple(METHODS)
        for future in as_completed([pool.submit(run, kind.name, options.seeds, methods) for kind in chosen]):
            result = future.result()
            if options.ours:
                result["outcomes"] = kept[result["kind"]]["outcomes"] | result["outcomes"]
            found[result["kind"]] = result
            print(result["kind"], flush=True)
            if options.keep:
                kept[result["kind"]] = result
                order = [kept[k.name] for k in KINDS if k.name in kept]
                write_whole(RESULTS, (json.dumps(order) + "\n").encode())
    print(table([found[k.name] for k in KINDS if k.name in found]))


def _half(kind: Kind) -> str:
    return "held-out" if kind.held_out else "tuned-on"


if __name__ == "__main__":
    main()

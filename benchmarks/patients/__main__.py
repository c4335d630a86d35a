"""Run the patients and print the table.

    python -m benchmarks.patients [--half tuned-on|held-out|strangers|newcomers|latecomers|guests|visitors]
        [--kind WORD] [--seeds 3] [--table]

Results are kept in benchmarks/results/patients.json, those of the other sets in files of their own,
or in the one that --results names. With --resume, kinds that are in it are not run again. Cured is what ends no worse
than its healthy twin by more than max(1 point, 2 standard errors of the paired difference); a twin is harmed if it ends
worse than without by more.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from benchmarks.patients.guests import GUESTS
from benchmarks.patients.kinds import KINDS, Kind
from benchmarks.patients.latecomers import LATECOMERS
from benchmarks.patients.newcomers import NEWCOMERS
from benchmarks.patients.running import COLUMNS, run, table
from benchmarks.patients.strangers import STRANGERS
from benchmarks.patients.visitors import VISITORS
from leaky.files import write_whole

RESULTS = Path(__file__).parents[1] / "results" / "patients.json"
STRANGERS_RESULTS = RESULTS.with_name("patients-strangers.json")
"""Of the strangers as they were run once, before anything was mended for them."""
SETS = {
    "strangers": (STRANGERS, STRANGERS_RESULTS),
    "newcomers": (NEWCOMERS, RESULTS.with_name("patients-newcomers.json")),
    "latecomers": (LATECOMERS, RESULTS.with_name("patients-latecomers.json")),
    "guests": (GUESTS, RESULTS.with_name("patients-guests.json")),
    "visitors": (VISITORS, RESULTS.with_name("patients-visitors.json")),
}
"""Patients that are in neither half, and the file of what came of them."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Patients of many kinds.")
    parser.add_argument("--half", choices=("tuned-on", "held-out", *SETS))
    parser.add_argument("--kind", default="", help="only kinds with this word in their name")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="processes, of one thread each")
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS, help="the others are those kept")
    parser.add_argument("--keep", action="store_true", help="write the results")
    parser.add_argument("--resume", action="store_true", help="only kinds of which these columns are not kept")
    parser.add_argument("--results", type=Path, help="the file of the results")
    options = parser.parse_args()
    kinds, file = SETS.get(options.half, (KINDS, RESULTS))
    file = options.results or file
    kept = {r["kind"]: r for r in json.loads(file.read_text())} if file.exists() else {}
    if options.table:
        print(table(list(kept.values())))
        return
    chosen = [k for k in kinds if options.kind in k.name and options.half in (None, *SETS, _half(k))]
    chosen = [
        k
        for k in chosen
        if not (options.resume and k.name in kept and {*options.columns} <= {*kept[k.name]["outcomes"]})
    ]
    found = {}
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        columns = tuple(options.columns)
        for future in as_completed([pool.submit(run, kind.name, options.seeds, columns) for kind in chosen]):
            result = future.result()
            result["outcomes"] = kept.get(result["kind"], {"outcomes": {}})["outcomes"] | result["outcomes"]
            found[result["kind"]] = result
            print(result["kind"], flush=True)
            if options.keep:
                kept[result["kind"]] = result
                order = [kept[k.name] for k in kinds if k.name in kept]
                write_whole(file, (json.dumps(order) + "\n").encode())
    print(table([found[k.name] for k in kinds if k.name in found]))


def _half(kind: Kind) -> str:
    return "held-out" if kind.held_out else "tuned-on"


if __name__ == "__main__":
    main()

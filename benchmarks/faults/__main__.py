"""`python -m benchmarks.faults [--quick] [--json PATH] [--seeds 200]`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.faults.bursty import measure
from benchmarks.faults.kinds import KINDS, Kind
from benchmarks.faults.networks import FAMILIES
from benchmarks.faults.summary import as_data, failures, total
from benchmarks.faults.tables import show
from benchmarks.faults.trial import run

RESULTS = Path(__file__).parents[1] / "results" / "faults.json"
SEEDS, QUICK_SEEDS = 200, 10


def cases(quick: bool) -> list[tuple[str, Kind, int]]:
    """Every family with every kind of rectifier, and its seed; quick: every family with one kind, in turn."""
    every = [(family, kind) for family in FAMILIES for kind in KINDS]
    numbered = [(family, kind, seed) for seed, (family, kind) in enumerate(every)]
    if not quick:
        return numbered
    return [numbered[i * len(KINDS) + i % len(KINDS)] for i in range(len(FAMILIES))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, show, keep; 1 where something that must hold does not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one kind of rectifier a family, few seeds")
    parser.add_argument("--json", type=Path, help=f"where to keep the results (a full run: results/{RESULTS.name})")
    parser.add_argument("--seeds", type=int, help=f"runs with bursty units ({SEEDS}; quick: {QUICK_SEEDS})")
    options = parser.parse_args(arguments)
    seeds = (QUICK_SEEDS if options.quick else SEEDS) if options.seeds is None else options.seeds
    torch.set_num_threads(1)  # small tensors: a second thread costs more than it brings
    start = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else 120)
    chosen = cases(options.quick)
    with Progress(console=console, transient=True) as progress:
        networks, bursts = progress.add_task("networks", total=len(chosen)), progress.add_task("bursty", total=seeds)
        outcomes = []
        for case in chosen:
            outcomes.append(run(*case))
            progress.advance(networks)
        bursty = measure(seeds, lambda: progress.advance(bursts)) if seeds else None
    show(console, total(outcomes), bursty)
    path = options.json or (None if options.quick else RESULTS)
    if path is not None:
        data = as_data(outcomes, bursty, time.monotonic() - start)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n")
    failed = failures(total(outcomes), bursty)
    for failure in failed:
        console.print(f"FAILED: {failure}", markup=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the trouble suite and print its table.

    python -m benchmarks.repair [--half looked-at|held-out] [--seeds 5] [--table]

Results go into benchmarks/results/repair-<half>.json after each set-up; a run that was stopped goes on where it was.
A set-up counts as repaired if the mean over the seeds ends no worse than its healthy twin's by more than max(1 point, 2
standard errors of the paired difference).
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.repair.methods import METHODS, STEPS, twin
from benchmarks.repair.setups import Setup, patient, setups
from leaky.files import write_whole

RESULTS = Path(__file__).parents[1] / "results"
HALVES = ("looked-at", "held-out")


def run(setup: Setup, seeds: int) -> dict[str, Any]:
    """Every method and the twin on one set-up, by seed."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("twin", *METHODS)}
    for seed in range(seeds):
        original, data = patient(setup, seed)
        for name, method in (("twin", twin), *METHODS.items()):
            subject = copy.deepcopy(original)  # model and optimizer together, so that they stay each other's
            torch.manual_seed(seed)
            found[name].append(asdict(method(subject, data, seed)))
    return {**asdict(setup), "steps": STEPS, "outcomes": found}


def repaired(outcomes: dict[str, list[dict[str, Any]]], method: str) -> bool:
    """Whether a method ended no worse than the twin."""
    difference = np.array([o["score"] for o in outcomes["twin"]]) - np.array([o["score"] for o in outcomes[method]])
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return bool(difference.mean() <= max(1.0, 2 * error))


def table(results: list[dict[str, Any]]) -> str:
    """What share of the set-ups each method repaired, by family, and what happened to revived units and to twins."""
    families = list(dict.fromkeys(r["family"] for r in results))
    lines = [f"{'repaired set-ups':24}" + "".join(f"{name:>14}" for name in METHODS)]
    for family in (*families, "all"):
        chosen = [r for r in results if family in (r["family"], "all")]
        counts = [sum(repaired(r["outcomes"], name) for r in chosen) for name in METHODS]
        lines.append(f"{family:24}" + "".join(f"{f'{count}/{len(chosen)}':>14}" for count in counts))
    means = [np.mean([o["score"] for r in results for o in r["outcomes"][name]]) for name in METHODS]
    lines.append(f"{'mean test accuracy':24}" + "".join(f"{mean:>14.1f}" for mean in means))
    ours = [o for r in results for o in r["outcomes"]["leaky.repair"]]
    revived, alive = sum(o["revived"] for o in ours), sum(o["alive"] for o in ours)
    twins = [o for r in results for o in r["outcomes"]["twin"]]
    lines.append(f"healthy twins: mean test accuracy {np.mean([o['score'] for o in twins]):.1f}")
    lines.append(f"revived units alive at the end: {alive} of {revived} ({100 * alive / max(1, revived):.1f}%)")
    lines.append(f"healthy twins for which a repair was planned: {sum(o['acted'] for o in twins)} of {len(twins)}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="The trouble suite of leaky.repair.")
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="only print what is kept")
    options = parser.parse_args()
    torch.set_num_threads(1)
    everything: list[dict[str, Any]] = []
    for half in [options.half] if options.half else HALVES:
        path = RESULTS / f"repair-{half}.json"
        results = json.loads(path.read_text()) if path.exists() else []
        done = {(r["family"], r["data"], r["width"], r["depth"], r["severity"]) for r in results}
        for setup in [s for s in setups() if s.held_out == (half == "held-out") and not options.table]:
            if (setup.family, setup.data, setup.width, setup.depth, setup.severity) not in done:
                results.append(run(setup, options.seeds))
                write_whole(path, (json.dumps(results) + "\n").encode())
                print(setup.name, flush=True)
        everything += results
        print(f"\n{half}: {len(results)} set-ups\n{table(results)}" if results else f"{half}: nothing kept")
    if len(everything) > len(results):
        print(f"\nall: {len(everything)} set-ups\n{table(everything)}")


if __name__ == "__main__":
    main()

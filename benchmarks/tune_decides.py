"""Whether a study with its default budget decides, and rightly: two tasks whose answer is known from many seeds.

`python -m benchmarks.tune_decides` runs studies of default budget, each on seeds of its own, and prints how each ended:
  deep      24 hidden layers of 32 on the digits, where slope .3 gains about 13 points (docs/tune.md);
  shallow   two hidden layers of 64, where no slope gains a point.
The truth is measured in the same run, on seeds that no study used, as a paired mean over all of them. All goes to
benchmarks/results/tune_decides.json.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits

from benchmarks.timing import machine
from benchmarks.tune_tasks import plain
from leaky.files import write_whole
from leaky.tuning import Task, tune

RESULTS = Path(__file__).parent / "results" / "tune_decides.json"
TASKS = {"deep": (24, 32), "shallow": (2, 64)}
SLOPES = (0.0, 0.01, 0.1, 0.3)
TRUTH_FROM, STUDIES_FROM = 1000, 10_000
"""The first seed of the truth, and of the first study; each later study begins 1,000 further on."""


def task_of(name: str) -> Task:
    """Trained for a few epochs, as long as it takes the better slopes to learn."""
    depth, width = TASKS[name]
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels / 16, dtype=torch.float32)
    return Task(lambda slope: plain(slope, width, depth), (images, torch.tensor(labels)), epochs=10)


def truth(task: Task, seeds: int) -> dict[str, list[float]]:
    """The paired gain of each slope over 0, and its standard error, over seeds of its own."""
    whole = tune(
        task, slopes=SLOPES, seeds=range(TRUTH_FROM, TRUTH_FROM + seeds), budget="fixed", confirm=0, worth=0.01
    )
    gains = whole.scores - whole.scores[0]
    errors = gains.std(axis=1, ddof=1) / math.sqrt(seeds)
    return {arm.label: [float(gains[row].mean()), float(errors[row])] for row, arm in enumerate(whole.arms)}


def study(task: Task, number: int) -> dict[str, Any]:
    """One study with leaky's defaults."""
    first = STUDIES_FROM + 1000 * number
    found = tune(task, slopes=SLOPES, seeds=range(first, first + 5), confirm=0)
    return {
        "answer": found.answer.kind,
        "slope": found.recommended,
        "at_least": found.answer.at_least,
        "trainings": len(found.trials),
        "seconds": found.seconds,
        "more_trainings": found.answer.more_trainings,
        "ended": found.ended,
    }


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=7)
    parser.add_argument("--seeds", type=int, default=40, help="of the truth")
    parser.add_argument("--out", default=str(RESULTS))
    arguments = parser.parse_args()
    rows = {}
    for name in TASKS:
        task = task_of(name)
        known = truth(task, arguments.seeds)
        print(f"{name}: gain over 0 {', '.join(f'{k} {g:+.3f} ± {e:.3f}' for k, (g, e) in known.items())}", flush=True)
        studies = []
        for number in range(arguments.studies):
            studies.append(study(task, number))
            print(f"  {json.dumps(studies[-1])}", flush=True)
        rows[name] = {"truth": known, "studies": studies}
        kinds = [each["answer"] for each in studies]
        print(f"  { ({kind: kinds.count(kind) for kind in sorted(set(kinds))}) }", flush=True)
        print(f"  median training {np.median([each['seconds'] for each in studies]):.1f} s a study", flush=True)
    write_whole(arguments.out, (json.dumps({"machine": machine(), "tasks": rows}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

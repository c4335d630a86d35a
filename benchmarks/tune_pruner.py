"""Optuna's Wilcoxon pruner against leaky's own rule for dropping slopes, on scores whose best slope is known.

`python -m benchmarks.tune_pruner` gives both the same synthetic scores of 8 slopes (`benchmarks.tune_calibration`).
With the pruner each slope is one Optuna trial and reports seed by seed, the seeds being its instances; after all slopes
the one with the best mean is the answer. For each cell: the share of studies that end without the best slope, or call
equal slopes different, and the trainings of a study. Figures go to benchmarks/results/tune_pruner.json.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.tune_calibration import ARMS, SEEDS, Cell, outcome, scores_of
from leaky.files import write_whole

CELLS = tuple(Cell(gap, "equal", "normal") for gap in (0.0, 0.5, 1.0, 2.0))
RESULTS = Path(__file__).parent / "results" / "tune_pruner.json"


def pruned(scores: NDArray[np.float64]) -> tuple[set[int], int]:
    """The slopes that the pruner leaves, and the trainings that it takes; scores: (slopes, seeds)."""
    pruner = optuna.pruners.WilcoxonPruner(p_threshold=0.1)
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=optuna.samplers.RandomSampler(seed=0))
    left, trainings = set[int](), 0
    for arm in range(len(scores)):
        trial = study.ask()
        for seed, score in enumerate(scores[arm]):
            trainings += 1
            trial.report(float(score), seed)
            if trial.should_prune():
                break
        else:
            left.add(arm)
        done = scores[arm, : len(trial.storage.get_trial(trial._trial_id).intermediate_values)]
        study.tell(trial, float(done.mean()))
    return left, trainings


def compared(cell: Cell, studies: int) -> dict[str, Any]:
    """Both rules on the same studies of a cell; the slopes come in random order, as a sampler proposes them."""
    random = np.random.default_rng(7)
    wrong, trainings = 0, 0
    for scores in scores_of(cell, studies, SEEDS):
        order = random.permutation(ARMS)
        left, took = pruned(scores[order])
        kept = {int(order[place]) for place in left}
        wrong += len(kept) < ARMS if cell.gap == 0 else ARMS - 1 not in kept
        trainings += took
    ours = outcome(cell, studies, "adaptive")
    return {
        **asdict(cell),
        "pruner": {"wrong": wrong / studies, "trainings": trainings / studies},
        "leaky": {"wrong": ours.wrong, "trainings": ours.trainings},
    }


def main() -> None:
    """Compare and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--out", default=str(RESULTS))
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows = []
    for cell in CELLS:
        rows.append(compared(cell, arguments.studies))
        print(json.dumps(rows[-1]), flush=True)
    text = json.dumps({"studies_a_cell": arguments.studies, "slopes": ARMS, "seeds": SEEDS, "cells": rows}, indent=1)
    write_whole(arguments.out, (text + "\n").encode())


if __name__ == "__main__":
    main()

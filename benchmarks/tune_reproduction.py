"""Is the answer of a small study the truth? Four tasks on three real data sets, each studied and then run exhaustively.

`python -m benchmarks.tune_reproduction` runs, for each task, an adaptive study as a user would, and every slope with
many fresh seeds; both are kept in benchmarks/results/ as `leaky.tune` saves them. The answer is reproduced if every
slope that the study called worse is worse than the best in the exhaustive run too, if a slope that is best there is
among those that the study left in the race, and if nothing that it could not tell apart differs there by more than it
said it would have detected. With --check only what is kept is compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from sklearn import datasets
from torch import nn

from benchmarks.tune_tasks import SLOPES, plain
from leaky.tuning import Study, Task, load_study, tune

RESULTS = Path(__file__).parent / "results"
SEEDS, EXHAUSTIVE_SEEDS = 8, 40
FRESH = 1000


def _scaled(load: Callable[..., Any]) -> tuple[Any, Any]:
    inputs, targets = load(return_X_y=True)
    return (inputs - inputs.mean(0)) / (inputs.std(0) + 1e-9), targets


def deep_digits() -> Task:
    """Thirty plain layers: where ReLU makes all inputs look alike."""
    return Task(
        lambda slope: plain(slope, 32, 30),
        _scaled(datasets.load_digits),
        epochs=5,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=1e-3),
    )


def deep_wine() -> Task:
    """Forty plain layers and few, small steps."""
    return Task(
        lambda slope: plain(slope, 32, 40, inputs=13, classes=3),
        _scaled(datasets.load_wine),
        valid=0.4,
        epochs=15,
        batch_size=8,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.003),
    )


def high_rate_digits() -> Task:
    """Twenty times Adam's default rate in a narrow network, which many ReLU units do not survive."""
    return Task(
        lambda slope: plain(slope, 16, 12),
        _scaled(datasets.load_digits),
        valid=0.3,
        epochs=4,
        batch_size=32,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.02),
    )


def easy_cancer() -> Task:
    """A shallow, normalised network at a moderate rate, for which the slope is not what matters."""

    def build(slope: float) -> nn.Module:
        return nn.Sequential(nn.Linear(30, 32), nn.BatchNorm1d(32), nn.LeakyReLU(slope), nn.Linear(32, 2))

    return Task(build, _scaled(datasets.load_breast_cancer), valid=0.3, epochs=30, batch_size=32)


TASKS = {
    "deep_digits": deep_digits,
    "deep_wine": deep_wine,
    "high_rate_digits": high_rate_digits,
    "easy_cancer": easy_cancer,
}


def reproduced(study: Study, exhaustive: Study) -> dict[str, bool]:
    """What the exhaustive run says to each part of the study's answer."""
    worse = [study.arms[out.arm] for out in study.judgement.eliminations]
    best = exhaustive.best_set
    limit = study.judgement.smallest_detectable
    gaps = [abs(exhaustive.mean(a) - exhaustive.mean(b)) for a in study.best_set for b in study.best_set]
    return {
        "every_worse_slope_is_worse": all(arm not in best for arm in worse),
        "the_best_is_in_the_best_set": any(arm in study.best_set for arm in best),
        "no_undetected_difference_is_larger_than_it_said": limit is None or max(gaps) <= limit,
    }


def kept(name: str, kind: str) -> Path:
    """Where a "study" or "exhaustive" run of a task is kept."""
    return RESULTS / f"tune_{name}_{kind}.json"


def answer(name: str) -> dict[str, Any]:
    """The answers of both runs of a task that are kept, and whether one reproduces the other."""
    study, exhaustive = (load_study(kept(name, kind)) for kind in ("study", "exhaustive"))
    return {
        "best_slope": study.best_slope,
        "best_set": [arm.value for arm in study.best_set],
        "recommended": study.recommended,
        "exhaustive_best_set": [arm.value for arm in exhaustive.best_set],
        "trainings": [len(study.trials), len(exhaustive.trials)],
        **reproduced(study, exhaustive),
    }


def run(name: str) -> None:
    """Run both for a task and keep them."""
    task = TASKS[name]()
    study = tune(task, slopes=SLOPES, seeds=SEEDS, confirm=0)
    seeds = range(FRESH, FRESH + EXHAUSTIVE_SEEDS)
    exhaustive = tune(task, slopes=SLOPES, seeds=seeds, budget="fixed", confirm=0)
    for kind, result in (("study", study), ("exhaustive", exhaustive)):
        print(f"--- {name}: {kind}\n{result}\n", flush=True)
        replace(result, trials=tuple(replace(trial, curve=()) for trial in result.trials)).save(kept(name, kind))


def main() -> None:
    """Run the chosen tasks, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    for name in arguments.tasks:
        if not arguments.check:
            run(name)
        print(name, json.dumps(answer(name)), flush=True)


if __name__ == "__main__":
    main()

"""What a study costs: stacks against one model after another, and a whole answer against the full grid.

`python -m benchmarks.tune` measures, in one run and on one machine, with contenders taking turns:
  engines   every variant trained from first batch to last, building and initialising included: in plain eager torch one
            after another, in two single-thread processes, and by the engine that `leaky.tune` chooses;
  equality  how far the weights of a stack are from those of training alone after 50 steps;
  price     a whole adaptive, batched study against the full grid one after another, and against Optuna alone;
  kills     a study killed at random instants, against an undisturbed one.
Figures go to benchmarks/results/tune.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch

from benchmarks.tune_tasks import SLOPES, digits_task
from leaky.files import write_whole
from leaky.tuning.api import tune
from leaky.tuning.arms import Arm, arms_of
from leaky.tuning.batched import BatchedEngine, train_stacked
from leaky.tuning.objective import Report
from leaky.tuning.study import Cell, Study
from leaky.tuning.task import Task
from leaky.tuning.training import outputs, train

RESULTS = Path(__file__).parent / "results" / "tune.json"
THREADS = os.cpu_count() or 1


def cells_of(seeds: int) -> tuple[dict[str, Arm], list[Cell]]:
    """Eight slopes and their cells."""
    arms = {arm.label: arm for arm in arms_of(SLOPES)}
    return arms, [Cell(label, seed) for seed in range(seeds) for label in arms]


def one_after_another(task: Task, arms: dict[str, Arm], cells: list[Cell]) -> list[float]:
    """Plain eager torch: the validation score of each."""
    scores = []
    for cell in cells:
        model = train(task, arms[cell.arm], cell.seed, lambda step, value: None)
        valid = task.split(cell.seed)[1]
        scores.append(task.score_of(outputs(model, valid), valid.targets))
    return scores


def by_engine(task: Task, arms: dict[str, Arm], cells: list[Cell], always: bool = False) -> list[float]:
    """The engine of `leaky.tune`, its trial of both ways included, without looking at the units."""
    engine = BatchedEngine(task, arms, always=always, measured=False)
    trials = [trial for at in range(0, len(cells), 16) for trial in engine.run(cells[at : at + 16])]
    return [trial.score for trial in trials if trial.score is not None]


def _half(connection: Any) -> None:
    """A process that trains what it is told, over and over."""
    torch.set_num_threads(1)
    connection.send("ready")
    while (order := connection.recv()) is not None:
        model, epochs, cells = order
        one_after_another(digits_task(model, epochs), cells_of(1)[0], cells)
        connection.send("done")


class TwoProcesses:
    """Two single-thread processes that are already running and have imported everything."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._ends = []
        for _ in range(2):
            mine, theirs = context.Pipe()
            context.Process(target=_half, args=(theirs,), daemon=True).start()
            self._ends.append(mine)
        for end in self._ends:
            end.recv()

    def run(self, model: str, epochs: int, cells: list[Cell]) -> None:
        """Half of the cells each."""
        for place, end in enumerate(self._ends):
            end.send((model, epochs, cells[place::2]))
        for end in self._ends:
            end.recv()

    def stop(self) -> None:
        """End them."""
        for end in self._ends:
            end.send(None)


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def engines(rounds: int, two: TwoProcesses) -> list[dict[str, Any]]:
    """Every model and number of variants, medians over rounds in which the contenders take turns."""
    rows = []
    for model, variants, epochs in (("mlp", 16, 20), ("mlp", 64, 10), ("deep", 16, 5), ("cnn", 16, 3), ("wide", 16, 2)):
        task = digits_task(model, epochs)
        arms, cells = cells_of(variants // len(SLOPES))
        contenders: dict[str, Callable[[], Any]] = {
            "one_after_another": lambda task=task, arms=arms, cells=cells: one_after_another(task, arms, cells),
            "two_processes": lambda model=model, epochs=epochs, cells=cells: two.run(model, epochs, cells),
            "leaky": lambda task=task, arms=arms, cells=cells: by_engine(task, arms, cells),
        }
        times: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name, work in contenders.items():
                times[name].append(seconds(work))
        median = {name: statistics.median(taken) for name, taken in times.items()}
        rows.append(
            {
                "model": model,
                "variants": variants,
                "epochs": epochs,
                "batch_size": task.batch_size,
                "seconds": {name: [round(taken, 3) for taken in all_] for name, all_ in times.items()},
                "over_one_after_another": median["one_after_another"] / median["leaky"],
                "over_two_processes": median["two_processes"] / median["leaky"],
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def equality() -> list[dict[str, Any]]:
    """The largest ‖Δw‖/‖w‖ of any variant after 50 steps, and how far the final scores are apart."""
    rows = []
    for model, optimizer in (("mlp", "SGD"), ("mlp", "Adam"), ("deep", "SGD"), ("cnn", "SGD")):
        task = digits_task(model, 3, optimizer)
        arms, cells = cells_of(2)
        (group,) = BatchedEngine(task, arms, always=True)._groups(cells).values()
        _, models, _ = train_stacked(task, group, steps=50)
        apart = []
        for variant, stacked in zip(group, models, strict=True):
            alone = _after(task, variant.arm, variant.cell.seed, 50)
            mine, theirs = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (stacked, alone))
            apart.append(float((mine - theirs).norm() / theirs.norm()))
        plain, stacked_scores = one_after_another(task, arms, cells), by_engine(task, arms, cells, always=True)
        rows.append(
            {
                "model": model,
                "optimizer": optimizer,
                "batch_size": task.batch_size,
                "steps": 50,
                "largest_relative_distance": max(apart),
                "mean_score_difference": statistics.mean(stacked_scores) - statistics.mean(plain),
                "score_deviation_over_seeds_and_slopes": statistics.stdev(plain),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def _after(task: Task, arm: Arm, seed: int, steps: int) -> torch.nn.Module:
    model = task.model(arm, seed).train()
    optimizer = task.optimizer(model.parameters())
    data, done = task.data, 0
    for batches in task.order(seed):
        for batch in batches:
            if done == steps:
                return model
            optimizer.zero_grad()
            task.loss_of(model(data.inputs[batch]), data.targets[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            done += 1
    return model


def price(seeds: int, epochs: int) -> dict[str, Any]:
    """One whole answer: the full grid in eager torch, Optuna alone with the same trainings, and `leaky.tune`."""
    task = digits_task("mlp", epochs)
    arms, cells = cells_of(seeds)
    found: list[Study] = []
    adaptive = seconds(lambda: found.append(tune(task, slopes=SLOPES, seeds=seeds, confirm=0)))
    grid = seconds(lambda: one_after_another(task, arms, cells))
    alone = seconds(lambda: _optuna_alone(task, arms, cells))
    row = {
        "model": "mlp",
        "slopes": len(SLOPES),
        "seeds": seeds,
        "epochs": epochs,
        "grid_trainings": len(cells),
        "grid_seconds": grid,
        "optuna_alone_seconds": alone,
        "leaky_trainings": len(found[0].trials),
        "leaky_seconds": adaptive,
        "times_less": grid / adaptive,
        "best_slope": found[0].best_slope,
        "recommended": found[0].recommended,
        "ended": found[0].ended,
    }
    print(json.dumps(row), flush=True)
    return row


def _optuna_alone(task: Task, arms: dict[str, Arm], cells: list[Cell]) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grid = {"slope": list(arms), "seed": sorted({cell.seed for cell in cells})}

    def objective(trial: optuna.Trial) -> float:
        cell = Cell(trial.suggest_categorical("slope", grid["slope"]), trial.suggest_categorical("seed", grid["seed"]))
        return one_after_another(task, arms, [cell])[0]

    study = optuna.create_study(sampler=optuna.samplers.GridSampler(grid, seed=0), direction="maximize")
    study.optimize(objective, n_trials=len(cells))


def slow_objective(negative_slope: float, seed: int, report: Report) -> float:
    """A training of 50 ms whose score is known."""
    time.sleep(0.05)
    return random.Random(f"{seed} {negative_slope}").gauss(float(negative_slope), 0.1)


KILLED: dict[str, Any] = {"slopes": SLOPES, "seeds": 8, "budget": "fixed", "confirm": 0}
_PROGRAM = """
import sys
from benchmarks.tune import KILLED, slow_objective
from leaky.tuning.api import tune
tune(slow_objective, storage=sys.argv[1], **KILLED)
"""


def kills(times: int = 20) -> dict[str, Any]:
    """Kill a study with SIGKILL at random instants, then let it end; compare with an undisturbed one."""
    moments = random.Random(2026)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tune.journal"
        for _ in range(times):
            process = subprocess.Popen([sys.executable, "-c", _PROGRAM, str(path)])
            while not path.exists() and process.poll() is None:
                time.sleep(0.01)
            time.sleep(moments.uniform(0.5, 3.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
        at_kills = len({line for line in path.read_text().splitlines() if '"leaky:result"' in line})
        disturbed = tune(slow_objective, storage=path, **KILLED)
    undisturbed = tune(slow_objective, **KILLED)
    scores = [{(t.arm, t.seed): t.score for t in study.trials} for study in (disturbed, undisturbed)]
    row = {"kills": times, "trials": len(scores[0]), "ended_before_last_kill": at_kills, "same": scores[0] == scores[1]}
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Measure everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("engines", "equality", "price", "kills"))
    parser.add_argument("--out", default=str(RESULTS))
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], Any]] = {
        "engines": lambda: _with_processes(arguments.rounds),
        "equality": equality,
        "price": lambda: [price(20, 20)],
        "kills": kills,
    }
    chosen = [arguments.only] if arguments.only else list(parts)
    result = {
        "machine": {"threads": THREADS, "torch": torch.__version__},
        **{name: parts[name]() for name in chosen},
    }
    write_whole(arguments.out, (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())


def _with_processes(rounds: int) -> list[dict[str, Any]]:
    two = TwoProcesses()
    try:
        return engines(rounds, two)
    finally:
        two.stop()


if __name__ == "__main__":
    main()

"""What a whole answer costs, and whether kills cost anything but time."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from benchmarks.tune_speed import cells_of, one_after_another, seconds
from benchmarks.tune_tasks import SLOPES, digits_task
from leaky.tuning.api import tune
from leaky.tuning.arms import Arm
from leaky.tuning.engines.objective import Report
from leaky.tuning.study import Study
from leaky.tuning.task import Task
from leaky.tuning.trial import Cell


def price(seeds: int = 20, epochs: int = 20) -> dict[str, Any]:
    """One whole answer: the full grid in eager torch, Optuna alone with the same trainings, and `leaky.tune`."""
    task = digits_task("mlp", epochs)
    arms, cells = cells_of(seeds)
    found: list[Study] = []
    adaptive = seconds(lambda: found.append(tune(task, slopes=SLOPES, seeds=seeds, confirm=0)))
    grid = seconds(lambda: one_after_another(task, arms, cells))
    alone = seconds(lambda: _optuna_alone(task, arms, cells))
    return {
        "model": "mlp",
        "slopes": len(SLOPES),
        "seeds": seeds,
        "epochs": epochs,
        "grid_trainings": len(cells),
        "grid_seconds": grid,
        "optuna_alone_seconds": alone,
        "leaky_trainings": len(found[0].trials),
        "leaky_seconds": adaptive,
        "times_less_than_the_grid": grid / adaptive,
        "target": 8.0,
        "times_less_than_optuna_alone": alone / adaptive,
        "best_slope": found[0].best_slope,
        "recommended": found[0].recommended,
        "ended": found[0].ended,
    }


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
from benchmarks.tune_price import KILLED, slow_objective
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
    return {
        "kills": times,
        "trials": len(scores[0]),
        "ended_before_last_kill": at_kills,
        "same": scores[0] == scores[1],
    }

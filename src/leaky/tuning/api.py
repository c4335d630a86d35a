"""`leaky.tune`: the one entry to a study, for any training code and for a torch model with its data."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from leaky.errors import InputError
from leaky.tuning.arms import DEFAULT_SLOPES, Arm, arms_of
from leaky.tuning.loop import Design, Engine, Progress, work
from leaky.tuning.named import NamedEngine, task_named
from leaky.tuning.objective import ObjectiveEngine
from leaky.tuning.processes import Place, work_in_processes
from leaky.tuning.racing import Budget
from leaky.tuning.ray_workers import must_be_shared, work_in_ray
from leaky.tuning.study import MAXIMIZE, MINIMIZE, Study

DEFAULT_CONFIRM = 2
ENGINES = ("auto", "batched", "local", "ray")


def design_of(
    slopes: Sequence[float | str], seeds: int | Sequence[int], budget: str, direction: str, confirm: int
) -> Design:
    """The checked design of a study; an adaptive one may go on to seeds after the given ones."""
    if direction not in (MAXIMIZE, MINIMIZE):
        raise InputError(f"direction must be {MAXIMIZE!r} or {MINIMIZE!r}, not {direction!r}")
    if confirm < 0:
        raise InputError(f"confirm must be at least 0, not {confirm}")
    given = tuple(range(seeds)) if isinstance(seeds, int) else tuple(int(seed) for seed in seeds)
    if len(set(given)) < len(given) or any(seed < 0 for seed in given):
        raise InputError(f"seeds must be different numbers of at least 0, not {list(given)}")
    limits = Budget(len(given), budget)
    after = max(given) + 1
    more = tuple(range(after, after + limits.most_seeds - len(given)))
    return Design(arms_of(slopes), given + more, direction, limits, confirm)


def run(
    design: Design,
    engine: Engine,
    *,
    storage: str | Path | None,
    study_name: str,
    workers: int,
    in_ray: bool,
    time_limit: float | None,
    progress: Progress | None,
) -> Study:
    """Run or resume the study; Ctrl-C and the time limit end it with what is known."""
    if workers < 1:
        raise InputError(f"workers must be at least 1, not {workers}")
    if time_limit is not None and time_limit <= 0:
        raise InputError(f"time_limit must be more than 0 seconds, not {time_limit}")
    until = None if time_limit is None else time.time() + time_limit
    identity: dict[str, Any] = {"slopes": [arm.value for arm in design.arms], "direction": design.direction}
    identity["budget"] = design.budget.mode
    if design.budget.fixed_seeds is not None:  # a second look would need another boundary
        identity["seeds"] = list(design.seeds)
    with tempfile.TemporaryDirectory(prefix="leaky-") as folder:
        path = None if storage is None else str(storage)
        if in_ray:
            must_be_shared(path)
        if path is None and (workers > 1 or in_ray):
            path = f"{folder}/study.journal"
        place = Place(path, study_name, identity)
        store = place.open(design)
        try:
            if in_ray:
                work_in_ray(workers, place, design, engine, until, progress)
            elif workers > 1:
                work_in_processes(workers, place, design, engine, until, progress)
            else:
                work(design, store, engine, lambda: until is not None and time.time() >= until, progress)
        except KeyboardInterrupt:
            pass  # the user has seen enough: the verdict so far, and the storage to go on from
        finally:
            engine.close()
        study = design.study(store.trials())
        cells, step = design.step(study)
        ended = "" if cells else step.ended
        return design.study(study.trials, ended, engine.description)


def tune(
    task: Any,
    *,
    slopes: Sequence[float | str] = DEFAULT_SLOPES,
    seeds: int | Sequence[int] = 5,
    budget: str = "adaptive",
    direction: str | None = None,
    confirm: int | None = None,
    storage: str | Path | None = None,
    study_name: str = "leaky",
    engine: str = "auto",
    workers: int = 1,
    time_limit: float | None = None,
    progress: Progress | None = None,
    **training: Any,
) -> Study:
    """Which negative slope, answered by a paired experiment on the user's own task.

    Every slope trains from the same seeds: the same data order, and initial weights drawn from the same numbers at the
    gain of its own slope. Slopes are called different only where the evidence holds over all comparisons and whenever
    the study is stopped, with an error of at most 5%; an adaptive study drops slopes that are out and gives what they
    would have cost to the others.

    Args:
        task: objective(negative_slope, seed, report) → score, of any training code, where negative_slope is an item of
            `slopes` and report(step, value) tells how it goes; or build(negative_slope) → nn.Module, or a module whose
            rectifiers are exchanged, with the data in `train`; or a `leaky.tuning.Task`; or the name of an objective
            or a Task, "package.module:name" or "path/to/file.py:name".
        slopes: numbers, and names of "prelu" (learned), "tailored" (from theory), "elu", "gelu" and "silu".
        seeds: a number or a list, a slope.
        budget: "adaptive", or "fixed" for exactly these seeds for every slope and one look at the end.
        direction: "maximize" or "minimize" the score; by default what the task's own score needs, or "maximize".
        confirm: trainings of the recommended slope with fresh seeds after the choice, for a score that nothing was
            chosen by; by default 2 where there are no test data, else 0.
        storage: path of a journal file, or any storage URL of Optuna's; the same call resumes from it, and several
            processes may work on one. By default in memory.
        study_name: of the study in the storage.
        engine: "batched" trains the variants of a torch task in stacks wherever that is possible, "local" one at a
            time; "auto" stacks where a short trial shows it to be faster; "ray" does that in Ray tasks, on the cluster
            of RAY_ADDRESS or on this machine.
        workers: processes of this machine, or Ray tasks; the task must then be importable.
        time_limit: seconds after which no further training begins.
        progress: called with the `Study` so far and the number of trainings that are left at most.
        training: of a torch task: train, valid, test, epochs, batch_size, optimizer, loss, metric and initialization,
            see `leaky.tuning.Task`.

    Returns:
        The study; print it. Ctrl-C returns what is known so far.

    Raises:
        InputError: if an argument, the task or the storage is not what it must be.
        MissingExtraError: if optuna is not installed.
    """
    name = task if isinstance(task, str) else None
    task = task if name is None else task_named(name)
    checked = _task(task, training)
    if engine not in ENGINES:
        raise InputError(f"engine must be one of {', '.join(map(repr, ENGINES))}, not {engine!r}")
    default = MAXIMIZE if checked is None else checked.direction
    untested = checked is None or checked.test is None
    design = design_of(
        slopes,
        seeds,
        budget,
        default if direction is None else direction,
        (DEFAULT_CONFIRM if untested else 0) if confirm is None else confirm,
    )
    make = partial(_engine, arms={arm.label: arm for arm in design.arms}, engine=engine)
    ready = make(task if checked is None else checked)
    if checked is not None:
        checked.check(design.arms)
    return run(
        design,
        ready if name is None else NamedEngine(name, make, ready),
        storage=storage,
        study_name=study_name,
        workers=workers,
        in_ray=engine == "ray",
        time_limit=time_limit,
        progress=progress,
    )


def _task(task: Any, training: dict[str, Any]) -> Any:
    """The torch task; None for an objective."""
    if not callable(task):
        from leaky.tuning.task import Task

        if isinstance(task, Task) and not training:
            return task
        raise InputError(
            "task must be an objective, build(negative_slope) or a module with train=(inputs, targets), or a "
            f"leaky.tuning.Task alone, not {task!r}"
        )
    if "train" in training:
        from leaky.tuning.task import Task

        try:
            return Task(task, **training)
        except TypeError as error:
            raise InputError(f"arguments of a torch task must be those of leaky.tuning.Task: {error}") from error
    if training:
        raise InputError(f"{', '.join(training)} need train=(inputs, targets); an objective trains by itself")
    return None


def _engine(task: Any, arms: dict[str, Arm], engine: str) -> Engine:
    """What trains a task or an objective."""
    if not hasattr(task, "build"):
        if engine == "batched":
            raise InputError("engine 'batched' needs a torch task, build and train=…; an objective trains by itself")
        return ObjectiveEngine(task, arms)
    from leaky.tuning.engine import AUTO, KINDS, TorchEngine

    return TorchEngine(task, arms, engine if engine in KINDS else AUTO)

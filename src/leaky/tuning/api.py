"""`leaky.tune`: the one entry to a study, for any training code and for a torch model with its data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from leaky.checking import LARGEST_SEED, finite, whole
from leaky.errors import InputError
from leaky.tuning.arms import DEFAULT_SLOPES, REFERENCES, AnyArm, Arm, Slope, arms_of
from leaky.tuning.engines.by_name import NamedEngine, task_named
from leaky.tuning.engines.engine import Engine
from leaky.tuning.engines.isolation import IsolatedEngine, TrainingLimits, must_be_sendable
from leaky.tuning.engines.objective import ObjectiveEngine
from leaky.tuning.running.study_run import nominate, run, running_of
from leaky.tuning.running.worker import Design, Progress
from leaky.tuning.scheduling import PATIENCE, Budget
from leaky.tuning.search import Range, range_of
from leaky.tuning.study import Study

DEFAULT_CONFIRM = 2
MOST = 100_000
"""Seeds, and trainings that confirm."""
ENGINES = ("auto", "batched", "local", "ray")


def design_of(
    slopes: Sequence[Slope],
    seeds: int | Sequence[int],
    budget: str,
    higher_is_better: bool,
    confirm: int,
    searching: bool = False,
    worth: float | None = None,
    patience: float = 0.0,
) -> Design:
    """The checked design of a study; an adaptive one may go on to seeds after the given ones.

    While `searching`, there may be fewer than two slopes.
    """
    if not isinstance(higher_is_better, bool):
        raise InputError(f"higher_is_better must be True or False, not {higher_is_better!r}")
    confirm = whole("confirm", confirm, 0, MOST)
    given = _seeds(seeds)
    if worth is not None and not finite("worth", worth) > 0:
        raise InputError(f"worth must be a finite difference of more than 0, not {worth}")
    limits = Budget(len(given), budget, patience)
    after = max(given) + 1
    more = tuple(range(after, after + limits.most_seeds - len(given)))
    arms = arms_of(slopes, least=0 if searching else 2)
    return Design(arms, given + more, higher_is_better, limits, confirm, worth)


def _seeds(seeds: Any) -> tuple[int, ...]:
    """Seeds that were given, or that many."""
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        return tuple(range(whole("seeds", seeds, 1, MOST)))
    given = tuple(whole("a seed", seed, 0, LARGEST_SEED - MOST) for seed in seeds)
    if len(set(given)) < len(given):
        raise InputError(f"seeds must be different numbers, not {list(given)}")
    return given


def tune(
    task: Any,
    *,
    slopes: Sequence[Slope] | None = None,
    search: Range | Sequence[float] | None = None,
    seeds: int | Sequence[int] = 5,
    budget: str = "adaptive",
    worth: float | None = None,
    patience: float = PATIENCE,
    higher_is_better: bool | None = None,
    confirm: int | None = None,
    storage: str | Path | None = None,
    study_name: str = "leaky",
    engine: str = "auto",
    workers: int = 1,
    time_limit: float | None = None,
    isolate: bool = False,
    training_seconds: float | None = None,
    training_memory: float | None = None,
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
        slopes: numbers; names of "prelu" (learned), "tailored" (from theory), "elu", "gelu" and "silu"; and tuples of
            numbers, one for each rectifier module. By default `leaky.tuning.arms.DEFAULT_SLOPES`; beside a search, 0
            and 0.01.
        search: (low, high), or a `leaky.tuning.Range` with more to say: Optuna's sampler looks there first, for one
            slope or one a layer, on seeds of its own; the best that it finds are compared with `slopes`.
        seeds: a number or a list, a slope.
        budget: "adaptive", or "fixed" for exactly these seeds for every slope and one look at the end.
        worth: the smallest difference of the score that matters to you. The study answers that a slope is better than
            the simplest one, that none is by more than this, or that it is undecided. By default .01 for an accuracy
            and other scores between 0 and 1 that are better the higher, else 2% of a typical score.
        patience: seconds that all trainings of an adaptive study may take together while it is undecided, after its
            seeds are spent; 0 ends it with its seeds.
        higher_is_better: whether more of the score is better; by default what the task's own score needs, or True.
        confirm: trainings of the recommended slope with fresh seeds after the choice, for a score that nothing was
            chosen by; by default 2 where there are no test data, else 0.
        storage: path of a journal file, or any storage URL of Optuna's; the same call resumes from it, and several
            processes may work on one. By default in memory.
        study_name: of the study in the storage.
        engine: "batched" trains the variants of a torch task in stacks wherever that is possible, "local" one model at
            a time, both in a forked process for each of torch's threads; "auto" does what a short probe shows to be
            faster, one after another in this process included; "ray" does that in Ray tasks, on the cluster of
            RAY_ADDRESS or on this machine.
        workers: processes of this machine that share the study, or Ray tasks; the task must then be importable.
        time_limit: seconds after which no further training begins.
        isolate: each training runs in a process of its own, forked with one torch thread, so that one that exits,
            crashes, hangs or takes too much memory is a failed training and costs nothing else.
        training_seconds: that a training may take, then it is ended and failed; it is isolated for that.
        training_memory: GiB that a training may take beyond what it begins with; it is isolated for that, on Linux.
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
    if higher_is_better is None:
        higher_is_better = checked is None or checked.higher_is_better
    untested = checked is None or checked.test is None
    confirm = (DEFAULT_CONFIRM if untested else 0) if confirm is None else confirm
    running = running_of(storage, study_name, workers, engine == "ray", time_limit, progress)
    space = None if search is None else range_of(search, None if checked is None else lambda: checked.layers)
    given = (DEFAULT_SLOPES if space is None else REFERENCES) if slopes is None else slopes
    settled = partial(design_of, worth=worth, patience=patience)
    design = settled(given, seeds, budget, higher_is_better, confirm, searching=space is not None)
    alone = isolate or training_seconds is not None or training_memory is not None
    limits = TrainingLimits(training_seconds, training_memory) if alone else None
    arms = AnyArm({arm.label: arm for arm in design.arms})
    make = partial(_engine, arms=arms, engine=engine, name=name, limits=limits)
    ready = make(task if checked is None else checked)
    if checked is not None:
        checked.check([*design.arms, *([] if space is None else [space.example])])
    with closing(ready):
        searched = None
        if space is not None:
            found, searched, whole = nominate(space, higher_is_better, ready, running)
            if not whole:
                return replace(design.study((), "", ready.description), searched=searched)
            design = settled(_joined(design.arms, found), seeds, budget, higher_is_better, confirm)
            if workers > 1:
                ready.close()  # its processes make room for those that share the study
        study = run(design, ready if name is None else NamedEngine(name, make, ready), running)
    return replace(study, searched=searched)


def _joined(given: Sequence[Arm], found: Sequence[Slope]) -> tuple[Slope, ...]:
    """What was given, and what a search found besides.

    Raises:
        InputError: if that is too little to compare.
    """
    labels = {arm.label for arm in given}
    slopes = (*(arm.value for arm in given), *(slope for slope in found if Arm(slope).label not in labels))
    if len(slopes) < 2:
        raise InputError("a search must find slopes to compare, and every training failed: see the objective")
    return slopes


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


def _engine(
    task: Any, arms: dict[str, Arm], engine: str, name: str | None = None, limits: TrainingLimits | None = None
) -> Engine:
    """What trains a task or an objective; where there are `limits`, each training in a process of its own."""
    if limits is not None:
        return _isolated(task, arms, engine, name, limits)
    if not hasattr(task, "build"):
        if engine == "batched":
            raise InputError("engine 'batched' needs a torch task, build and train=…; an objective trains by itself")
        return ObjectiveEngine(task, arms)
    from leaky.tuning.engines.torch_engine import AUTO, KINDS, TorchEngine

    return TorchEngine(task, arms, engine if engine in KINDS else AUTO)


def _isolated(task: Any, arms: dict[str, Arm], engine: str, name: str | None, limits: TrainingLimits) -> Engine:
    if engine in ("batched", "ray"):
        why = "trains several in one process" if engine == "batched" else "has processes of its own"
        raise InputError(f"isolate must go with engine 'auto' or 'local'; {engine!r} {why}")
    make = partial(_alone, arms=arms)
    inner = make(task) if name is None else NamedEngine(name, make, make(task))
    must_be_sendable(inner)
    return IsolatedEngine(inner, limits, hasattr(task, "build") and task.data.inputs.device.type == "cpu")


def _alone(task: Any, arms: dict[str, Arm]) -> Engine:
    """One training after another."""
    if not hasattr(task, "build"):
        return ObjectiveEngine(task, arms)
    from leaky.tuning.engines.training import LocalEngine

    return LocalEngine(task, arms)

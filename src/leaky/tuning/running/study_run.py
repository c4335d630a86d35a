"""A study at work: the search before it, the comparison, in this process or in others, until its end or Ctrl-C."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaky.checking import file_name, finite, shown, whole
from leaky.errors import InputError
from leaky.tuning.arms import Slope
from leaky.tuning.conclusions import Searched
from leaky.tuning.engines.engine import Engine
from leaky.tuning.running.processes import StudyLocation, work_in_processes
from leaky.tuning.running.ray_tasks import must_be_shared, work_in_ray
from leaky.tuning.running.worker import Design, Progress, work
from leaky.tuning.search import Range, Search
from leaky.tuning.study import Study


@dataclass(frozen=True)
class Running:
    """How a study runs, whatever it compares."""

    storage: str | None
    study_name: str
    workers: int
    in_ray: bool
    until: float | None
    progress: Progress | None

    @property
    def left(self) -> float | None:
        """Seconds until then."""
        return None if self.until is None else self.until - time.monotonic()

    def over(self) -> bool:
        """Whether the time limit has passed, by the monotonic clock."""
        return self.until is not None and time.monotonic() >= self.until


def run(design: Design, engine: Engine, running: Running) -> Study:
    """Run or resume the study; Ctrl-C and the time limit end it with what is known."""
    identity: dict[str, Any] = {"slopes": [_as_json(arm.value) for arm in design.arms], "budget": design.budget.mode}
    if design.budget.fixed_seeds is not None:  # a second look would need another boundary
        identity["seeds"] = list(design.seeds)
    with tempfile.TemporaryDirectory(prefix="leaky-") as folder:
        path = running.storage
        if path is None and (running.workers > 1 or running.in_ray):
            path = f"{folder}/study.journal"
        place = StudyLocation(path, running.study_name, identity)
        store = place.open(design)
        try:
            if running.in_ray:
                work_in_ray(running.workers, place, design, engine, running.left, running.progress)
            elif running.workers > 1:
                work_in_processes(running.workers, place, design, engine, running.until, running.progress)
            else:
                work(design, store, engine, running.over, running.progress)
        except KeyboardInterrupt:  # the user has seen enough: the verdict so far, and the storage to go on from
            if path is not None:  # read anew: Optuna skips for ever what it was reading when it was interrupted
                store = place.open(design)
                store.running()  # what this process left behind there is ended, with the results that it has
        study = design.study(store.trials())
        cells, following = design.next(study)
        ended = "" if cells else following.ended
        return design.study(study.trials, ended, engine.description)


def nominate(
    space: Range, higher_is_better: bool, engine: Engine, running: Running
) -> tuple[tuple[Slope, ...], Searched, bool]:
    """The finalists of a search, what it tried, and whether it was completed."""
    from leaky.tuning.storage.candidates import CandidateStore

    def opened() -> Search:
        name = f"{running.study_name}: search"
        store = CandidateStore(running.storage, name, space.identity, higher_is_better, [])
        return Search(space, store, higher_is_better)

    search = opened()
    try:
        search.run(engine, running.over)
    except KeyboardInterrupt:  # as in `run`
        if running.storage is not None:
            search = opened()
    arms, searched = search.result()
    return tuple(arm.value for arm in arms), searched, not search.open


def _as_json(slope: Slope) -> Any:
    return list(slope) if isinstance(slope, tuple) else slope


def running_of(
    storage: str | Path | None,
    study_name: str,
    workers: int,
    in_ray: bool,
    time_limit: float | None,
    progress: Progress | None,
) -> Running:
    """The checked settings; the time limit counts from now.

    Raises:
        InputError: if one is not what it must be.
    """
    workers = whole("workers", workers, 1)
    if time_limit is not None and not finite("time_limit", time_limit) > 0:
        raise InputError(f"time_limit must be more than 0 seconds, not {time_limit}")
    if not isinstance(study_name, str):
        raise InputError(f"study_name must be a text, not {shown(study_name)}")
    path = None if storage is None else file_name(storage, "storage")
    if in_ray:
        must_be_shared(path)
    until = None if time_limit is None else time.monotonic() + time_limit
    return Running(path, study_name, workers, in_ray, until, progress)

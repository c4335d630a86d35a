"""Several processes on this machine that work on one study.

Each runs the same loop on the same storage, as processes on other machines would. A process that dies loses what it
was training and nothing else; one whose parent was killed ends by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leaky.documents import Json
from leaky.errors import InputError, LeakyError
from leaky.tuning.engines.engine import Engine
from leaky.tuning.running.worker import POLL, Design, Progress, work

if TYPE_CHECKING:
    from leaky.tuning.storage.store import Store

RESTARTS = 3
"""Processes that are started again after they died, a study."""


@dataclass(frozen=True)
class StudyLocation:
    """Where a study's storage is, and under which name and design."""

    storage: str | None
    name: str
    design: Json

    def open(self, design: Design) -> Store:
        """The store, for this process."""
        from leaky.tuning.storage.store import Store

        return Store(self.storage, self.name, self.design, design.direction, [arm.label for arm in design.arms])


def work_in_processes(
    count: int,
    place: StudyLocation,
    design: Design,
    engine: Engine,
    until: float | None,
    progress: Progress | None,
) -> None:
    """Run the loop in `count` processes until the study is over.

    Args:
        count: at least 2.
        place: of a storage that other processes can open.
        design: as in `work`.
        engine: as in `work`, and picklable.
        until: a time of `time.time()` after which no training begins.
        progress: called in this process.

    Raises:
        InputError: if the engine cannot be sent to another process.
        KeyboardInterrupt: as it came; the processes have given back what they were training.
    """
    try:
        pickle.dumps(engine)
    except Exception as error:
        raise InputError(
            "with several workers the objective or task must be importable: a function at the top level of a module, "
            f"not a lambda or a function inside another ({error})"
        ) from error
    context = multiprocessing.get_context("spawn")

    def start() -> Any:
        threads = max(1, (os.cpu_count() or 1) // count)
        process = context.Process(target=_worker, args=(place, design, engine, until, os.getpid(), threads))
        process.start()
        return process

    processes = [start() for _ in range(count)]
    try:
        _watch(processes, start, place, design, engine, progress)
    finally:
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.terminate()
                process.join()


def _watch(
    processes: list[Any],
    start: Callable[[], Any],
    place: StudyLocation,
    design: Design,
    engine: Engine,
    progress: Progress | None,
) -> None:
    store, restarts, told = place.open(design), 0, -1
    while any(process.is_alive() for process in processes):
        trials = store.trials()
        if progress is not None and len(trials) != told:
            told = len(trials)
            study = design.study(trials, engine=engine.description)
            progress(study, design.step(study)[1].left)
        for at, process in enumerate(processes):
            if process.exitcode not in (None, 0):
                if restarts == RESTARTS:
                    raise LeakyError(
                        f"a worker process died {RESTARTS + 1} times, the last time with status {process.exitcode}; "
                        "what had ended is in the storage"
                    )
                restarts += 1
                processes[at] = start()
        time.sleep(POLL)


def _worker(
    place: StudyLocation, design: Design, engine: Engine, until: float | None, parent: int, threads: int
) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        import torch

        torch.set_num_threads(threads)
    except ImportError:
        pass
    try:
        work(design, place.open(design), engine, lambda: until is not None and time.time() >= until)
    except KeyboardInterrupt:
        return  # it went to the whole group; the parent answers


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)

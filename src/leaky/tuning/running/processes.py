"""Several processes on this machine that work on one study.

Each runs the same loop on the same storage, as processes on other machines would. A process that dies loses what it
was training and nothing else; one whose parent was killed ends by itself.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leaky.activation import kernels
from leaky.documents import Json
from leaky.errors import LeakyError
from leaky.tuning import child_process
from leaky.tuning.engines.engine import Engine
from leaky.tuning.running.worker import POLL, Design, Progress, work
from leaky.tuning.storage.ownership import owner_of

if TYPE_CHECKING:
    from leaky.tuning.storage.store import Store

RESTARTS = 8
"""Processes that are started again after they died while no training ends."""
DONE = 86
"""The status of a process that came to the end of its work; a user's code may end it with any of the usual ones."""


@dataclass(frozen=True)
class StudyLocation:
    """Where a study's storage is, and under which name and design."""

    storage: str | None
    name: str
    design: Json

    def open(self, design: Design) -> Store:
        """The store, for this process."""
        from leaky.tuning.storage.store import Store

        return Store(self.storage, self.name, self.design, design.higher_is_better, [arm.label for arm in design.arms])


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
        until: a time of `time.monotonic()` after which no training begins.
        progress: called in this process.

    Raises:
        InputError: if the engine cannot be sent to another process.
        KeyboardInterrupt: as it came; the processes have given back what they were training.
    """
    child_process.must_be_picklable(engine, "several workers")
    kernels.build_info()  # what it has to say is said once, here
    context = multiprocessing.get_context("spawn")

    def start() -> Any:
        threads = max(1, (os.cpu_count() or 1) // count)
        process = context.Process(target=_worker, args=(place, design, engine, until, os.getpid(), threads))
        process.start()
        return process

    workers = _Workers(start, count, place.open(design))
    try:
        while workers.at_work():
            workers.tell(design, engine, progress)
            time.sleep(POLL)
    finally:
        workers.end()


class _Workers:
    """The processes, and what is done where one dies.

    A process that dies is started again; what it was training counts as what killed it. Where processes die and die and
    no training ends meanwhile, the study is given up.
    """

    def __init__(self, start: Callable[[], Any], count: int, store: Store) -> None:
        self._start = start
        self._store = store
        self._processes = [self._started() for _ in range(count)]
        self._told = self._ended = -1
        self._restarts = 0

    def _started(self) -> tuple[Any, str]:
        process = self._start()
        return process, owner_of(process.pid)

    def at_work(self) -> bool:
        """Whether any still works; starts those again that died.

        Raises:
            LeakyError: if that is of no use.
        """
        for at, (process, owner) in enumerate(self._processes):
            if process.exitcode in (None, DONE):
                continue
            self._store.bury(owner)
            ended = len(self._store.trials())
            self._restarts = 1 if ended != self._ended else self._restarts + 1
            self._ended = ended
            if self._restarts > RESTARTS:
                raise LeakyError(
                    f"worker processes died {self._restarts} times and no training ended, the last time with status "
                    f"{process.exitcode}; what had ended is in the storage"
                )
            self._processes[at] = self._started()
        return any(process.is_alive() for process, _ in self._processes)

    def tell(self, design: Design, engine: Engine, progress: Progress | None) -> None:
        """Show how far the study is."""
        if progress is None:
            return
        trials = self._store.trials()
        if len(trials) != self._told:
            self._told = len(trials)
            study = design.study(trials, engine=engine.description)
            progress(study, design.next(study)[1].left)

    def end(self) -> None:
        """Wait a little for each, then end it."""
        for process, _ in self._processes:
            process.join(5)
            if process.is_alive():
                process.terminate()
                process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _worker(
    place: StudyLocation, design: Design, engine: Engine, until: float | None, parent: int, threads: int
) -> None:
    child_process.end_with_parent(parent)
    try:
        import torch

        torch.set_num_threads(threads)
    except ImportError:
        pass
    with suppress(KeyboardInterrupt):  # it went to the whole group; the parent answers
        work(design, place.open(design), engine, lambda: until is not None and time.monotonic() >= until)
    sys.exit(DONE)

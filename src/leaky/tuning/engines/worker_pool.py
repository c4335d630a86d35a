"""Processes that were forked with a task in memory and train what they are sent.

A fork has everything imported and needs nothing to be picklable, so it is ready in a few hundredths of a second. The
pool must not outlive its parent, must leave Ctrl-C to it, and a worker that dies costs nothing but what it was at.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from leaky.activation import kernels
from leaky.tuning import child_process
from leaky.tuning.engines.engine import never

DEATHS = 2
"""Processes that may die over one job before it counts as what kills them."""


def most_processes() -> int:
    """The number of processes to fork: one for each torch thread, or 1 where forking is not safe."""
    safe = sys.platform == "linux" and not torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if not safe or multiprocessing.current_process().daemon:
        return 1
    return max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0))))


@dataclass(frozen=True)
class WorkerDied:
    """Returned instead of an answer if the process died: its exit status."""

    status: int | None

    @property
    def killed(self) -> bool:
        """Whether it was killed with SIGKILL, as Linux does when memory is exhausted."""
        return self.status == -signal.SIGKILL

    @property
    def reason(self) -> str:
        """The cause of death in words."""
        if self.status is None or self.status >= 0:
            return f"its process ended by itself, with status {self.status}"
        return f"its process was ended by {signal.Signals(-self.status).name}, {DEATHS} times"


class Worker:
    """One process and its current job."""

    def __init__(self, serve: Callable[[Any], Any]) -> None:
        kernels.build_info()  # what it has to say is said once, here
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.job: Any = None
        self.process = context.Process(target=_serve, args=(theirs, serve, os.getpid()), daemon=True)
        child_process.start(self.process)
        theirs.close()

    def send(self, job: Any) -> None:
        """Send a job; whether the process is dead shows when the answer is awaited."""
        self.job = job
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def answer(self) -> Any:
        """The answer to the job, or `WorkerDied`."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return WorkerDied(self.process.exitcode)


class WorkerPool:
    """A pool of forked processes.

    Args:
        count: of processes.
        serve: a job → its answer, both picklable; runs in the processes, with one torch thread.
    """

    def __init__(self, count: int, serve: Callable[[Any], Any]) -> None:
        self._serve = serve
        self.workers = [Worker(serve) for _ in range(count)]
        self._ended = weakref.finalize(self, _end, self.workers)

    def run(self, jobs: Iterable[Any], stop: Callable[[], bool] = never) -> Iterator[tuple[Any, Any]]:
        """(job, answer) of each job as it ends; the next one begins when the caller comes back for more.

        After `stop` no further job begins. Left early, by Ctrl-C for one, it ends what is running.
        """
        waiting, deaths = deque(jobs), dict[int, int]()
        idle, busy = list(self.workers), dict[Connection, Worker]()
        try:
            while True:
                while idle and waiting and not stop():
                    worker = idle.pop(0)
                    worker.send(waiting.popleft())
                    busy[worker.connection] = worker
                if not busy:
                    return
                ready: list[Any] = wait(list(busy))
                for connection in ready:
                    worker = busy.pop(connection)
                    job, answer = worker.job, worker.answer()
                    idle.append(self._replaced(worker) if isinstance(answer, WorkerDied) else worker)
                    if isinstance(answer, WorkerDied) and deaths.setdefault(id(job), 1) < DEATHS:
                        deaths[id(job)] += 1
                        waiting.appendleft(job)
                        continue
                    yield job, answer
        finally:
            if busy:
                self.close()

    def close(self) -> None:
        """End the processes."""
        self._ended()

    @property
    def closed(self) -> bool:
        """Whether it can take no more jobs."""
        return not self._ended.alive

    def _replaced(self, worker: Worker) -> Worker:
        worker.connection.close()
        fresh = Worker(self._serve)
        self.workers[self.workers.index(worker)] = fresh
        return fresh


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.connection.close()
        worker.process.terminate()
    for worker in workers:
        worker.process.join()


def _serve(connection: Any, serve: Callable[[Any], Any], parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    child_process.end_with_parent(parent)
    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(serve(connection.recv()))

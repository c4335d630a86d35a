"""The engine of torch tasks: stacks, processes, both or neither, whichever a short trial on this machine favours.

One after another in plain torch is always among the choices, so that nothing is chosen that looks slower than it.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from leaky.tuning.arms import Arm
from leaky.tuning.engines.batched import ALONE, CHUNK, NARROW, SLOWER, WIDTHS, BatchedEngine, described
from leaky.tuning.engines.engine import never
from leaky.tuning.engines.objective import trial_of
from leaky.tuning.engines.stacked_training import WHOLE, seconds_alone
from leaky.tuning.engines.training import LocalEngine
from leaky.tuning.engines.worker_pool import WorkerDied, WorkerPool, most_processes
from leaky.tuning.task import Task
from leaky.tuning.trial import OUT_OF_MEMORY, RAISED, Cell, Trial

AUTO, BATCHED, LOCAL = KINDS = ("auto", "batched", "local")
AHEAD = 2
"""Cells a process that are taken at a time where models are trained one by one: none of the processes has to wait."""
Job = tuple[int | None, list[Cell]]
"""What a process of the pool is sent: cells to train in this width, None to try the widths."""
LEAST_POOL_SECONDS = 0.5
"""Seconds of training below which processes would hardly have begun when the work is done."""


@dataclass(frozen=True)
class Parallelism:
    """How many variants train side by side in a stack, as in `StackedTraining`, and in how many processes."""

    width: int
    processes: int

    def __str__(self) -> str:
        names = {ALONE: "one model at a time", NARROW: f"batched by {NARROW}, for the sake of the cache"}
        how = names.get(self.width, "batched")
        return f"{how}, in {self.processes} processes" if self.processes > 1 else how


@dataclass
class TorchEngine:
    """Trains the variants of a torch task.

    Attributes:
        task: to train.
        arms: by label.
        kind: "batched" stacks whatever can be, "local" nothing, "auto" what a short trial shows to be faster.
        measured: look at the units of each trained network.
    """

    task: Task
    arms: Mapping[str, Arm]
    kind: str = AUTO
    measured: bool = True
    _reasons: dict[str, str] = field(default_factory=dict)
    _parallelism: Parallelism | None = None
    pool: WorkerPool | None = None

    def __post_init__(self) -> None:
        self._stacks = BatchedEngine(self.task, self.arms, WHOLE, self.measured)
        self._trying = BatchedEngine(self.task, self.arms, None, self.measured)
        self._alone = LocalEngine(self.task, self.arms, self.measured)

    def __reduce__(self) -> tuple[Any, ...]:
        return (TorchEngine, (self.task, self.arms, self.kind, self.measured))

    @property
    def at_once(self) -> int:
        """Cells that it takes at a time."""
        parallelism = self._parallelism
        processes = parallelism.processes if parallelism else self._most_processes()
        return processes * (AHEAD if self.kind == LOCAL or (parallelism and parallelism.width == ALONE) else CHUNK)

    @property
    def description(self) -> str:
        """How it trains and why."""
        if self._parallelism is None:
            return "one training at a time" if self.kind == LOCAL else self._trying.description
        reasons = {**self._reasons, **self._stacks.reasons}
        if self._parallelism.width == ALONE and self.kind == AUTO:
            reasons = reasons or {"": SLOWER}
        return described(str(self._parallelism), reasons if self.kind != LOCAL else {})

    def run(self, cells: list[Cell], stop: Callable[[], bool] = never) -> Generator[Trial, None, None]:
        """The trainings of these cells, as they end."""
        parallelism = self._parallelism or self.choose(cells)
        if parallelism is None:
            yield from self._trying.run(cells, stop)
        elif parallelism.processes == 1:
            yield from (self._alone if parallelism.width == ALONE else self._stacks).run(cells, stop)
        else:
            yield from self._by_pool(parallelism, cells, stop)

    def close(self) -> None:
        """End the processes, if there are any."""
        if self.pool is not None:
            self.pool.close()
            self.pool = None

    def _most_processes(self) -> int:
        return most_processes() if self.task.data.inputs.device.type == "cpu" else 1

    def choose(self, cells: list[Cell]) -> Parallelism | None:
        """Choose the fastest parallelism by a trial; None if there is too little work for several processes."""
        most = self._most_processes()
        if self.kind != AUTO:
            self._parallelism = Parallelism(WHOLE if self.kind == BATCHED else ALONE, most)
            return self._parallelism
        alone = self.seconds_alone(cells) if most > 1 and len(cells) > 1 else 0.0
        if alone * self.task.epochs * self.task.steps_per_epoch * len(cells) < LEAST_POOL_SECONDS:
            return None
        found = [answer for _, answer in self._pool_of(most).run([(None, part) for part in shares(cells, most)])]
        seconds_by = {Parallelism(ALONE, 1): alone}
        for width in (ALONE, *WIDTHS):
            # what dies in the trial is sorted out one model at a time
            seconds = [({ALONE: 0.0} if isinstance(a, WorkerDied) else a).get(width, math.inf) for a in found]
            seconds_by[Parallelism(width, most)] = max(seconds) / most
        self._parallelism = min(seconds_by, key=lambda each: seconds_by[each])
        return self._parallelism

    def seconds_alone(self, cells: list[Cell]) -> float:
        """Seconds of a training step in the plain loop, from the first cell that trains; 0 where none does."""
        with torch.random.fork_rng(devices=[]):
            for cell in cells:
                with contextlib.suppress(Exception):  # it will be the result of that training
                    return seconds_alone(self.task, self.task.model(self.arms[cell.arm], cell.seed), cell.seed)
        return 0.0

    def _pool_of(self, count: int) -> WorkerPool:
        if self.pool is None or self.pool.closed:
            self.pool = WorkerPool(count, self._serve)
        return self.pool

    def _by_pool(
        self, parallelism: Parallelism, cells: list[Cell], stop: Callable[[], bool]
    ) -> Generator[Trial, None, None]:
        parts = [[cell] for cell in cells] if parallelism.width == ALONE else shares(cells, parallelism.processes)
        jobs: list[Job] = [(parallelism.width, part) for part in parts]
        again: list[Job] = []
        for (_, part), answer in self._pool_of(parallelism.processes).run(jobs, stop):
            if not isinstance(answer, WorkerDied):
                trials, reasons = answer
                self._reasons.update(reasons)
                yield from trials
            elif len(part) > 1:  # which of them it was, each will show alone
                again += [(ALONE, [cell]) for cell in part]
            else:
                yield _death(part[0], answer)
        for (_, part), answer in self._pool_of(parallelism.processes).run(again, stop) if again else ():
            yield from [_death(part[0], answer)] if isinstance(answer, WorkerDied) else answer[0]

    def _serve(self, job: Job) -> Any:
        """In a process of the pool: a job → its answer."""
        width, cells = job
        if width is None:
            try:
                return self._stacks.probe(cells)
            except Exception:  # the trainings will show it
                return {}
        if width == ALONE:
            return list(self._alone.run(cells)), {}
        self._stacks.width = width
        return list(self._stacks.run(cells)), dict(self._stacks.reasons)


def shares(cells: list[Cell], count: int) -> list[list[Cell]]:
    """The cells in equal parts, a multiple of `count` of them where there are enough, those of one slope together."""
    parts = min(len(cells), count * math.ceil(len(cells) / (count * CHUNK)))
    ends = [len(cells) * part // parts for part in range(parts + 1)]
    listed = sorted(cells, key=lambda cell: cell.arm)
    return [listed[begin:end] for begin, end in itertools.pairwise(ends)]


def _death(cell: Cell, died: WorkerDied) -> Trial:
    return trial_of(cell, OUT_OF_MEMORY if died.killed else RAISED, died.reason, None, 0.0)

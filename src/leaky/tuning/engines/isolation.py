"""Runs each training in a process of its own, so that a crash is recorded as a result and the study goes on.

An exit, a crash, a hang or too much memory must cost that training alone, nothing of it may be left running, and the
training itself must be the one that an engine without isolation runs.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from leaky.activation import kernels
from leaky.errors import InputError
from leaky.tuning import child_process
from leaky.tuning.engines.engine import Engine, never
from leaky.tuning.engines.objective import trial_of
from leaky.tuning.trial import OUT_OF_MEMORY, RAISED, Cell, Trial

FORK, SPAWN = "fork", "spawn"
TICK = 0.05
"""Seconds between two looks at what runs; an answer is taken at once."""
FAREWELL = 5.0
"""Seconds that a process has after its answer: for loggers that write to the end, and the like."""
GIBIBYTE = 2**30
PR_SET_PDEATHSIG = 1
"""Of Linux: the signal that a process gets when the one that started it is gone."""
ATTEMPTS = 2
"""Trainings whose process somebody else ended, the system for one, are tried so often."""


@dataclass(frozen=True)
class TrainingLimits:
    """Limits on the time and memory of each training.

    Attributes:
        seconds: of time; None for any.
        gibibytes: of memory, beyond what its process begins with; None for any. Kept by Linux alone.

    Raises:
        InputError: if one is not more than 0, or cannot be kept here.
    """

    seconds: float | None = None
    gibibytes: float | None = None

    def __post_init__(self) -> None:
        for name, value, unit in (
            ("training_seconds", self.seconds, "seconds"),
            ("training_memory", self.gibibytes, "GiB"),
        ):
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} must be more than 0 {unit}, not {value}")
        if self.gibibytes is not None and sys.platform != "linux":
            raise InputError("training_memory needs Linux, which alone limits the memory of a process")

    def begin(self) -> None:
        """From now on, this process keeps to the memory."""
        if self.gibibytes is None or sys.platform != "linux":
            return
        import resource

        status = Path("/proc/self/status").read_text()
        begun = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmData"))
        most = begun + int(self.gibibytes * GIBIBYTE)
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


@dataclass(frozen=True)
class IsolatedEngine:
    """Another engine's trainings, each in a process of its own.

    Attributes:
        engine: trains one cell in the process that it is called in.
        limits: of each training.
        several: whether several train at once, one for each of torch's threads.
    """

    engine: Engine
    limits: TrainingLimits = TrainingLimits()
    several: bool = False

    @property
    def at_once(self) -> int:
        """Processes."""
        if not self.several:
            return 1
        from leaky.tuning.engines.worker_pool import most_processes

        return most_processes()

    @property
    def description(self) -> str:
        """How it trains, for the reader."""
        processes = "" if self.at_once == 1 else f", {self.at_once} at once"
        return f"each training in a process of its own{processes}"

    def run(self, cells: list[Cell], stop: Callable[[], bool] = never) -> Generator[Trial, None, None]:
        """The trainings of these cells, as they end."""
        waiting, running = deque((cell, 1) for cell in cells), list[_Training]()
        _import_ahead()
        try:
            while True:
                while waiting and len(running) < self.at_once and not stop():
                    running.append(_Training(self, *waiting.popleft()))
                if not running:
                    return
                wait([training.connection for training in running], TICK)
                for training in list(running):
                    trial = training.outcome()
                    if trial is None and training.running:
                        continue
                    running.remove(training)
                    training.end()
                    if trial is None:
                        waiting.appendleft((training.cell, training.attempt + 1))
                    else:
                        yield trial
        finally:
            for training in running:
                training.end()

    def close(self) -> None:
        """Give up what the engine holds."""
        self.engine.close()


class _Training:
    """One that runs: its process, and what became of it.

    Attributes:
        running: whether it still does.
    """

    def __init__(self, engine: IsolatedEngine, cell: Cell, attempt: int) -> None:
        self.cell, self.attempt, self.running = cell, attempt, True
        self._limits = engine.limits
        kernels.build_info()  # what it has to say is said once, here
        how = start_method()
        context: Any = multiprocessing.get_context(how)
        self.connection, theirs = context.Pipe(duplex=False)
        arguments = (theirs, engine.engine, cell, engine.limits, os.getpid(), how == FORK)
        self._process = context.Process(target=_train, args=arguments)
        self._began = time.monotonic()
        try:
            child_process.start(self._process)
            theirs.close()
        except BaseException:
            self.end()
            raise

    def outcome(self) -> Trial | None:
        """The result; None while it runs or if it will be retried."""
        gone = self._process.exitcode is not None  # before the pipe, which may hold an answer all the same
        try:
            answer = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError, pickle.UnpicklingError):
            self._process.join()
            answer, gone = None, True
        seconds = time.monotonic() - self._began
        if answer is not None:
            self.running = False
            self._process.join(FAREWELL)
            return answer if isinstance(answer, Trial) else self._failed(RAISED, str(answer), seconds)
        if gone:
            return self._died(self._process.exitcode, seconds)
        if self._limits.seconds is not None and seconds > self._limits.seconds:
            self.running = False
            return self._failed(RAISED, f"it was ended after {self._limits.seconds:g} s, the limit", seconds)
        return None

    def end(self) -> None:
        """End its process and those that it started, if they are there."""
        if self._process.pid is not None:
            with contextlib.suppress(OSError, AttributeError):  # it leads no group yet, or there are no groups
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.kill()
            self._process.join()
        self.connection.close()

    def _died(self, status: int | None, seconds: float) -> Trial | None:
        self.running = False
        if status in (-signal.SIGKILL, -signal.SIGTERM) and self.attempt < ATTEMPTS:
            return None
        if status is None or status >= 0:
            return self._failed(RAISED, f"it ended its process, with status {status}", seconds)
        times = f", {self.attempt} times" if self.attempt > 1 else ""
        outcome = OUT_OF_MEMORY if status == -signal.SIGKILL else RAISED
        return self._failed(outcome, f"its process was ended by {_signal_name(-status)}{times}", seconds)

    def _failed(self, outcome: str, reason: str, seconds: float) -> Trial:
        return trial_of(self.cell, outcome, reason, None, seconds)


def start_method() -> str:
    """How processes begin: forked where that is safe, with all that is imported; anew elsewhere."""
    torch = sys.modules.get("torch")
    return FORK if sys.platform == "linux" and not (torch and torch.cuda.is_initialized()) else SPAWN


def _import_ahead() -> None:
    """Import what torch's optimizers load lazily, which takes seconds, once before forking."""
    if "torch" in sys.modules and start_method() == FORK:
        with contextlib.suppress(Exception):  # the trainings will show it
            importlib.import_module("torch._dynamo")


def must_be_sendable(engine: Engine) -> None:
    """Raise unless the task can be pickled for a spawned process.

    Raises:
        InputError: if that is how processes begin here, and the task is not importable.
    """
    if start_method() != FORK:
        child_process.must_be_picklable(engine, "isolate")


def _train(
    connection: Connection, engine: Engine, cell: Cell, limits: TrainingLimits, parent: int, forked: bool
) -> None:
    """In the process: the training, and its result into the pipe."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpgid(0, 0)  # Ctrl-C is the study's, and what is started here ends with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with(parent)
    if forked:
        _forget_threads()
    limits.begin()
    try:
        answer: Any = next(iter(engine.run([cell])))
    except BaseException as error:
        from leaky.failures import one_line

        answer = one_line(error)
    with contextlib.suppress(OSError):
        connection.send(answer)


def _forget_threads() -> None:
    """The threads of the process that was forked are not here, and whatever waits for one would wait for ever."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    for name in ("stdout", "stderr"):  # a progress bar prints in a thread, with a lock that it may have held
        stream = getattr(sys, name)
        setattr(sys, name, getattr(stream, "rich_proxied_file", stream))


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies."""
    if sys.platform == "linux":
        import ctypes

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # also where a training never yields
    child_process.end_with_parent(parent, group=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"

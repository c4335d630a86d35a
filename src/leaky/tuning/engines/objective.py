"""One training of the user's as a result, whatever happens in it.

Divergence, running out of memory and exceptions are answers about a slope; only the user's own interruption is not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from leaky.checking import LARGEST_SEED, whole
from leaky.errors import InputError
from leaky.failures import one_line
from leaky.signals import Terminated
from leaky.tuning.arms import Arm
from leaky.tuning.engines.engine import never
from leaky.tuning.trial import DIVERGED, FINISHED, LARGEST_FIGURE, OUT_OF_MEMORY, RAISED, Cell, Trial

Report = Callable[[int, float], None]
Objective = Callable[[Any, int, Report], Any]
"""objective(negative_slope, seed, report) → a number, or a `Result`."""


@dataclass(frozen=True)
class Result:
    """The result of a training that returns more than a score.

    Attributes:
        score: what slopes are chosen by.
        test: the score on data that nothing is chosen by.
        slope: that it trained with, where the arm is a rule.
        measurements: name → figure of the trained network.
    """

    score: float
    test: float | None = None
    slope: float | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)


class DivergedError(Exception):
    """A training reported a value that is not finite."""


def attempt(objective: Objective, arm: Arm, cell: Cell) -> Trial:
    """Run one training and return its result; failures become part of it."""
    curve: list[tuple[int, float]] = []

    def report(step: int, value: float) -> None:
        """Report an intermediate value; a value that is not finite ends the training as diverged."""
        number = _number(value, "what is reported")
        if not _comparable(number):
            raise DivergedError(f"reported {number} at step {step}")
        curve.append((whole("the step that is reported", step, 0, LARGEST_SEED), number))

    began = time.perf_counter()
    outcome, reason, result = FINISHED, "", None
    try:
        result = _result(objective(arm.value, cell.seed, report))
        if not _comparable(result.score):
            outcome, reason = DIVERGED, f"its score is {result.score}"
    except DivergedError as diverged:
        outcome, reason = DIVERGED, one_line(diverged).removeprefix("DivergedError: ").partition("; at ")[0]
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else one_line(stop).partition(";")[0]
        outcome, reason = RAISED, f"it ended the program (status {status})"
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:
        outcome, reason = failure_of(error)
    return trial_of(cell, outcome, reason, result, time.perf_counter() - began, tuple(curve))


def trial_of(
    cell: Cell,
    outcome: str,
    reason: str,
    result: Result | None,
    seconds: float,
    curve: tuple[tuple[int, float], ...] = (),
) -> Trial:
    """The training as data; a test score or measurement that is not finite is left out."""
    test = None if result is None or result.test is None or not _comparable(result.test) else result.test
    return Trial(
        arm=cell.arm,
        seed=cell.seed,
        outcome=outcome,
        score=result.score if result is not None and outcome == FINISHED else None,
        test=test,
        reason=reason,
        seconds=seconds,
        confirms=cell.confirms,
        slope=None if result is None else result.slope,
        measurements={} if result is None else {k: v for k, v in result.measurements.items() if _comparable(v)},
        curve=curve,
    )


def failure_of(error: BaseException) -> tuple[str, str]:
    """(outcome, reason) of what a training raised."""
    out_of_memory = isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__
    # torch has no type of its own for a CPU that is out of memory
    out_of_memory |= isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return (OUT_OF_MEMORY if out_of_memory else RAISED), one_line(error)


def _result(value: Any) -> Result:
    if not isinstance(value, Result):
        return Result(_number(value, "what the objective returns"))
    return Result(
        _number(value.score, "score of a Result"),
        None if value.test is None else _number(value.test, "test of a Result"),
        None if value.slope is None else _number(value.slope, "slope of a Result"),
        {str(name): _number(each, f"measurement {name!r}") for name, each in value.measurements.items()},
    )


def _number(value: Any, what: str) -> float:
    if not isinstance(value, (str, bytes)):
        with suppress(TypeError, ValueError, OverflowError):
            return float(value)
    raise InputError(f"{what} must be a number, or a leaky.tuning.Result of numbers, not {type(value).__name__}")


def _comparable(value: float) -> bool:
    """Whether sums of squares of numbers of this size stay finite."""
    return math.isfinite(value) and abs(value) <= LARGEST_FIGURE


@dataclass(frozen=True)
class ObjectiveEngine:
    """One training after another, in this process.

    Attributes:
        objective: of the user.
        arms: by label.
    """

    objective: Objective
    arms: Mapping[str, Arm]
    at_once: int = 1
    description: str = "one training at a time"

    def run(self, cells: list[Cell], stop: Callable[[], bool] = never) -> Generator[Trial, None, None]:
        """The trainings of these cells, as they end."""
        return (attempt(self.objective, self.arms[cell.arm], cell) for cell in cells if not stop())

    def close(self) -> None:
        """Nothing is held."""

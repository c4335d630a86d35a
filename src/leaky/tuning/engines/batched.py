"""All variants of a task that can be stacked, trained at once in this process.

Chosen only where a short trial of both ways shows it to be faster, and equal to training each alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

import torch

from leaky.tuning.arms import Arm
from leaky.tuning.engines.engine import never
from leaky.tuning.engines.objective import failure_of, trial_of
from leaky.tuning.engines.stacked_training import WHOLE, Curve, seconds_alone, seconds_stacked, train_stacked
from leaky.tuning.engines.training import LocalEngine, result
from leaky.tuning.engines.variants import StackKey, Variant, Variants
from leaky.tuning.task import Task
from leaky.tuning.trial import DIVERGED, FINISHED, Cell, Trial

CHUNK = 16
"""Variants in a stack: more make the matrix products slower again."""
ALONE = 0
"""The width of one model after another."""
NARROW = 4
WIDTHS = (WHOLE, NARROW)
"""What a short trial compares with that."""
SLOWER = "a stack was not faster in a short trial"


@dataclass
class BatchedEngine:
    """Stacks of variants where that is faster, one model after another elsewhere.

    Attributes:
        task: to train.
        arms: by label.
        width: as in `StackedTraining`, `ALONE` for one model at a time; None for what a short trial finds faster.
        measured: look at the units of each trained network.
    """

    task: Task
    arms: Mapping[str, Arm]
    width: int | None = None
    measured: bool = True
    at_once: int = CHUNK
    variants: Variants = field(init=False)
    _widths: dict[StackKey, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.variants = Variants(self.task, self.arms)

    @property
    def reasons(self) -> dict[str, str]:
        """Why arms were not stacked, by label."""
        return self.variants.reasons

    @property
    def description(self) -> str:
        """How it trains and why."""
        return described("batched", self.reasons)

    def run(self, cells: list[Cell], stop: Callable[[], bool] = never) -> Generator[Trial, None, None]:
        """The trainings of these cells, as they end."""
        with torch.random.fork_rng(devices=[]):
            groups = self.variants.groups(cells)
        rest = set(cells)
        for signature, group in groups.items():
            width = self._width(signature, group) if len(group) > 1 else ALONE
            if width == ALONE:
                continue
            rest -= {variant.cell for variant in group}
            for at in range(0, len(group), CHUNK):
                if not stop():
                    yield from self._train(group[at : at + CHUNK], width)
        yield from LocalEngine(self.task, self.arms, self.measured).run([c for c in cells if c in rest], stop)

    def close(self) -> None:
        """Nothing is held."""

    def probe(self, cells: list[Cell]) -> dict[int, float]:
        """Seconds of a variant's part in a step, by width."""
        with torch.random.fork_rng(devices=[]):
            groups = self.variants.groups(cells, keep=True)
            group = max(groups.values(), key=len, default=[])
            if len(group) > 1:
                return self._seconds(group)
            cell = cells[0]
            return {ALONE: seconds_alone(self.task, self.task.model(self.arms[cell.arm], cell.seed), cell.seed)}

    def _seconds(self, group: list[Variant]) -> dict[int, float]:
        some = group[:CHUNK]
        found = {width: seconds_stacked(self.task, some, width) / len(some) for width in WIDTHS}
        return {ALONE: seconds_alone(self.task, some[0].model, some[0].cell.seed), **found}

    def _width(self, signature: StackKey, group: list[Variant]) -> int:
        """What is given, or the fastest of a short trial."""
        if self.width is not None:
            return self.width
        if signature not in self._widths:
            with torch.random.fork_rng(devices=[]):
                seconds = self._seconds(group)
            self._widths[signature] = min(seconds, key=lambda width: seconds[width])
        if self._widths[signature] == ALONE:
            self.reasons.update({variant.cell.arm: SLOWER for variant in group})
        return self._widths[signature]

    def _train(self, group: list[Variant], width: int) -> list[Trial]:
        with torch.random.fork_rng(devices=[]):
            began = time.perf_counter()
            try:
                curves, models, reasons = train_stacked(self.task, group, width=width)
            except Exception as error:
                outcome, reason = failure_of(error)
                why = f"in a stack, {outcome.replace('_', ' ')}: {reason}"
                self.reasons.update({variant.cell.arm: why for variant in group})
                return list(LocalEngine(self.task, self.arms, self.measured).run([v.cell for v in group]))
            share = (time.perf_counter() - began) / len(group)
            trials = []
            for variant, curve, model, reason in zip(group, curves, models, reasons, strict=True):
                trained = Variant(variant.cell, variant.arm, model, variant.nodes)
                trials.append(self._trial(trained, curve, reason, share))
            return trials

    def _trial(self, variant: Variant, curve: Curve, reason: str, seconds: float) -> Trial:
        began = time.perf_counter()
        outcome, found = DIVERGED if reason else FINISHED, None
        if not reason:
            try:
                found = result(self.task, variant.arm, variant.cell.seed, variant.model, self.measured)
                if not abs(found.score) < float("inf"):
                    outcome, reason = DIVERGED, f"its score is {found.score}"
            except Exception as error:
                outcome, reason = failure_of(error)
        took = seconds + time.perf_counter() - began
        return trial_of(variant.cell, outcome, reason, found, took, tuple(curve))


def described(how: str, reasons: Mapping[str, str]) -> str:
    """How it trains, and what kept variants from being stacked."""
    why = sorted(set(reasons.values()))
    return how + (f"; one at a time: {'; '.join(why)}" if why else "")

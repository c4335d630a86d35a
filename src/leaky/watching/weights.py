"""What was measured of each weight over a training: its size, the optimizer's steps, and what others do to it.

Without torch. Memory must not grow with the steps.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from leaky.record import FloatArray
from leaky.watching.optimizers import Changes, ratio_of, size_of

KEPT = 32
"""Measured steps that are kept of each weight, and reports."""


def _kept() -> deque[Any]:
    return deque(maxlen=KEPT)


@dataclass(eq=False)
class Series:
    """One weight.

    Attributes:
        fan_in: its entries a unit.
        entries: all of them.
        grown: growth of ‖W‖² in each of the last measured steps by the optimizer, as a share of it.
        aside: the same by others than the optimizer, since the step before; NaN where that was not measured.
        longest: the largest ‖ΔW‖ ÷ ‖W‖ of each of the last reports.
        when, sizes: the step of each of the last reports, and √E w² then.
        answers: after each measured step of the last reports, ⟨ΔW, g⟩, ‖ΔW‖² and ‖g‖² with the gradient g that came
            next, shape (steps, 3).
        undone: what others did after each of the last measured steps: the share of the entries that they changed by A
            other than to 0 or to a bound, −⟨ΔW, A⟩ ÷ ‖ΔW‖² and −⟨ΔW, A⟩ ÷ (‖ΔW‖ ‖A‖), shape (3,); NaN where that
            was not measured.
        asked: ‖g‖·‖W‖ at the last measured step of each of the last reports, g being the gradient of a measured step
            before; NaN where that is not known.
        most: the largest ‖ΔW‖ ÷ ‖W‖ so far.
        moved: of a weight in half precision, the largest share of the entries with a gradient that a step has changed
            so far; NaN elsewhere.
        reports: so far.
    """

    fan_in: int
    entries: int = 1
    grown: deque[float] = field(default_factory=_kept)
    aside: deque[float] = field(default_factory=_kept)
    longest: deque[float] = field(default_factory=_kept)
    when: deque[float] = field(default_factory=_kept)
    sizes: deque[float] = field(default_factory=_kept)
    answers: deque[FloatArray] = field(default_factory=_kept)
    undone: deque[FloatArray] = field(default_factory=_kept)
    asked: deque[float] = field(default_factory=_kept)
    most: float = 0.0
    moved: float = math.nan
    reports: int = 0

    def add(self, steps: list[FloatArray], when: int) -> None:
        """Take in the steps that were measured since the last report."""
        for step in steps:
            square = max(float(step[1]), np.finfo(np.float64).tiny)
            self.grown.append(float(step[3]) / square)
            self.aside.append(float(step[4]) / square)
            self.undone.append(_undone(step))
            if step[7] > 0:
                self.moved = float(np.fmax(self.moved, step[6] / step[7]))
        self.answers.append(np.stack([step[8:11] for step in steps]))
        longest = float(np.fmax.reduce([ratio_of(step) for step in steps]))
        self.most = max(self.most, longest)
        self.longest.append(longest)
        self.sizes.append(size_of(steps[-1]))
        mean_square = float(steps[-1][10]) / max(1.0, float(steps[-1][2]))
        self.asked.append(self.entries * math.sqrt(mean_square) * self.sizes[-1])
        self.when.append(when)
        self.reports += 1

    @property
    def gain(self) -> float:
        """√(fan-in · E w²): about 1 for weights that keep the size of what goes through."""
        return self.sizes[-1] * math.sqrt(self.fan_in)

    def speeds(self, reports: int) -> FloatArray:
        """The growth of ln √E w² a step between the last reports; empty where fewer were made, or one is 0."""
        if len(self.sizes) <= reports or min(list(self.sizes)[-reports - 1 :]) <= 0:
            return np.zeros(0)
        sizes, when = (np.array(each)[-reports - 1 :] for each in (self.sizes, self.when))
        return np.asarray(np.diff(np.log(sizes)) / np.maximum(1, np.diff(when)))


def _undone(step: FloatArray) -> FloatArray:
    """What others did after the measured step before, as `Series.undone` holds it."""
    change, across, square = step[9], -step[12], step[13]
    with np.errstate(divide="ignore", invalid="ignore"):
        found: FloatArray = np.array([step[11] / step[2], across / change, across / np.sqrt(change * square)])
    return found


class Weights(dict[str, Series]):
    """Of each weight that was measured, by its name.

    Args:
        fans: the fan-in of each, by name.
        entries: of each, by name.
    """

    def __init__(self, fans: Mapping[str, int], entries: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self._fans, self._entries = fans, entries or {}

    def add(self, changes: Changes, step: int) -> None:
        """Take in what was measured up to the report that is made at this step."""
        for name, steps in changes.items():
            if steps:
                own = Series(self._fans.get(name, 1), self._entries.get(name, 1))
                self.setdefault(name, own).add(steps, step)

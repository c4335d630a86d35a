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
from leaky.watching.optimizers import Changes

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
        when, sizes: the last measured step of each of the last reports, and √E w² before it.
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
        answered: reports in a row all of whose answers are known.
    """

    fan_in: int
    entries: int = 1
    grown: deque[float] = field(default_factory=_kept)
    aside: deque[float] = field(default_factory=_kept)
    longest: deque[float] = field(default_factory=_kept)
    when: deque[float] = field(default_factory=_kept)
    sizes: deque[float] = field(default_factory=_kept)
    answers: deque[list[list[float]]] = field(default_factory=_kept)
    undone: deque[list[float]] = field(default_factory=_kept)
    asked: deque[float] = field(default_factory=_kept)
    most: float = 0.0
    moved: float = math.nan
    reports: int = 0
    answered: int = 0

    def add(self, steps: list[list[float]], when: int) -> None:
        """Take in the steps that were measured since the last report, as `_told` tells them."""
        known = [longest for longest, *_ in steps if not math.isnan(longest)]
        for _, _, _, moved, grown, aside, *rest in steps:
            self.grown.append(grown)
            self.aside.append(aside)
            self.undone.append(rest[:3])
            if not math.isnan(moved):
                self.moved = moved if math.isnan(self.moved) else max(self.moved, moved)
        answers = [step[9:] for step in steps]
        self.answers.append(answers)
        self.answered = self.answered + 1 if all(math.isfinite(each) for row in answers for each in row) else 0
        self.longest.append(max(known, default=math.nan))
        self.most = max(self.most, self.longest[-1])
        self.sizes.append(steps[-1][1])
        self.asked.append(self.entries * steps[-1][2] * self.sizes[-1])
        self.when.append(when)
        self.reports += 1

    @property
    def speed(self) -> float:
        """The growth of ln √E w² a step between the last two reports; 0 where there are fewer, or one is 0."""
        before, now = list(self.sizes)[-2:] if len(self.sizes) > 1 else (0.0, 0.0)
        if not min(before, now) > 0:
            return 0.0
        return (math.log(now) - math.log(before)) / max(1, self.when[-1] - self.when[-2])

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


def _told(steps: FloatArray) -> list[list[float]]:
    """What `Series` keeps of measured steps, each as `leaky.watching.optimizers.Changes` holds it.

    Returns:
        For each ‖ΔW‖ ÷ ‖W‖, √E w², √E g², the share of the entries that moved, the growths of ‖W‖², then what others
        have undone and the answer, three numbers each.
    """
    s = steps.T
    square, entries, across = np.maximum(s[1], np.finfo(np.float64).tiny), np.maximum(1.0, s[2]), -s[12]
    with np.errstate(all="ignore"):
        found = [
            np.sqrt(s[0] / np.maximum(s[1], s[5])), np.sqrt(s[1] / entries), np.sqrt(s[10] / entries),
            np.where(s[7] > 0, s[6] / s[7], np.nan), s[3] / square, s[4] / square,
            s[11] / s[2], across / s[9], across / np.sqrt(s[9] * s[13]), *s[8:11],
        ]  # fmt: skip
    told: list[list[float]] = np.stack(found, axis=1).tolist()
    return told


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
        """Take in what was measured since the last report, last of all this step."""
        known = {name: steps for name, steps in changes.items() if steps}
        told = iter(_told(np.stack([each for steps in known.values() for each in steps])) if known else ())
        for name, steps in known.items():
            if name not in self:
                self[name] = Series(self._fans.get(name, 1), self._entries.get(name, 1))
            self[name].add([next(told) for _ in steps], step)

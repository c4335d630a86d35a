"""Precision and recall, counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike


@dataclass
class Score:
    """How often a verdict was right.

    Attributes:
        hits: called so, and so.
        false_alarms: called so, and not so.
        misses: so, and not called so.
        others: neither.
    """

    hits: int = 0
    false_alarms: int = 0
    misses: int = 0
    others: int = 0

    def add(self, called: ArrayLike, true: ArrayLike) -> None:
        """Count one mask of verdicts against the truth, of the same shape."""
        called, true = np.broadcast_arrays(np.asarray(called, bool), np.asarray(true, bool))
        self.hits += int((called & true).sum())
        self.false_alarms += int((called & ~true).sum())
        self.misses += int((~called & true).sum())
        self.others += int((~called & ~true).sum())

    def __iadd__(self, other: Score) -> Score:
        self.hits += other.hits
        self.false_alarms += other.false_alarms
        self.misses += other.misses
        self.others += other.others
        return self

    @property
    def precision(self) -> float | None:
        """Share of the calls that are right; None without a call."""
        calls = self.hits + self.false_alarms
        return self.hits / calls if calls else None

    @property
    def recall(self) -> float | None:
        """Share of what is so that was called; None where nothing is."""
        cases = self.hits + self.misses
        return self.hits / cases if cases else None

    @property
    def perfect(self) -> bool:
        """Whether there were cases, every one was called, and nothing else was."""
        return self.hits > 0 and self.false_alarms == self.misses == 0

    def as_dict(self) -> dict[str, Any]:
        """For a JSON file."""
        counts = {name: getattr(self, name) for name in ("hits", "false_alarms", "misses", "others")}
        return {"precision": self.precision, "recall": self.recall, **counts}

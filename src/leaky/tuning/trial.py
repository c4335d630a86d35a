"""One training of a study: what it tries, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FINISHED, DIVERGED, OUT_OF_MEMORY, RAISED = "finished", "diverged", "out_of_memory", "raised"
LARGEST_FIGURE = 1e100
"""Of a score or another figure of a training: beyond it, squares of differences are no numbers any more."""


@dataclass(frozen=True)
class Cell:
    """What one training tries: an arm's label and a seed; `confirms` as in `Trial`."""

    arm: str
    seed: int
    confirms: bool = False


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        arm: the label of what was tried, "0.01" or "prelu".
        seed: of initialisation and data order.
        outcome: `FINISHED`, `DIVERGED`, `OUT_OF_MEMORY` or `RAISED`.
        score: what slopes are chosen by; None unless finished.
        test: the score on data that nothing is chosen by; None where there are none.
        reason: in words, where it did not finish.
        seconds: that it took, its share where several ran at once.
        confirms: whether its seed came after the choice and does not take part in it.
        slope: that it trained with, where the arm is a rule ("tailored").
        measurements: name → figure of the trained network, "dead_share" for one.
        curve: (step, value) as the training reported them.
    """

    arm: str
    seed: int
    outcome: str
    score: float | None = None
    test: float | None = None
    reason: str = ""
    seconds: float = 0.0
    confirms: bool = False
    slope: float | None = None
    measurements: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[tuple[int, float], ...] = ()

    @property
    def finished(self) -> bool:
        return self.outcome == FINISHED

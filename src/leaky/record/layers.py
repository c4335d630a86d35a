"""What lies between the two ends and is no site: norms, layers that run again, and operations that choose."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Normalisation:
    """A BatchNorm's running statistics beside those of what came in.

    Attributes:
        name: of the module.
        batches: that its running statistics have seen; None where it does not count them.
        untouched: whether they are still those of a new module, mean 0 and variance 1.
        distance: root mean square over the channels of (batch mean − running mean) ÷ running standard deviation; None
            where it was not measured.
        spread: median over the channels of batch variance ÷ running variance; None where it was not measured.
    """

    name: str
    batches: int | None
    untouched: bool
    distance: float | None = None
    spread: float | None = None


OVER_BATCH = "over the batch"
"""Kind of a choice among the samples of a batch."""
PIECES = "pieces"
"""Kind of a choice of the largest among the pieces of maxout's units."""


@dataclass(frozen=True)
class Choice:
    """How an operation that chooses chose: a gate that scales another value, attention's softmax, or a maximum.

    Attributes:
        name: where it runs, "block.softmax (model.py:31)".
        kind: "gate", "attention", OVER_BATCH for a softmax inside the model that holds samples against each other, or
            PIECES for a maximum of several linear pieces a unit.
        entries: of a gate, or rows of scores with two places or more, or pieces.
        low: entries of a gate that let at most a thousandth pass; pieces that were the largest nowhere.
        high: entries of a gate that let all but a thousandth pass; rows that leave all other places a thousandth.
    """

    name: str
    kind: str
    entries: int
    low: int
    high: int

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.name

    def merge(self, other: Choice) -> Choice:
        """The counts over both sets of samples."""
        return replace(
            self, entries=self.entries + other.entries, low=self.low + other.low, high=self.high + other.high
        )


@dataclass(frozen=True)
class SharedLayer:
    """A layer that ran more than once in one pass: one set of weights at several places."""

    name: str
    calls: int

"""The two ends of a network: what went in, what came out, and what the loss compared it with.

Plain sums, as a site's are: exact minimum and maximum a feature, float64 sums, memory of O(features); two records merge
in any order. "All samples are the same" is exact: every sample is held against the first one, whose digest tells two
records' first samples apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from leaky.record.statistics import FloatArray

MOST_FEATURES = 4096
"""Features up to which each has its own sums; a larger tensor is seen by channel, or as a whole."""
OVER_SAMPLES = " over samples"
"""What follows the name of a softmax that normalises over the samples of a batch, in `made_by` and in paths."""
WEIGHTED = "weighted"
"""The operation of a term that is no comparison: losses of single samples, each to be weighted by one of the batch."""


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Sums over the finite entries of each feature of a tensor.

    Attributes:
        entries: finite ones seen a feature, shape (features,) like all the others.
        sums, squares: Σx and Σx².
        minimum, maximum: of x; +inf and −inf where nothing finite was seen.
    """

    entries: FloatArray
    sums: FloatArray
    squares: FloatArray
    minimum: FloatArray
    maximum: FloatArray

    @property
    def constant(self) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Which features had one value on everything seen, exactly."""
        return np.asarray((self.entries > 0) & (self.minimum == self.maximum))

    @property
    def mean(self) -> FloatArray:
        return np.asarray(self.sums / np.maximum(self.entries, 1))

    @property
    def variance(self) -> FloatArray:
        return np.asarray(np.maximum(self.squares / np.maximum(self.entries, 1) - self.mean**2, 0.0))

    def merge(self, other: FeatureStatistics) -> FeatureStatistics:
        return FeatureStatistics(
            self.entries + other.entries,
            self.sums + other.sums,
            self.squares + other.squares,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )


@dataclass(frozen=True, eq=False)
class TensorStatistics:
    """One tensor at an end of the network, over all batches.

    Attributes:
        name: "input", "output", "output 1", a keyword, "batch[1]".
        dtype: "float32", "int64", "bool".
        shape: on the first batch, the samples' axis included.
        samples: seen.
        entries: finite numbers seen.
        nonfinite: NaN and ±inf entries; they enter no other figure.
        whole: whether every finite entry was a whole number.
        total, squares: Σx and Σx² over all entries.
        minimum, maximum: over all entries; +inf and −inf where nothing finite was seen.
        alike: whether all samples were exactly the same.
        alike_by_batch: whether all samples of each batch were, of those with two or more; None where there was none.
        first: digest of the first sample.
        features: sums a feature, None where their number changed or is too large.
        made_by: for an output, the last operation that computed it ("sigmoid", "softmax", "relu"), where known.
        made_over: for a softmax, how many entries it normalised over; else None.
        lowest, highest: for an output, what the function that it ends in can give at the least and at the most, where
            that is known and not what the name says; else None.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    samples: int
    entries: int
    nonfinite: int
    whole: bool
    total: float
    squares: float
    minimum: float
    maximum: float
    alike: bool
    first: str
    features: FeatureStatistics | None = None
    made_by: str | None = None
    made_over: int | None = None
    alike_by_batch: bool | None = None
    lowest: float | None = None
    highest: float | None = None

    @property
    def key(self) -> str:
        return self.name

    @property
    def is_floating(self) -> bool:
        return "float" in self.dtype

    @property
    def mean(self) -> float:
        return self.total / self.entries if self.entries else float("nan")

    @property
    def root_mean_square(self) -> float:
        return float(np.sqrt(self.squares / self.entries)) if self.entries else float("nan")

    @property
    def deviation(self) -> float:
        """Standard deviation over all entries."""
        return float(np.sqrt(max(self.squares / self.entries - self.mean**2, 0.0))) if self.entries else float("nan")

    @property
    def largest(self) -> float:
        """max|x|, 0 where nothing finite was seen."""
        return max(abs(self.minimum), abs(self.maximum)) if self.entries else 0.0

    def merge(self, other: TensorStatistics) -> TensorStatistics:
        """The statistics over both sets of samples."""
        mine, theirs = self.features, other.features
        fit = mine is not None and theirs is not None and len(mine.sums) == len(theirs.sums)
        return replace(
            self,
            samples=self.samples + other.samples,
            entries=self.entries + other.entries,
            nonfinite=self.nonfinite + other.nonfinite,
            whole=self.whole and other.whole,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            minimum=min(self.minimum, other.minimum),
            maximum=max(self.maximum, other.maximum),
            alike=self.alike and other.alike and self.first == other.first,
            features=mine.merge(theirs) if fit and mine is not None and theirs is not None else None,
            made_by=self.made_by or other.made_by,
            made_over=self.made_over or other.made_over,
            lowest=self.lowest if self.made_by else other.lowest,
            highest=self.highest if self.made_by else other.highest,
            alike_by_batch=_both(self.alike_by_batch, other.alike_by_batch),
        )


def _both(mine: bool | None, theirs: bool | None) -> bool | None:
    """What holds of both, where None says nothing."""
    known = [value for value in (mine, theirs) if value is not None]
    return all(known) if known else None


@dataclass(frozen=True, eq=False)
class LossTerm:
    """A place where the loss compares an output with a target.

    Attributes:
        operation: that compares: "cross_entropy", "mse_loss", "sub", "mul" (of a logarithm).
        output: name of the output in `Record.outputs`.
        path: operations on the output on its way to the comparison: ("softmax",), ("clamp", "log").
        given, target: the output and the target as they met.
        residual_squares: Σ(output − target)² over finite targets where both have the same shape and are real numbers;
            else None.
        hits: of class targets, how often the largest output was the target's class; of targets 0 or 1, how often the
            output fell on the right side; else None.
        compared: comparisons behind `hits`.
        classes: how often each class was the target, where `hits` is given; else empty.
    """

    operation: str
    output: str
    path: tuple[str, ...]
    given: TensorStatistics
    target: TensorStatistics
    residual_squares: float | None = None
    hits: int | None = None
    compared: int = 0
    classes: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[str, str, str, tuple[str, ...]]:
        return self.operation, self.output, self.target.name, self.path

    @property
    def explained(self) -> float | None:
        """R²: 1 − Σ(output − target)² ÷ the same of each feature's mean; None where targets do not vary."""
        features = self.target.features
        if self.residual_squares is None or not np.isfinite(self.residual_squares) or self.target.entries == 0:
            return None
        if features is not None:
            spread = float((features.variance * features.entries).sum())
        else:
            spread = self.target.deviation**2 * self.target.entries
        return 1 - self.residual_squares / spread if spread > 1e-12 * self.target.squares else None

    @property
    def right(self) -> tuple[float, float] | None:
        """Share of class targets that the output hits, and that of always naming the commonest class."""
        if self.hits is None or not self.compared or sum(count > 0 for count in self.classes) < 2:
            return None
        return self.hits / self.compared, max(self.classes) / sum(self.classes)

    def merge(self, other: LossTerm) -> LossTerm:
        """The term over both sets of samples."""
        mine, theirs = self.residual_squares, other.residual_squares
        long, short = sorted((self.classes, other.classes), key=len, reverse=True)
        padded = short + (0,) * (len(long) - len(short))
        return replace(
            self,
            given=self.given.merge(other.given),
            target=self.target.merge(other.target),
            residual_squares=None if mine is None or theirs is None else mine + theirs,
            hits=None if self.hits is None or other.hits is None else self.hits + other.hits,
            compared=self.compared + other.compared,
            classes=tuple(a + b for a, b in zip(long, padded, strict=True)),
        )


@dataclass(frozen=True)
class ParameterGradients:
    """Which parameters the loss's gradient reached; those that want none (frozen) are not counted.

    Attributes:
        parameters: that want a gradient.
        unreached: names of those that no batch's loss depended on.
        zero: names of those whose gradient was exactly 0 on every batch.
    """

    parameters: int
    unreached: tuple[str, ...] = ()
    zero: tuple[str, ...] = ()

    @property
    def all_zero(self) -> bool:
        """Whether no parameter got any gradient at all."""
        return self.parameters > 0 and len(self.unreached) + len(self.zero) == self.parameters

    def merge(self, other: ParameterGradients) -> ParameterGradients:
        """What holds on both sets of samples; a gradient that was once there is there."""
        silent = {*other.unreached, *other.zero}
        unreached = tuple(name for name in self.unreached if name in other.unreached)
        zero = tuple(n for n in (*self.unreached, *self.zero) if n in silent and n not in unreached)
        return ParameterGradients(max(self.parameters, other.parameters), unreached, zero)


class _Mergeable(Protocol):
    @property
    def key(self) -> object: ...

    def merge(self, other: Any) -> Any: ...


T = TypeVar("T", bound=_Mergeable)


def merged(mine: Iterable[T], theirs: Iterable[T]) -> tuple[T, ...]:
    """Both, those of one key drawn together, in their order."""
    found: dict[object, T] = {}
    for item in (*mine, *theirs):
        found[item.key] = found[item.key].merge(item) if item.key in found else item
    return tuple(found.values())

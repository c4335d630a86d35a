"""What the loss of a training has done so far, and whether batches are drawn at random. Without torch.

Memory must not grow with the steps.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from itertools import groupby, islice

import numpy as np

from leaky.record import FloatArray

FIRST, WINDOW, FEW = 3, 10, 5
"""Losses that make the first level, those of a stretch, and those of one where a loss is seen once a report."""
CLOSE = 100
"""Steps of which every one's loss is looked at, and then one a report."""
LARGEST = 1e100
"""Up to which squares can be added up."""
ON_THE_WAY = 3
"""Losses between the lowest level and a higher one that make a rise, where fewer are a jump."""
LEARNED = 0.25
"""Of the first level, up to which the batches of a stretch count as learned."""


@dataclass(frozen=True)
class Rise:
    """How the last losses lie above the lowest stretch before them.

    Attributes:
        by: difference of the two means.
        gained: how far the lowest stretch lies below the first losses; 0 where it does not.
        low, now: the two means.
        error: standard error of the difference.
        stays: whether all of the last losses lie above all of that stretch, and do not come down again.
        jumped: whether it came at one stroke and is over, as where other data come or targets are set anew; not known
            of losses that are seen once a report.
    """

    by: float
    gained: float
    low: float
    now: float
    error: float
    stays: bool
    jumped: bool = False


@dataclass(frozen=True)
class Misfit:
    """What is amiss with how a loss was made of what the model gives.

    Attributes:
        rule: that tells it.
        given: what was given.
        taken: what it was taken for, or became.
    """

    rule: str
    given: str
    taken: str


@dataclass(eq=False)
class Course:
    """The losses of the steps that were looked at, in order.

    Attributes:
        began: the mean of the first losses.
        seen: how many were finite.
        lost: times that a loss came back to the first level right after batches that were learned.
        misfit: what is amiss with how the loss was made, where something was seen.
        others: whether the way to the loss leads through parameters that somebody else trains, as in a game.
    """

    began: float = math.nan
    seen: int = 0
    lost: int = 0
    others: bool = False
    misfit: Misfit | None = None
    _first: list[float] = field(default_factory=list)
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=2 * WINDOW))
    _close: list[float] = field(default_factory=list)
    _low: list[float] | None = None
    _lowest: float = math.inf
    _low_until: int = 0

    def add(self, loss: float) -> None:
        """Take in the loss of a step; one that is not finite, or nearly so, is told of elsewhere."""
        if not abs(loss) < LARGEST:
            return
        last = self._last
        if self.seen > FIRST and max(islice(reversed(last), FIRST)) <= LEARNED * self.began <= LEARNED * loss:
            self.lost += 1
        self.seen += 1
        if len(self._first) < WINDOW:
            self._first.append(loss)
            self.began = statistics.fmean(self._first[:FIRST])
        if len(self._close) < CLOSE:
            self._close.append(loss)
        last.append(loss)
        place = len(last) - self._recent
        if place < WINDOW:
            return
        stretch = list(islice(last, place - WINDOW, place))
        level = math.fsum(stretch)
        if self._low is None or level < self._lowest:
            self._low, self._lowest, self._low_until = stretch, level, self.seen - self._recent

    @property
    def fell_at_once(self) -> bool:
        """Whether no loss after the first has been as high; not known of fewer than five."""
        return len(self._first) >= FEW and max(self._first[1:]) < self._first[0]

    @property
    def stays_above(self) -> bool:
        """Whether all of the last losses lie above all of the lowest stretch."""
        return self._low is not None and min(list(self._last)[-self._recent :]) > max(self._low)

    @property
    def rise(self) -> Rise | None:
        """How the loss has risen since it was lowest; None before there is enough to tell."""
        if self._low is None:
            return None
        low, now = np.array(self._low), np.array(self._last)[-self._recent :]
        earlier, later = now[: len(now) // 2], now[len(now) // 2 :]
        error = math.sqrt(low.var(ddof=1) / len(low) + now.var(ddof=1) / len(now))
        stays = bool(now.min() > low.max() and later.mean() - low.mean() >= 0.9 * (earlier.mean() - low.mean()))
        gained = max(0.0, float(np.mean(self._first[:FEW]) - low.mean()))
        by = float(now.mean() - low.mean())
        goes_on = later.mean() - earlier.mean() > 0.25 * by
        jumped = not goes_on and self._jumped(float(low.mean()), by)
        return Rise(by, gained, float(low.mean()), float(now.mean()), error, stays, jumped)

    def _jumped(self, low: float, by: float) -> bool:
        """Whether hardly any loss lies between the last one near the lowest level and the first one far above it."""
        after = np.array(self._close[self._low_until :])
        high = np.flatnonzero(after >= low + 0.75 * by)
        if not len(high):
            return False
        near = np.flatnonzero(after[: high[0]] <= low + 0.25 * by)
        return bool(high[0] - 1 - (near[-1] if len(near) else -1) < ON_THE_WAY)

    @property
    def _recent(self) -> int:
        return WINDOW if self.seen <= CLOSE else FEW


@dataclass(eq=False)
class Draws:
    """How much the means of batches differ, beside what samples within one do.

    Batches that are drawn at random differ by what chance gives, n·Var(x̄) ÷ Var(x) being about 1 for each feature (the
    F of an analysis of variance); sorted samples make it as large as the batch.
    """

    _drawn: list[FloatArray] = field(default_factory=list)
    _rows: deque[tuple[int, FloatArray]] = field(default_factory=lambda: deque(maxlen=CLOSE))

    def add(self, batch: FloatArray) -> None:
        """Take in some samples of a batch, (samples, features), which nobody writes to any more."""
        self._drawn.append(batch)
        if len(self._drawn) >= WINDOW:
            self._settle()

    def _settle(self) -> None:
        """Keep the mean and the variance of each feature of what was drawn: together it takes a tenth of the time."""
        drawn, self._drawn = self._drawn, []
        for (samples, _), batches in groupby(drawn, np.shape):
            values = np.stack(list(batches))
            values = values[np.abs(values).max(axis=(1, 2)) < LARGEST]  # nor NaN
            moments = np.stack([values.mean(axis=1), values.var(axis=1, ddof=1)], axis=1)
            self._rows.extend((samples, each) for each in moments)

    @property
    def ratio(self) -> float:
        """F, the median over the features; NaN where batches are few, or of different forms."""
        self._settle()
        rows = self._rows
        if len(rows) < 2 * WINDOW or len({(n, row.shape) for n, row in rows}) > 1:
            return math.nan
        means, variances = np.stack([row for _, row in rows], axis=1)
        within = variances.mean(axis=0)
        known = within > 0
        between = rows[0][0] * means.var(axis=0, ddof=1)
        return float(np.median(between[known] / within[known])) if known.any() else math.nan

"""The figures of one site at a report: its last steps' sums, and verdicts on as many samples as the bound asks for.

A share of dead units needs evidence: verdicts are made of a stretch of steps with at least n samples, n from the same
bound as a checkup's, and hold until the next stretch is complete. Between them, what each unit has not done since when
is counted sample by sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from leaky.diagnosis import Thresholds, UnitVerdicts
from leaky.diagnosis.verdicts import judge
from leaky.record import BELOW, FloatArray, Site
from leaky.watching.sums import COUNTS, FIRED, GRADIENT_NONFINITE, NONFINITE, SQUARES, SUMS, Rows

ROUNDING = 1e-6
"""Relative difference of two sums of the same float32 values in another order."""
LEAST_UNITS = 16
"""Without which a correlation over units says nothing."""


@dataclass(eq=False)
class Stretch:
    """What one site has shown: since the last reset, and in the stretch of steps that will be judged next.

    Attributes:
        total: since the last reset.
        part: since the last verdicts.
        verdicts: the last ones; None before there was evidence enough.
        silent_for: samples since each unit fired, shape (units,).
        ever_fired: whether it has since the last reset.
        same_for: reports in a row in which all units showed the same.
        alike: (E z)² ÷ E z² of the last report, the median over units: 1 where all samples look the same.
    """

    total: Rows
    part: Rows
    silent_for: FloatArray
    ever_fired: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    verdicts: UnitVerdicts | None = None
    alike: float = math.nan
    same_for: int = 0
    fresh: bool = field(default=False)

    @classmethod
    def of(cls, units: int, smooth: bool) -> Stretch:
        """Nothing seen yet."""
        return cls(Rows.empty(units, smooth), Rows.empty(units, smooth), np.zeros(units), np.zeros(units, bool))

    def add(self, rows: Rows) -> None:
        """Take in the sums since the last report."""
        self.total.merge(rows)
        self.part.merge(rows)
        fired = rows.seen[FIRED] > 0
        counts, sums, squares = (rows.seen[each].sum(axis=0) for each in (COUNTS, SUMS, SQUARES))
        seen = counts > 0  # of NaN nothing can be said
        self.silent_for = np.where(fired, 0.0, self.silent_for + np.where(seen, rows.samples, 0))
        self.ever_fired |= fired
        self.same_for = self.same_for + 1 if _same(sums, squares) else 0
        means = sums / np.maximum(counts, 1)
        known = squares > 0  # a unit of large values must not speak for the others
        self.alike = float(np.median((means**2 * counts)[known] / squares[known])) if known.any() else math.nan

    def judge(self, site: Site, thresholds: Thresholds, needed: int) -> None:
        """Verdicts on the part, which is complete; a new one begins."""
        self.verdicts = judge(site, thresholds, needed)
        self.fresh = True
        self.part.clear()


def figures(
    rows: Rows, stretch: Stretch, slope: FloatArray, gain: float, needed: int, thresholds: Thresholds
) -> dict[str, float]:
    """The figures of `leaky.watching.history.FIGURES` that follow from sums.

    Args:
        rows: since the last report.
        stretch: the verdicts so far.
        slope: of each unit.
        gain: of the site.
        needed: samples that a verdict takes.
        thresholds: that decide.
    """
    seen, units = rows.seen, rows.seen.shape[1]
    elements = seen[COUNTS].sum()
    found = dict.fromkeys(("dead", "locked", "nearly_dead", "dormant"), math.nan)
    if stretch.verdicts is not None:
        v = stretch.verdicts
        found["dead"], found["nearly_dead"] = len(v.dead) / units, len(v.nearly_dead) / units
        found["locked"] = (len(v.locked_negative) + len(v.locked_positive)) / units
        found["dormant"] = len(v.dormant) / units
    found["silent"] = np.count_nonzero(stretch.silent_for >= needed) / units
    long = stretch.total.samples >= thresholds.asleep_samples
    found["asleep"] = np.count_nonzero(stretch.silent_for >= thresholds.asleep_samples) / units if long else math.nan
    found["rate"] = float(seen[FIRED].sum() / units / rows.samples) if rows.samples else math.nan
    found["second_moment"] = float(seen[SQUARES].sum() / elements) if elements else math.nan
    given = _output_squares(rows, slope, gain)
    found["output_moment"] = float(given.sum() / elements) if elements else math.nan
    found["gradient"], found["even"] = _size_and_evenness(rows, float(elements))
    found["alike"], found["proportional"] = stretch.alike, _proportion(given, rows.gradient[4:8].sum(axis=0))
    found["nonfinite"] = float(seen[NONFINITE].sum() + rows.gradient[GRADIENT_NONFINITE].sum())
    return found


def _output_squares(rows: Rows, slope: FloatArray, gain: float) -> FloatArray:
    """Σh² of each unit; beyond its bounds an element counts with its own square, at most a little too much."""
    if rows.output is not None:
        return np.asarray(rows.output[SQUARES].sum(axis=0))
    squares = rows.seen[SQUARES]
    return np.asarray(gain**2 * (squares[2:].sum(axis=0) + slope**2 * squares[BELOW]))


def _size_and_evenness(rows: Rows, elements: float) -> tuple[float, float]:
    """√E g² over all elements of the gradient g that arrived, and (E|g|)² ÷ E g²; NaN where none did."""
    squares, total = float(rows.gradient[4:8].sum()), float(rows.gradient[:4].sum())
    arrived = elements * rows.gradient_samples / max(1, rows.samples)
    if not arrived:
        return math.nan, math.nan
    return math.sqrt(squares / arrived), total**2 / (squares * arrived) if squares > 0 else math.nan


def _proportion(given: FloatArray, arrived: FloatArray) -> float:
    """The correlation over the units of ln Σg² with ln Σh²; NaN where they are few, or all the same."""
    known = (given > 0) & (arrived > 0)
    if known.sum() < max(LEAST_UNITS, len(known) / 2):
        return math.nan
    sizes = np.log(np.stack([given[known], arrived[known]]))
    sizes -= sizes.mean(axis=1, keepdims=True)
    spread = np.sqrt((sizes**2).sum(axis=1))
    return float((sizes[0] * sizes[1]).sum() / spread.prod()) if spread.min() > ROUNDING else math.nan


def _same(sums: FloatArray, squares: FloatArray) -> bool:
    """Whether all units have shown the same mean and the same square, to rounding, and not only zeros."""
    alike = all(np.ptp(each) <= ROUNDING * np.abs(each).max() for each in (squares, sums))
    return bool(squares.min() > 0) and alike

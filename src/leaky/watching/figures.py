"""The figures of all sites at a report that follow from sums: of the last steps, and of stretches of them."""

from __future__ import annotations

import numpy as np

from leaky.diagnosis import Thresholds
from leaky.record import BELOW, FloatArray
from leaky.watching.stretches import JUDGED, ROUNDING, Stretches
from leaky.watching.sums import FIRED, GRADIENT_NONFINITE, NONFINITE, SQUARES
from leaky.watching.together import Together

LEAST_UNITS = 16
"""Without which a correlation over units says nothing."""
OF_SUMS = (
    *JUDGED, "silent", "asleep", "rate", "second_moment", "output_moment", "gradient", "even", "alike", "proportional",
    "nonfinite",
)  # fmt: skip
"""The figures of `leaky.watching.history.FIGURES` that follow from sums."""


def figures(
    seen: Together, stretches: Stretches, slopes: FloatArray, gains: FloatArray, needed: int, thresholds: Thresholds
) -> FloatArray:
    """The figures of every site, shape (sites, figures), in the order of `OF_SUMS`.

    Args:
        seen: since the last report, which the stretches have been given.
        stretches: the verdicts so far.
        slopes: of each unit.
        gains: of each site.
        needed: samples that a verdict takes.
        thresholds: that decide.
    """
    rows, places, units = seen.rows, seen.places, seen.places.units
    given = _output_squares(seen, slopes, places.each(gains))
    arrived = rows.gradient[:GRADIENT_NONFINITE].reshape(2, 4, -1).sum(axis=1)
    silent, asleep = (stretches.silent_for >= samples for samples in (needed, thresholds.asleep_samples))
    ill = rows.seen[NONFINITE] + rows.gradient[GRADIENT_NONFINITE]
    per_unit = np.stack([silent, asleep, rows.seen[FIRED], *seen.moments[::2], given, *arrived, ill])
    silent, asleep, fired, elements, squares, output, sizes, gradients, ill = places.sums(per_unit)
    with np.errstate(all="ignore"):
        known = elements * rows.counts[2] / np.maximum(1, rows.counts[0])
        found = [
            *stretches.shares,
            silent / units,
            np.where(stretches.total.counts[0] >= thresholds.asleep_samples, asleep / units, np.nan),
            fired / units / rows.counts[0],
            squares / elements,
            output / elements,
            np.where(known > 0, np.sqrt(gradients / known), np.nan),
            np.where(gradients * known > 0, sizes**2 / (gradients * known), np.nan),
            stretches.alike,
            _proportions(seen, given, arrived[1]),
            ill,
        ]
    return np.stack(found, axis=1)


def _output_squares(seen: Together, slopes: FloatArray, gains: FloatArray) -> FloatArray:
    """Σh² of each unit; beyond its bounds an element counts with its own square, at most a little too much."""
    squares, output = seen.rows.seen[SQUARES], seen.rows.output
    given = gains**2 * (squares[2:].sum(axis=0) + slopes**2 * squares[BELOW])
    if output is not None:
        given[seen.places.smooth_units] = output[SQUARES].sum(axis=0)
    return np.asarray(given)


def _proportions(seen: Together, given: FloatArray, arrived: FloatArray) -> FloatArray:
    """The correlation over the units of each site of ln Σg² with ln Σh²; NaN where they are few, or all the same."""
    places, known = seen.places, (given > 0) & (arrived > 0)
    counts = places.counts(known)
    sizes = np.log(np.where(known, [given, arrived], 1.0))
    sizes -= np.repeat(places.sums(sizes) / np.maximum(counts, 1), places.units, axis=1)
    sizes[:, ~known] = 0.0
    *squares, product = places.sums(np.stack([*sizes**2, sizes[0] * sizes[1]]))
    spread = np.sqrt(squares)
    enough = (counts >= np.maximum(LEAST_UNITS, places.units / 2)) & (spread.min(axis=0) > ROUNDING)
    return np.where(enough, product / spread.prod(axis=0), np.nan)

"""What all sites have shown, their units side by side, so that a report takes a few operations for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from leaky.record import FloatArray, IntArray
from leaky.watching.sums import COUNTS, SQUARES, Rows

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


class HasRows(Protocol):
    """A site, and its sums on the host."""

    units: int
    rows: Rows


class Places:
    """Where the units of each site are.

    Args:
        sites: one at least, by name, in the order in which their units come.

    Attributes:
        names: of the sites.
        units: of each, shape (sites,).
        all_units: of all of them.
        starts: the place of the first unit of each, shape (sites,).
        slices: the places of the units of each.
        smooth: which sites are smooth, in order.
        smooth_units: the places of their units, shape (smooth units,).
    """

    def __init__(self, sites: Mapping[str, HasRows]) -> None:
        self.names = tuple(sites)
        self.units: IntArray = np.array([site.units for site in sites.values()], np.int64)
        ends = self.units.cumsum()
        self.starts: IntArray = ends - self.units
        self.all_units = int(ends[-1])
        self.slices = [slice(a, b) for a, b in zip(self.starts.tolist(), ends.tolist(), strict=True)]
        self.smooth = [n for n, site in enumerate(sites.values()) if site.rows.output is not None]
        self.smooth_units: IntArray = np.concatenate(
            [np.zeros(0, np.int64), *(np.arange(self.starts[n], ends[n]) for n in self.smooth)]
        )
        alike = {int(units): np.flatnonzero(self.units == units) for units in np.unique(self.units)}
        self._alike = [
            (which, self.starts[which][:, None] + np.arange(units), np.arange(len(which)))
            for units, which in alike.items()
        ]

    def each(self, values: Any) -> Any:
        """A value a site, as one a unit, shape (units,), or () where it is the same for all."""
        first, *others = values
        return first if all(other == first for other in others) else np.repeat(values, self.units)

    def sums(self, values: Any) -> FloatArray:
        """The sum over the units of each site, shape (…, sites)."""
        return np.asarray(np.add.reduceat(values, self.starts, axis=-1))

    def counts(self, known: Any) -> IntArray:
        """How many units of each site are so, shape (…, sites)."""
        return np.asarray(np.add.reduceat(known, self.starts, axis=-1, dtype=np.int64))

    def medians(self, values: FloatArray, known: BoolArray) -> FloatArray:
        """The median over the units of each site that are known, shape (sites,); NaN where none is, or one is NaN."""
        found = np.empty(len(self.units))
        filled = values if known.all() else np.where(known, values, np.inf)
        counts = self.units if filled is values else self.counts(known)
        for which, places, rows in self._alike:
            ordered, count = filled[places], counts[which]
            ordered.sort(axis=1)
            found[which] = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / 2
        found[counts == 0] = np.nan
        ill = np.isnan(filled)
        if ill.any():
            found[self.counts(ill) > 0] = np.nan
        return found


class Together:
    """What the sites have shown since the last report.

    Args:
        places: of their units.
        sites: by name.

    Attributes:
        places: of their units.
        rows: of all units; samples, passes and gradient_samples of each site in `rows.counts`, shape (3, sites).
    """

    def __init__(self, places: Places, sites: Mapping[str, HasRows]) -> None:
        self.places = places
        self.rows = joined([site.rows for site in sites.values()])

    @cached_property
    def moments(self) -> FloatArray:
        """Elements, Σz and Σz² of each unit, shape (3, units)."""
        return np.asarray(self.rows.seen[COUNTS.start : SQUARES.stop].reshape(3, 4, -1).sum(axis=1))

    @property
    def samples(self) -> IntArray:
        """Of each site."""
        samples: IntArray = self.rows.counts[0]
        return samples


def joined(rows: Sequence[Rows]) -> Rows:
    """The rows of several sites side by side, in memory of their own."""
    outputs = [each.output for each in rows if each.output is not None]
    return Rows(
        np.concatenate([each.seen for each in rows], axis=1),
        np.concatenate(outputs, axis=1) if outputs else None,
        np.concatenate([each.gradient for each in rows], axis=1),
        np.stack([each.counts for each in rows], axis=1),
    )

"""What each site has shown over the reports: since the last reset, and in the stretch of steps that is judged next.

A share of dead units needs evidence: verdicts are made of a stretch of steps with at least n samples, n from the same
bound as a checkup's, and hold until the next stretch is complete. Between them, what each unit has not done since when
is counted sample by sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from leaky.diagnosis import Thresholds
from leaky.diagnosis.verdicts import evidence_samples, unit_masks
from leaky.record import FloatArray, IntArray, Site
from leaky.structure.activations import Activation
from leaky.watching.sums import FIRED, Rows
from leaky.watching.together import BoolArray, HasRows, Places, Together, joined

ROUNDING = 1e-6
"""Relative difference of two sums of the same float32 values in another order."""
JUDGED = ("dead", "locked", "nearly_dead", "dormant")
"""The figures that verdicts tell."""


@dataclass(eq=False)
class Stretch:
    """One site, in arrays that those of all sites are made of once a report was made of them.

    Attributes:
        total: since the last reset.
        part: since the last verdicts.
        silent_for: samples since each unit fired, shape (units,).
        ever_fired: whether it has since the last reset, shape (units,).
        shares: of its units, by the last verdicts, in the order of `JUDGED`; NaN before there was evidence enough.
        alike: (E z)² ÷ E z² of the last report, the median over units, 1 where all samples look the same; shape (1,).
        same_for: reports in a row in which all units showed the same, shape (1,).
    """

    total: Rows
    part: Rows
    silent_for: FloatArray
    ever_fired: BoolArray
    shares: FloatArray
    alike: FloatArray
    same_for: IntArray

    @classmethod
    def of(cls, units: int, smooth: bool) -> Stretch:
        """Nothing seen yet."""
        empty = Rows.empty(units, smooth), Rows.empty(units, smooth), np.zeros(units), np.zeros(units, bool)
        return cls(*empty, np.full(4, math.nan), np.full(1, math.nan), np.zeros(1, np.int64))

    def begin_anew(self) -> None:
        """What was seen before is no evidence on the site as it is now."""
        self.part.clear()
        self.shares[:] = math.nan
        self.silent_for[:] = 0


class Stretches(Mapping[str, Stretch]):
    """All sites by name; those that reports are of share arrays, unit beside unit, which a report adds to.

    Attributes:
        total, part, silent_for, ever_fired: of them all, as in `Stretch`.
        shares: shape (4, sites).
        alike, same_for: shape (sites,).
    """

    total: Rows
    part: Rows
    silent_for: FloatArray
    ever_fired: BoolArray
    shares: FloatArray
    alike: FloatArray
    same_for: IntArray

    def __init__(self) -> None:
        self._known: dict[str, Stretch] = {}
        self._places: Places | None = None

    def __getitem__(self, name: str) -> Stretch:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def begin(self, name: str, units: int, smooth: bool) -> None:
        """A site of which nothing was seen yet."""
        self._known[name], self._places = Stretch.of(units, smooth), None

    def clear(self) -> None:
        """Forget all sites."""
        self._known, self._places = {}, None

    def places(self, sites: Mapping[str, HasRows]) -> Places:
        """Where the units of the sites that a report is of are in the arrays, which are made anew where others are."""
        if self._places is None or self._places.names != tuple(sites):
            self._places = Places(sites)
            self._share_arrays(self._places)
        return self._places

    def _share_arrays(self, places: Places) -> None:
        known = [self._known[name] for name in places.names]
        self.total, self.part = joined([each.total for each in known]), joined([each.part for each in known])
        self.silent_for = np.concatenate([each.silent_for for each in known])
        self.ever_fired = np.concatenate([each.ever_fired for each in known])
        self.shares = np.stack([each.shares for each in known], axis=1)
        self.alike = np.concatenate([each.alike for each in known])
        self.same_for = np.concatenate([each.same_for for each in known])
        first = 0
        for n, (name, at) in enumerate(zip(places.names, places.slices, strict=True)):
            size = at.stop - at.start if n in places.smooth else 0
            output, first = slice(first, first + size) if size else None, first + size
            here = slice(n, n + 1)
            self._known[name] = Stretch(
                _part_of(self.total, at, output, n),
                _part_of(self.part, at, output, n),
                self.silent_for[at],
                self.ever_fired[at],
                self.shares[:, n],
                self.alike[here],
                self.same_for[here],
            )

    def add(self, seen: Together) -> None:
        """Take in the sums since the last report."""
        self.total.merge(seen.rows)
        self.part.merge(seen.rows)
        places, fired = seen.places, seen.rows.seen[FIRED] > 0
        counts, sums, squares = seen.moments
        self.silent_for += places.each(seen.samples) * (counts > 0)  # of NaN nothing can be said
        self.silent_for[fired] = 0.0
        self.ever_fired |= fired
        self.same_for[:] = np.where(_same(seen), self.same_for + 1, 0)
        known = squares > 0  # a unit of large values must not speak for the others
        shares = (sums / np.maximum(counts, 1)) ** 2 * counts / np.where(known, squares, 1.0)
        self.alike[:] = places.medians(shares, known)

    def judge(self, kinds: list[Activation], slopes: FloatArray, thresholds: Thresholds, needed: int) -> None:
        """Verdicts on the sites whose part is complete, and a new part of each of them begins.

        Args:
            kinds: what each site computes.
            slopes: of each unit.
            thresholds: that decide.
            needed: samples that a verdict takes.
        """
        places, samples = self._places, self.part.counts[0].tolist()
        due = [n for n, count in enumerate(samples) if count >= needed]
        if not due or places is None:
            return
        alike: dict[Any, list[int]] = {}
        for n in due:
            alike.setdefault((samples[n], kinds[n].smooth, kinds[n].gain, kinds[n].value), []).append(n)
        for which in alike.values():
            self.shares[:, which] = _judged(self.part, places, which, kinds, slopes, thresholds, needed)
        for part in [self.part] if len(due) == len(samples) else [self._known[places.names[n]].part for n in due]:
            part.clear()


def _part_of(rows: Rows, at: slice, output: slice | None, site: int) -> Rows:
    """The rows of one site, of those of all."""
    out = None if rows.output is None or output is None else rows.output[:, output]
    return Rows(rows.seen[:, at], out, rows.gradient[:, at], rows.counts[:, site])


def _same(seen: Together) -> BoolArray:
    """Of which sites all units have shown the same mean and the same square, to rounding, and not only zeros."""
    values = seen.moments[1:]
    least, most = (each.reduceat(values, seen.places.starts, axis=1) for each in (np.minimum, np.maximum))
    alike = most - least <= ROUNDING * np.maximum(most, -least)
    return np.asarray(alike.all(axis=0) & (least[1] > 0))


def _judged(
    part: Rows, places: Places, which: list[int], kinds: list[Activation], slopes: FloatArray, t: Thresholds, n: int
) -> FloatArray:
    """The shares of `JUDGED` of sites that compute alike and have seen as many samples, shape (4, sites)."""
    at = np.concatenate([np.arange(places.slices[each].start, places.slices[each].stop) for each in which])
    units, kind = places.units[which], kinds[which[0]]
    floor = _bounds([kinds[each].floor for each in which], units, -np.inf)
    cap = _bounds([kinds[each].cap for each in which], units, np.inf)
    output = None if part.output is None or not kind.smooth else part.output[:, np.isin(places.smooth_units, at)]
    rows = Rows(part.seen[:, at], output, part.gradient[:, at], np.array([part.counts[0, which[0]], 0, 0]))
    computes: dict[str, Any] = {
        "value": kind.value,
        "gain": kind.gain,
        "floor": floor,
        "cap": cap,
        "smooth": kind.smooth,
    }
    site = Site("", kind.name, slopes[at], rows.statistics(), **computes)
    masks, starts = unit_masks(site, t, n), units.cumsum() - units
    locked = masks["locked_negative"] | masks["locked_positive"]
    some = evidence_samples(site) >= t.least_samples
    dormant = (_relative(site.output_moments().absolute_mean, units, starts) <= t.dormant_score) & some
    found = np.stack([masks["dead"], locked, masks["nearly_dead"], dormant]).astype(np.int64)
    return np.asarray(np.add.reduceat(found, starts, axis=1) / units)


def _bounds(edges: list[Any], units: IntArray, nowhere: float) -> FloatArray | None:
    """A bound of each unit, `nowhere` for those that have none; None where none has."""
    if all(edge is None for edge in edges):
        return None
    each = [np.full(count, nowhere if edge is None else edge) for edge, count in zip(edges, units, strict=True)]
    return np.concatenate(each)


def _relative(values: FloatArray, units: IntArray, starts: IntArray) -> FloatArray:
    """Each unit's value ÷ the mean over the finite ones of its site; 0 where that mean is 0."""
    finite = np.isfinite(values)
    counts, sums = (np.add.reduceat(each, starts) for each in (finite.astype(float), np.where(finite, values, 0.0)))
    means = np.repeat(sums / np.maximum(counts, 1.0), units)
    return np.where(finite, np.divide(values, means, out=np.zeros_like(values), where=means > 0), np.nan)

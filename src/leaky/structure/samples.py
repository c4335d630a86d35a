"""Which of the batch's samples each entry of a sample axis is, where it is cut, picked from, repeated or put together.

An axis of samples that nobody touched holds each sample once, in order. A slice holds some of them, an index may hold
one of them many times (the edges of a graph), a loop over samples one at a time, and `stack` or `cat` puts them
together again. Followed by value: the key of a sample factor stands for an array of sample numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from leaky.structure.axes import Axes, Axis, Factor, factor

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Positions:
    """At which position of its sample each entry of a folded or picked axis stands.

    Attributes:
        key: of the axis of positions that was folded in or picked from.
        numbers: along that axis, an entry each.
    """

    key: int
    numbers: Ids

    def at(self, entries: Ids) -> Positions:
        """Of these entries alone."""
        return Positions(self.key, self.numbers[entries])


@dataclass(frozen=True)
class Sampled:
    """Of one result: its axes, and the one sample that it belongs to where the sample axis was taken off."""

    axes: Axes
    sample: int | None = None


class SampleIds:
    """The sample numbers of one pass, by the key of the sample factor; a key that is not there holds all, in order.

    Attributes:
        copies: keys of other factors along which the samples are repeated.
    """

    def __init__(self) -> None:
        self._ids: dict[int, Ids] = {}
        self._places: dict[int, Positions] = {}
        self._groups: Ids | None = None
        self.copies: set[int] = set()

    def clear(self) -> None:
        """Forget the pass."""
        self._ids.clear()
        self._places.clear()
        self._groups = None
        self.copies.clear()

    def grouped(self, groups: Ids) -> Axis:
        """The axis of the rows that go in, several of which are one sample: its number for each row."""
        self._groups = groups
        return self.axis(groups)

    def by_steps(self, numbers: Ids) -> tuple[Axis, Axis]:
        """The axis of sequences that are packed, the samples of each step one after another, and that of the steps."""
        step = np.cumsum(numbers == numbers[0]) - 1  # the first sample is as long as any
        steps = factor(int(step[-1]) + 1)
        return self.axis(numbers, Positions(steps.key, step)), (steps,)

    def regrouped(self, axes: Axes) -> Axes:
        """The axes with rows told as what they are where they are put together anew, as messages are at the nodes."""
        if self._groups is None:
            return axes
        return tuple(
            self.axis(self._groups)
            if len(axis) == 1 and axis[0].role == "sample" and self._is_fresh(axis, len(self._groups))
            else axis
            for axis in axes
        )

    def _is_fresh(self, axis: Axis, rows: int) -> bool:
        return axis[0].size == axis[0].whole == rows and axis[0].key not in self._ids

    def of(self, axis: Axis) -> Ids | None:
        """The samples along an axis; None where it has no sample factor of its own or holds them all in order."""
        keys = [f.key for f in axis if f.role == "sample"]
        return self._ids.get(keys[0]) if len(keys) == 1 else None

    def places_of(self, axis: Axis) -> Positions | None:
        """The positions along an axis of samples whose positions were folded into it or picked; None for others."""
        samples = [f for f in axis if f.role == "sample"]
        if len(samples) != 1:
            return None
        if len(axis) == 1:
            return self._places.get(samples[0].key)
        inside = axis[axis.index(samples[0]) + 1 :]
        if len(inside) != 1 or len(axis) != 2 or inside[0].role != "other" or inside[0].size != inside[0].whole:
            return None
        return Positions(inside[0].key, np.tile(np.arange(inside[0].size), samples[0].size))

    def numbers(self, axis: Axis) -> Ids:
        """The samples along an axis that is one sample factor."""
        return self._ids.get(axis[0].key, np.arange(axis[0].size))

    def numbered(self, factors: Sequence[Factor], grid: Ids) -> Ids | None:
        """The sample of each entry of some factors; None where no whole factor of samples is among them.

        Args:
            factors: some of a value's.
            grid: the place of each entry along each of them, of shape (factors, entries).
        """
        parts = [i for i, f in enumerate(factors) if f.role == "sample"]
        whole = {(factors[i].key, factors[i].whole) for i in parts}
        if len(whole) != 1:
            return None
        ((key, size),) = whole
        if math.prod(factors[i].size for i in parts) != size:
            return None
        along = sum(grid[i] * factors[i].step for i in parts)
        own = self._ids.get(key)
        return np.asarray(along) if own is None else own[along]

    def along(self, axes: Axes) -> Ids | None:
        """The samples of a value in the order of its axes; None where they are all of them in order, or unknown."""
        factors = [f for axis in axes for f in axis if f.role == "sample"]
        if not factors:
            return None
        sizes = [f.size for f in factors]
        numbers = self.numbered(factors, np.indices(sizes).reshape(len(sizes), -1))
        if numbers is None or (factors[0].key not in self._ids and bool((np.diff(numbers) == 1).all())):
            return None
        return numbers

    def parted(self, axes: Axes) -> Axes:
        """The axes with rows that were split told as what they are: several rows of each sample are positions."""
        keys = {f.key for axis in axes for f in axis if f.role == "sample" and f.size < f.whole and f.key in self._ids}
        for key in keys:
            parts = sorted((f for axis in axes for f in axis if f.key == key), key=lambda f: -f.step)
            own = self._ids[key]
            sizes = [f.size for f in parts]
            if math.prod(sizes) != len(own) or len(parts) < 2:
                continue
            split = own.reshape(sizes)
            varying = [d for d in range(len(sizes)) if bool((split != split.take([0], d)).any())]
            if len(varying) != 1:
                continue
            (made,) = self.axis(np.moveaxis(split, varying[0], 0).reshape(sizes[varying[0]], -1)[:, 0])
            kept = parts[varying[0]]
            axes = tuple(
                tuple(made if f == kept else replace(f, role="other") if f.key == key else f for f in axis)
                for axis in axes
            )
        return axes

    def kept(self, axis: Axis, entries: Ids) -> Axis | None:
        """A sample axis of which these entries are left; None where the axis holds more than samples.

        Where a sample has several entries along the axis (positions folded into it), each keeps its sample and place.
        """
        samples = [f for f in axis if f.role == "sample"]
        if len(samples) != 1 or any(f.role == "unit" for f in axis):
            return None
        inside = int(np.prod([f.size for f in axis[axis.index(samples[0]) + 1 :]], initial=1))
        outside = int(np.prod([f.size for f in axis[: axis.index(samples[0])]], initial=1))
        own = self._ids.get(samples[0].key, np.arange(samples[0].size))
        if len(own) != samples[0].size:
            return None
        places = self.places_of(axis)
        kept = np.tile(np.repeat(own, inside), outside)[entries]
        return self.axis(kept, None if places is None else places.at(entries))

    def axis(self, ids: Ids, places: Positions | None = None) -> Axis:
        """A fresh sample axis that holds these samples, an entry at its place of the sample each."""
        made = factor(len(ids), "sample")
        self._ids[made.key] = ids
        if places is not None:
            self._places[made.key] = places
        return (made,)

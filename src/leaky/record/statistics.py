"""Sums over the pre-activations that each unit saw, kept apart so that they answer for any slope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaky.errors import InputError
from leaky.text import counted

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

REGIONS = ("beyond_low", "below", "linear", "beyond_high")
"""Where a pre-activation z can fall, in the order of the first axis of every (4, units) array.

beyond_low: z < floor, bounded, derivative 0; below: floor ≤ z ≤ threshold, derivative gain·α;
linear: threshold < z ≤ cap, derivative gain; beyond_high: z > cap, bounded, derivative 0.
"""
BEYOND_LOW, BELOW, LINEAR, BEYOND_HIGH = range(4)

NOTHING_SEEN = (np.inf, -np.inf)
"""The minimum and the maximum of a unit of which no finite element was seen."""


@dataclass(frozen=True, eq=False)
class GradientStatistics:
    """The gradient of the loss at a site's output, h = f(z), split by the region of z; scaled to one sample's loss.

    Attributes:
        samples: the number of samples whose gradient was seen.
        absolute_sums: Σ|∂L/∂h| a region and unit, shape (4, units).
        squares: Σ(∂L/∂h)² a region and unit, shape (4, units).
        nonfinite: NaN and ±inf elements; they enter no other figure.
    """

    samples: int
    absolute_sums: FloatArray
    squares: FloatArray
    nonfinite: int = 0

    def merge(self, other: GradientStatistics) -> GradientStatistics:
        """The statistics of both sets of samples together."""
        return GradientStatistics(
            self.samples + other.samples,
            self.absolute_sums + other.absolute_sums,
            self.squares + other.squares,
            self.nonfinite + other.nonfinite,
        )


@dataclass(frozen=True, eq=False)
class UnitStatistics:
    """Sums over all the finite pre-activations z that each unit of a site saw.

    Attributes:
        samples: independent samples seen, the n of every verdict.
        fired: samples on which the unit passed the site's threshold at any position, shape (units,).
        counts: elements a region and unit, shape (4, units), see `REGIONS`.
        sums: Σz a region and unit, float64, shape (4, units).
        squares: Σz² a region and unit, float64, shape (4, units).
        minimum, maximum: of z, shape (units,); +inf and −inf where nothing finite was seen.
        nonfinite: NaN and ±inf elements, shape (units,); they enter no other figure.
        last_fired: index of the last batch on which the unit fired, −1 for never, shape (units,).
        seen: samples on which each unit was there at all, shape (units,); None where each was on all of them (the units
            of an expert are there on the samples that were sent to it).
        output_sums, output_absolute_sums, output_squares: Σh, Σ|h| and Σh², shape (units,), where the output does
            not follow from the regions (smooth activations); else None.
        gradient: what arrived at the output, where a loss was given; else None.
    """

    samples: int
    fired: IntArray
    counts: IntArray
    sums: FloatArray
    squares: FloatArray
    minimum: FloatArray
    maximum: FloatArray
    nonfinite: IntArray
    last_fired: IntArray
    seen: IntArray | None = None
    output_sums: FloatArray | None = None
    output_absolute_sums: FloatArray | None = None
    output_squares: FloatArray | None = None
    gradient: GradientStatistics | None = None

    def __repr__(self) -> str:
        return f"<UnitStatistics of {counted(self.units, 'unit')}, {counted(self.samples, 'sample')}>"

    @staticmethod
    def empty(units: int) -> UnitStatistics:
        """The neutral element of `merge` for `units` units."""
        none = np.zeros(units, np.int64)
        return UnitStatistics(
            samples=0,
            fired=none,
            counts=np.zeros((4, units), np.int64),
            sums=np.zeros((4, units)),
            squares=np.zeros((4, units)),
            minimum=np.full(units, NOTHING_SEEN[0]),
            maximum=np.full(units, NOTHING_SEEN[1]),
            nonfinite=none,
            last_fired=none - 1,
        )

    @property
    def units(self) -> int:
        return len(self.fired)

    @property
    def samples_seen(self) -> IntArray:
        """Samples on which each unit was there, shape (units,)."""
        return np.full(self.units, self.samples) if self.seen is None else self.seen

    @property
    def elements(self) -> IntArray:
        """Finite elements seen a unit, shape (units,)."""
        return np.asarray(self.counts.sum(axis=0))

    def merge(self, other: UnitStatistics) -> UnitStatistics:
        """The statistics of both sets of samples together; associative and commutative up to rounding.

        Raises:
            InputError: if the numbers of units differ.
        """
        if self.units != other.units:
            raise InputError(
                f"statistics of the same site must have the same units to be merged, not {self.units} and {other.units}"
            )
        return UnitStatistics(
            samples=self.samples + other.samples,
            fired=self.fired + other.fired,
            counts=self.counts + other.counts,
            sums=self.sums + other.sums,
            squares=self.squares + other.squares,
            minimum=np.minimum(self.minimum, other.minimum),
            maximum=np.maximum(self.maximum, other.maximum),
            nonfinite=self.nonfinite + other.nonfinite,
            last_fired=np.maximum(self.last_fired, other.last_fired),
            seen=None if self.seen is None and other.seen is None else self.samples_seen + other.samples_seen,
            output_sums=_add(self.output_sums, other.output_sums),
            output_absolute_sums=_add(self.output_absolute_sums, other.output_absolute_sums),
            output_squares=_add(self.output_squares, other.output_squares),
            gradient=self.gradient.merge(other.gradient)
            if self.gradient and other.gradient
            else self.gradient or other.gradient,
        )


def _add(left: FloatArray | None, right: FloatArray | None) -> FloatArray | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right


def side_by_side(members: Sequence[UnitStatistics], samples: int) -> UnitStatistics:
    """The statistics of the units of several members together, each seen on samples of its own.

    Args:
        members: one after another.
        samples: on which any of them was there.
    """

    def joined(name: str) -> NDArray[Any] | None:
        parts = [getattr(member, name) for member in members]
        known = next((part for part in parts if part is not None), None)
        if known is None:
            return None
        none = [np.zeros((*known.shape[:-1], member.units), known.dtype) for member in members]
        return np.concatenate([z if part is None else part for z, part in zip(none, parts, strict=True)], axis=-1)

    names = [field.name for field in fields(UnitStatistics) if field.name not in ("samples", "seen", "gradient")]
    gradients = [member.gradient for member in members]
    return UnitStatistics(
        samples=samples,
        seen=np.concatenate([np.full(member.units, member.samples) for member in members]),
        gradient=_gradients_side_by_side(members) if any(gradient is not None for gradient in gradients) else None,
        **{name: joined(name) for name in names},  # type: ignore[arg-type]
    )


def _gradients_side_by_side(members: Sequence[UnitStatistics]) -> GradientStatistics:
    none = [np.zeros((len(REGIONS), member.units)) for member in members]
    known = [member.gradient for member in members]
    return GradientStatistics(
        max(gradient.samples for gradient in known if gradient is not None),
        np.concatenate([z if g is None else g.absolute_sums for z, g in zip(none, known, strict=True)], axis=1),
        np.concatenate([z if g is None else g.squares for z, g in zip(none, known, strict=True)], axis=1),
        sum(gradient.nonfinite for gradient in known if gradient is not None),
    )

"""What one observation of a network saw: plain data, without torch and without a live model.

A Record must hold everything that diagnosis, reports and repair need, for any slope: counts and sums are kept apart by
the region of the activation that each pre-activation fell into, so that "what if this site's slope were …" is answered
from the same numbers. Two Records of the same network merge in any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaky.errors import InputError

SCHEMA_VERSION = 1

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
    """

    samples: int
    absolute_sums: FloatArray
    squares: FloatArray

    def merge(self, other: GradientStatistics) -> GradientStatistics:
        """The statistics of both sets of samples together."""
        return GradientStatistics(
            self.samples + other.samples, self.absolute_sums + other.absolute_sums, self.squares + other.squares
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
    output_sums: FloatArray | None = None
    output_absolute_sums: FloatArray | None = None
    output_squares: FloatArray | None = None
    gradient: GradientStatistics | None = None

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


@dataclass(frozen=True)
class Producer:
    """A weight behind a site: the layer that computed the pre-activation.

    Attributes:
        name: qualified name of the weight, "layer1.0.conv2.weight".
        kind: "linear", "convolution", "transposed_convolution", "embedding" or "parameter".
        fan_in, fan_out: connections into and out of one unit, He et al. 2015.
        weight_rms: √E[w²] of the weight when observed.
        groups: of a convolution; 1 elsewhere.
    """

    name: str
    kind: str
    fan_in: int
    fan_out: int
    weight_rms: float
    groups: int = 1


@dataclass(frozen=True, eq=False)
class Site:
    """One place where the model rectifies, and what its units saw.

    h = gain · f(z) with f(z) = z above `threshold`, α·z + `value` at and below it, held at f(cap) above `cap` and at
    f(floor) below `floor`. A smooth activation (`smooth`) has the threshold below which its derivative is practically
    0 (at most 1e-3), α = 0, and its outputs' sums in `statistics`.

    Attributes:
        name: the module's qualified path; a functional call adds the operation, which of that module's calls it is
            and its source line.
        activation: "ReLU", "LeakyReLU", "PReLU", "ReLU6", "GELU", …: the module class that does the same.
        negative_slope: α, shape (units,).
        statistics: of every unit.
        threshold, value: θ and what replaces z at and below it (0 except for `Threshold`).
        gain: the factor on the output.
        floor, cap: bounds on z beyond which the output is held, shape (units,); −inf and +inf where there are none.
        smooth: whether the activation is not piecewise linear.
        calls: how often the site ran a forward pass (an RNN cell over time, a siamese tower).
        is_output: whether the site's output is the model's own output.
        unit_dim, sample_dim: the axes of the pre-activation, for the reader; sample_dim None means that no sample
            axis could be told and each batch counted as one sample.
        shape: of the pre-activation on the first batch.
        source: "file.py:31" of a functional call, None for a module.
        producers: the weights behind the pre-activation.
    """

    name: str
    activation: str
    negative_slope: FloatArray
    statistics: UnitStatistics
    threshold: float = 0.0
    value: float = 0.0
    gain: float = 1.0
    floor: FloatArray | None = None
    cap: FloatArray | None = None
    smooth: bool = False
    calls: int = 1
    is_output: bool = False
    unit_dim: int | None = None
    sample_dim: int | None = None
    shape: tuple[int, ...] = ()
    source: str | None = None
    producers: tuple[Producer, ...] = ()

    @property
    def units(self) -> int:
        return self.statistics.units

    @property
    def samples(self) -> int:
        return self.statistics.samples

    @property
    def firing_rate(self) -> FloatArray:
        """Share of the samples on which each unit fired, shape (units,); NaN where no sample was seen."""
        return _ratio(self.statistics.fired, self.samples)

    @property
    def derivative(self) -> FloatArray:
        """The effective derivative dh/dz in each region, shape (4, units)."""
        slopes = np.zeros((4, self.units))
        slopes[BELOW] = self.gain * self.negative_slope
        slopes[LINEAR] = self.gain
        return slopes

    @property
    def mean(self) -> FloatArray:
        """E[z] a unit, shape (units,)."""
        return _ratio(self.statistics.sums.sum(axis=0), self.statistics.elements)

    @property
    def variance(self) -> FloatArray:
        """Var[z] a unit, from float64 sums, shape (units,)."""
        second = _ratio(self.statistics.squares.sum(axis=0), self.statistics.elements)
        return np.maximum(second - self.mean**2, 0.0)

    def output_moments(self, negative_slope: float | FloatArray | None = None) -> OutputMoments:
        """E[h], E|h| and E[h²] a unit, also for a slope that the site does not have.

        Args:
            negative_slope: a slope to ask about; None for the site's own. The input of the site is held as it is.
        """
        s = self.statistics
        if self.smooth and negative_slope is None:
            if s.output_sums is None or s.output_absolute_sums is None or s.output_squares is None:
                raise InputError(f"site {self.name!r} is smooth and must have its outputs' sums; they are missing")
            return OutputMoments(
                _ratio(s.output_sums, s.elements),
                _ratio(s.output_absolute_sums, s.elements),
                _ratio(s.output_squares, s.elements),
            )
        alpha = self.negative_slope if negative_slope is None else np.broadcast_to(negative_slope, (self.units,))
        high, low = _held(s.counts[BEYOND_HIGH], self.cap), _held(s.counts[BEYOND_LOW], self.floor)
        low_value = alpha * low
        total = s.sums[LINEAR] + high * s.counts[BEYOND_HIGH] + low_value * s.counts[BEYOND_LOW]
        below = alpha * s.sums[BELOW] + self.value * s.counts[BELOW]
        absolute_above = s.sums[LINEAR] + np.abs(high) * s.counts[BEYOND_HIGH]
        absolute_below = np.abs(below) + np.abs(low_value) * s.counts[BEYOND_LOW]
        squares = (
            s.squares[LINEAR]
            + high**2 * s.counts[BEYOND_HIGH]
            + low_value**2 * s.counts[BEYOND_LOW]
            + alpha**2 * s.squares[BELOW]
            + 2 * alpha * self.value * s.sums[BELOW]
            + self.value**2 * s.counts[BELOW]
        )
        n = s.elements
        return OutputMoments(
            _ratio(self.gain * (total + below), n),
            _ratio(self.gain * (absolute_above + absolute_below), n),
            _ratio(self.gain**2 * squares, n),
        )

    def merge(self, other: Site) -> Site:
        """The site over both sets of samples.

        Raises:
            InputError: if the two are not the same site of the same network.
        """
        mine, theirs = (self.name, self.activation), (other.name, other.activation)
        if mine != theirs:
            raise InputError(f"only the same site can be merged, not {mine} and {theirs}")
        return replace(self, statistics=self.statistics.merge(other.statistics))


@dataclass(frozen=True)
class OutputMoments:
    """E[h], E|h| and E[h²] of a site's output, each of shape (units,); NaN for a unit without a finite element."""

    mean: FloatArray
    absolute_mean: FloatArray
    second_moment: FloatArray


def _held(count: IntArray, bound: FloatArray | None) -> FloatArray:
    """The bound where an element was held at it, 0 where none was, so that an infinite bound never enters a sum."""
    if bound is None:
        return np.zeros(len(count))
    return np.where(count > 0, bound, 0.0)


def _ratio(total: NDArray[Any], count: NDArray[Any] | int) -> FloatArray:
    count = np.asarray(count, np.float64)
    safe = np.where(count > 0, count, 1.0)
    return np.asarray(np.where(count > 0, total / safe, np.nan), np.float64)


@dataclass(frozen=True)
class NotExamined:
    """Something that ran and could not be examined, and why: `name` as a site's, `reason` a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Record:
    """Everything that one observation saw.

    Attributes:
        model: what was observed, for the reader ("Sequential", "train.py:net").
        data: what it was observed on ("1,797 samples of digits.npy").
        mode: "eval" or "train": the mode the modules were in.
        samples: independent samples that went in.
        batches: batches that went in.
        sites: in the order in which they first ran.
        not_examined: what ran and could not be examined.
        on_noise: whether the data were made up; every verdict then says so.
        seed: of the random numbers during the observation, None where they were left alone.
        notes: remarks on how the observation went ("the sample axis was taken from nn.RNN: 1").
        versions: of the packages that observed, by name.
    """

    model: str
    data: str
    mode: str
    samples: int
    batches: int
    sites: tuple[Site, ...]
    not_examined: tuple[NotExamined, ...] = ()
    on_noise: bool = False
    seed: int | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def units(self) -> int:
        """Units examined, over all sites: the U of the evidence bound."""
        return sum(site.units for site in self.sites)

    def site(self, name: str) -> Site:
        """The site of this name.

        Raises:
            InputError: if there is none; the message lists the names.
        """
        for site in self.sites:
            if site.name == name:
                return site
        raise InputError(f"no site is named {name!r}; the sites are {_listing([s.name for s in self.sites])}")

    def merge(self, other: Record) -> Record:
        """The record of both sets of samples, as if one observation had seen them (ranks, shards, days).

        Sites that only one of them saw (a branch that no sample of the other took) are kept.

        Raises:
            InputError: if a site differs in activation or units.
        """
        theirs = {site.name: site for site in other.sites}
        mine = {site.name for site in self.sites}
        merged = tuple(site.merge(theirs[site.name]) if site.name in theirs else site for site in self.sites)
        return replace(
            self,
            samples=self.samples + other.samples,
            batches=self.batches + other.batches,
            sites=merged + tuple(site for site in other.sites if site.name not in mine),
            not_examined=tuple(dict.fromkeys(self.not_examined + other.not_examined)),
            on_noise=self.on_noise or other.on_noise,
            notes=tuple(dict.fromkeys(self.notes + other.notes)),
        )


def _listing(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "") if names else "none"

"""One place where a network rectifies: what it computes there and what its units saw."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaky.errors import InputError
from leaky.record.directions import Directions
from leaky.record.statistics import BELOW, BEYOND_HIGH, BEYOND_LOW, LINEAR, FloatArray, IntArray, UnitStatistics
from leaky.text import counted, named, printable


@dataclass(frozen=True)
class Producer:
    """A weight behind a site: the layer that computed the pre-activation.

    Attributes:
        name: qualified name of the weight, "layer1.0.conv2.weight".
        kind: "linear", "convolution", "transposed_convolution", "embedding" or "parameter".
        fan_in, fan_out: connections into and out of one unit, He et al. 2015; on average, where a stride makes them
            differ.
        weight_rms: √E[w²] of the weight when observed.
        groups: of a convolution; 1 elsewhere.
    """

    name: str
    kind: str
    fan_in: float
    fan_out: float
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
        bypassed: whether some path to each of the model's outputs leads around the site (a residual branch, a gate);
            None where that is not known.
        unit_dim, sample_dim: the axes of the pre-activation, for the reader; sample_dim None means that no sample
            axis could be told and each batch counted as one sample.
        shape: of the pre-activation on the first batch.
        source: "file.py:31" of a functional call, None for a module.
        producers: the weights behind the pre-activation.
        directions: how alike the samples look here; None where that was not seen.
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
    bypassed: bool | None = None
    unit_dim: int | None = None
    sample_dim: int | None = None
    shape: tuple[int, ...] = ()
    source: str | None = None
    producers: tuple[Producer, ...] = ()
    directions: Directions | None = None

    def __repr__(self) -> str:
        seen = f"{counted(self.units, 'unit')}, {counted(self.samples, 'sample')}"
        return printable(f"<Site {named(self.name)}: {self.activation}, {seen}>")

    @property
    def units(self) -> int:
        return self.statistics.units

    @property
    def samples(self) -> int:
        return self.statistics.samples

    @property
    def firing_rate(self) -> FloatArray:
        """Share of the samples on which each unit fired, shape (units,); NaN where nothing finite was seen of it."""
        return np.where(
            self.statistics.elements > 0, _ratio(self.statistics.fired, self.statistics.samples_seen), np.nan
        )

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
        known = self.directions is not None and other.directions is not None
        return replace(
            self,
            statistics=self.statistics.merge(other.statistics),
            directions=self.directions.merge(other.directions) if known else None,  # type: ignore[union-attr, arg-type]
        )


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

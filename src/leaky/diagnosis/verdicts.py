"""The verdict on every unit of one site: which are dead, locked, dormant, …, decided on pre-activations.

Verdicts must hold for any slope, shared or one a unit, and for any gain. Those that say "never" (dead, locked,
constant) need as many independent samples as the bound of `leaky.theory.samples_needed` asks for; those that compare
averages need `least_samples`. A unit of which nothing finite was seen gets no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from leaky.diagnosis.thresholds import Thresholds
from leaky.record import BELOW, LINEAR, FloatArray, IntArray, Site
from leaky.text import ranges

Units: TypeAlias = tuple[int, ...]
"""Indices of units, ascending."""

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class UnitVerdicts:
    """The units of one site that each verdict holds for; a unit may be in several.

    Attributes:
        silent: something finite was seen, and never above the threshold, whatever the verdict: a fact about the data.
        dead: the effective derivative was practically 0 on every element seen, on enough samples.
        locked_negative: always at or below the threshold, on enough samples, with a derivative that is not small.
        locked_positive: always above it and within the cap, on enough samples, with a derivative that is not small.
        nearly_dead: fired, but on less than `nearly_dead_rate` of enough samples, with a derivative practically 0 on
            all the others.
        dormant: E|h| at most `dormant_score` of the site's mean (ReDo); dead ones included.
        constant: z had practically one value, on enough samples.
        starved: fired, but practically no gradient got through; only where a loss was given.
        unproven: would be dead or locked_negative, but too few samples were seen to say so.
    """

    silent: Units = ()
    dead: Units = ()
    locked_negative: Units = ()
    locked_positive: Units = ()
    nearly_dead: Units = ()
    dormant: Units = ()
    constant: Units = ()
    starved: Units = ()
    unproven: Units = ()

    def __repr__(self) -> str:
        held = [f"{name} {ranges(units, 6)}" for name in VERDICTS if (units := getattr(self, name))]
        return f"<UnitVerdicts: {'; '.join(held) or 'none'}>"


VERDICTS = tuple(f.name for f in fields(UnitVerdicts))
"""The names of the verdicts, in the order of `UnitVerdicts`."""


@dataclass(frozen=True, eq=False)
class OneSided:
    """Which units saw one kind of derivative only, whatever the evidence; masks of shape (units,).

    Attributes:
        silent: some finite element, none above the threshold.
        dead: some finite element, each with a derivative practically 0.
        locked_negative: each in the region below the threshold, with a derivative that is not small.
        locked_positive: each in the linear region, with a derivative that is not small.
    """

    silent: Mask
    dead: Mask
    locked_negative: Mask
    locked_positive: Mask


def one_sided(site: Site, dead_derivative: float) -> OneSided:
    """The units of `site` that saw one kind of derivative only.

    A smooth activation has no linear sides: its units are never locked.
    """
    counts = site.statistics.counts
    seen = site.statistics.elements > 0
    small = np.abs(site.derivative) <= dead_derivative
    only = [seen & (counts[region] == site.statistics.elements) & ~small[region] for region in (BELOW, LINEAR)]
    piecewise = np.full(site.units, not site.smooth)
    return OneSided(
        silent=seen & (site.statistics.fired == 0),
        dead=seen & ~((counts > 0) & ~small).any(axis=0),
        locked_negative=only[0] & piecewise,
        locked_positive=only[1] & piecewise,
    )


def evidence_samples(site: Site) -> IntArray:
    """The n behind each unit's verdict, shape (units,): a non-finite element spoils the sample that it came in."""
    return np.asarray(np.maximum(site.statistics.samples_seen - site.statistics.nonfinite, 0))


def active_samples(site: Site, dead_derivative: float) -> IntArray:
    """On how many samples each unit's derivative was not small, at most; shape (units,).

    Exact for one element a sample; with several positions a sample, elements count for samples beyond a cap.
    """
    small = np.abs(site.derivative) <= dead_derivative
    elements = np.where(small, 0, site.statistics.counts).sum(axis=0)
    at_most = np.where(small[BELOW], site.statistics.fired, site.statistics.samples_seen)
    return np.asarray(np.minimum(elements, at_most))


def constant_units(site: Site, constant_range: float) -> Mask:
    """Whether max z − min z ≤ `constant_range`·max|z|, shape (units,), whatever the evidence."""
    low, high = site.statistics.minimum, site.statistics.maximum
    seen = site.statistics.elements > 0
    low, high = np.where(seen, low, 0.0), np.where(seen, high, 0.0)
    return np.asarray(seen & (high - low <= constant_range * np.maximum(np.abs(low), np.abs(high))))


def dormant_scores(site: Site) -> FloatArray:
    """E|h_i| ÷ mean_k E|h_k|, shape (units,): 0 where the whole site's output is 0, NaN where nothing was seen.

    Source:
        ReDo, Sokar et al., "The dormant neuron phenomenon", 2023.
    """
    if site.smooth and site.statistics.output_absolute_sums is None:
        return np.full(site.units, np.nan)
    return _relative(site.output_moments().absolute_mean)


def effective_gradients(site: Site) -> FloatArray | None:
    """Σ_r |dh/dz|_r·Σ|∂L/∂h|_r ÷ samples, shape (units,): E|∂L/∂z|; None where no gradient was seen."""
    gradient = site.statistics.gradient
    if gradient is None or gradient.samples == 0:
        return None
    passed = np.abs(site.derivative) * np.where(site.derivative == 0, 0.0, gradient.absolute_sums)  # never 0·inf
    return np.asarray(passed.sum(axis=0) / gradient.samples)


def starved_scores(site: Site) -> FloatArray | None:
    """Effective gradient of the unit ÷ the site's mean, shape (units,); None where there is none or no finite one."""
    gradients = effective_gradients(site)
    ill = site.statistics.gradient is not None and site.statistics.gradient.nonfinite > 0
    if gradients is None or ill or not np.isfinite(gradients).all() or not gradients.any():
        return None
    return _relative(gradients)


def unit_masks(site: Site, thresholds: Thresholds, samples_needed: int) -> dict[str, Mask]:
    """The units that each verdict holds for which looks at one unit alone; masks of shape (units,) by verdict.

    Args:
        site: what was seen.
        thresholds: that decide.
        samples_needed: n of the evidence bound, for all units of the record at once.
    """
    t = thresholds
    sides, samples = one_sided(site, t.dead_derivative), evidence_samples(site)
    enough, seen = samples >= samples_needed, site.statistics.elements > 0
    rarely = active_samples(site, t.dead_derivative) < t.nearly_dead_rate * samples
    return {
        "silent": sides.silent,
        "dead": sides.dead & enough,
        "locked_negative": sides.locked_negative & enough,
        "locked_positive": sides.locked_positive & enough,
        "nearly_dead": rarely & seen & ~sides.dead & enough,
        "unproven": (sides.dead | sides.locked_negative) & ~enough,
    }


def judge(site: Site, thresholds: Thresholds, samples_needed: int) -> UnitVerdicts:
    """The verdicts on the units of one site; arguments as of `unit_masks`."""
    t, samples = thresholds, evidence_samples(site)
    alone = {name: _indices(mask) for name, mask in unit_masks(site, t, samples_needed).items()}
    return UnitVerdicts(
        **alone,
        dormant=_indices((dormant_scores(site) <= t.dormant_score) & (samples >= t.least_samples)),
        constant=_indices(constant_units(site, t.constant_range) & (samples >= samples_needed)),
        starved=_starved(site, one_sided(site, t.dead_derivative), t),
    )


def _starved(site: Site, sides: OneSided, t: Thresholds) -> Units:
    scores, gradient = starved_scores(site), site.statistics.gradient
    if scores is None or gradient is None or gradient.samples < t.least_samples:
        return ()
    return _indices((scores <= t.starved_score) & (site.statistics.fired > 0) & ~sides.dead)


def _relative(values: FloatArray) -> FloatArray:
    """Each value ÷ the mean of the finite ones; 0 where that mean is 0."""
    finite = np.isfinite(values)
    mean = values[finite].mean() if finite.any() else 0.0
    return np.where(finite, values / mean if mean > 0 else 0.0, np.nan)


def _indices(mask: Mask) -> Units:
    return tuple(int(unit) for unit in np.flatnonzero(mask))

"""How the range of the outputs grows or decays from site to site, and what a trend by depth is.

Depth is the order in which the sites first ran. A trend is the least-squares line through the logarithms, so that one
odd site makes none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.rules.advice import second_moment
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.rules.throughput import nearly_constant
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import FeatureStatistics, Site


@dataclass(frozen=True)
class Trend:
    """The line through the logarithms of a figure by depth.

    Attributes:
        sites: that it goes through.
        values: the figure at each.
        log_gain: change of the logarithm a site.
    """

    sites: tuple[Site, ...]
    values: tuple[float, ...]
    log_gain: float

    @property
    def log_factor(self) -> float:
        """Logarithm of last ÷ first, on the line."""
        return self.log_gain * (len(self.sites) - 1)


def trend(sites: Sequence[Site], values: Sequence[float], least_sites: float) -> Trend | None:
    """The trend of a positive figure; sites where it is 0 or not finite are left out. None with too few sites."""
    kept = [(site, value) for site, value in zip(sites, values, strict=True) if 0 < value < math.inf]
    if len(kept) < least_sites:
        return None
    return Trend(tuple(site for site, _ in kept), tuple(value for _, value in kept), _slope([v for _, v in kept]))


def _slope(values: Sequence[float]) -> float:
    """Change of the logarithm a step, by least squares."""
    depth = np.arange(len(values)) - (len(values) - 1) / 2
    return float(depth @ np.log(values) / (depth @ depth))


def range_trend(context: Context) -> Trend | None:
    """E h² by depth, mean over each site's units; the model's own output apart."""
    sites = [site for site in context.averaged_sites() if not site.is_output]
    return trend(sites, [second_moment(site) for site in sites], context.thresholds.least_sites)


@rule(
    "growth",
    concern="range-by-depth",
    summary="outputs that grow from site to site",
    thresholds=("growth_info", "growth_warning", "growth_error", "least_sites", "least_samples", "learned"),
)
def growth(context: Context) -> list[Finding]:
    """One finding for the network, if E h² grows."""
    return _range_finding(context, "growth", 1, "grows", _GROWTH_ADVICE)


@rule(
    "decay",
    concern="range-by-depth",
    summary="outputs, or what differs between samples, that shrink from site to site",
    thresholds=(
        "growth_info",
        "growth_warning",
        "growth_error",
        "least_sites",
        "least_samples",
        "imbalance_warning",
        "alike_sites",
        "learned",
    ),
)
def decay(context: Context) -> list[Finding]:
    """One finding for the network, if E h² shrinks, or if biases hold it up while what differs by sample shrinks."""
    return _range_finding(context, "decay", -1, "shrinks", _DECAY_ADVICE) or _lost_signal(context)


LEAST_USUAL = 0.1
"""What weights of a usual initialisation leave of the second moment a layer, at least: torch's own a sixth."""


def _lost_signal(context: Context) -> list[Finding]:
    """What differs between samples, where outputs are nearly constant and the weights' scale explains it.

    In a network of many sites this is told as samples that look alike; of weights of a usual scale it is a note, which
    becomes the cause of what follows from it.
    """
    t, ends = context.thresholds, (context.record.inputs[:1], context.record.outputs[:1])
    sites = [site for site in context.averaged_sites() if not site.is_output]
    if not len(sites) < t.alike_sites or not nearly_constant(context):
        return []
    first, last = ([_signal(e.features) for e in end if e.features is not None and e.is_floating] for end in ends)
    values = [value for value in (*first, *map(_signal, sites), *last) if 0 < value < math.inf]
    predicted = mean_log_gain([weights_log_gain(site, [p.fan_in for p in site.producers]) for site in sites])
    if len(values) < t.least_sites or predicted is None:
        return []
    gain = _slope(values)
    level = level_by_factor(-gain * (len(values) - 1), t.growth_info, t.growth_warning, math.inf)
    if level is None or 2 * predicted > gain:
        return []
    message = (
        f"the variance between samples shrinks × {factor(gain)} a layer, {values[0]:.3g} → {values[-1]:.3g} over "
        f"{len(values) - 1} of them, {seen_on(context.record)}: biases are all that arrives. The weights' scale alone "
        f"predicts × {factor(predicted)} a site (closed form)"
    )
    if math.exp(predicted) > LEAST_USUAL:
        level = "info"
    return [trend_finding("decay", level, Trend(tuple(sites), tuple(values), gain), predicted, message, _LOST_ADVICE)]


_SCALE = "He's scale for a slope α, a weight's standard deviation of √(2/(1+α²))/√fan_in, keeps E h²; so does a \
normalisation layer."
_GROWTH_ADVICE = (
    f"{_SCALE} A slope cannot stop growth (it adds to E h²); a `gain` below 1 or a `clamp` of leaky_relu can."
)
_DECAY_ADVICE = f"{_SCALE} Torch's default initialisation (gain .577) falls short of it at every layer. A larger slope \
helps a little: E h² × (1+α²), 1.04 for .2."

_LOST_ADVICE = (
    f"The weights are too small: a weight decay that is too strong, or an initial scale far too low. {_SCALE} \
Then draw them anew (`leaky.initialize`); more training hardly wins them back."
)


def _signal(seen: Site | FeatureStatistics) -> float:
    """Variance between samples, mean over units or features; 0 where rounding hides it behind the mean."""
    hidden = seen.variance <= ROUNDING * seen.mean**2
    return 0.0 if bool(hidden.all()) else float(np.mean(seen.variance))


ROUNDING = 1e-12
"""Variance ÷ mean² up to which it is what float64 sums leave of nothing."""


def _range_finding(context: Context, slug: str, sign: int, verb: str, advice: str) -> list[Finding]:
    found, t = range_trend(context), context.thresholds
    if found is None:
        return []
    level = level_by_factor(sign * found.log_factor, t.growth_info, t.growth_warning, t.growth_error)
    if level is None:
        return []
    level = "info" if context.learned else level
    predicted = mean_log_gain([weights_log_gain(site, [p.fan_in for p in site.producers]) for site in found.sites[1:]])
    expected = (
        "" if predicted is None else f" The weights' scale alone predicts × {factor(predicted)} a site (closed form)."
    )
    message = (
        f"the outputs' second moment {verb} × {factor(found.log_gain)} a site, {found.values[0]:.3g} → "
        f"{found.values[-1]:.3g} over {len(found.sites)} sites, {seen_on(context.record)}; a matched "
        f"initialisation gives × 1.{expected}"
    )
    return [trend_finding(slug, level, found, predicted, message, advice)]


def level_by_factor(log_factor: float, info: float, warning: float, error: float) -> Level | None:
    """The level of a change by this factor, None below `info`."""
    limits: tuple[tuple[Level, float], ...] = (("error", error), ("warning", warning), ("info", info))
    return next((level for level, limit in limits if log_factor >= math.log(limit)), None)


def weights_log_gain(site: Site, fans: Sequence[float]) -> float | None:
    """ln(gain²·(1+α²)/2·Σ fan·E w²): what the weights' scale alone does to the second moment (He et al. 2015).

    Args:
        site: with its producers; None comes back without any, and for a smooth activation.
        fans: of the producers: fan_in for the outputs on their way forward, fan_out for the gradient's way back.
    """
    if site.smooth or not site.producers:
        return None
    scale = sum(fan * producer.weight_rms**2 for fan, producer in zip(fans, site.producers, strict=True))
    value = site.gain**2 * (1 + float(np.mean(site.negative_slope**2))) / 2 * scale
    return math.log(value) if 0 < value < math.inf else None


def mean_log_gain(gains: Sequence[float | None]) -> float | None:
    """Their mean, None unless all are known."""
    known = [value for value in gains if value is not None]
    return sum(known) / len(known) if gains and len(known) == len(gains) else None


def trend_finding(slug: str, level: Level, found: Trend, predicted: float | None, message: str, advice: str) -> Finding:
    """A finding on a trend, with the numbers behind it.

    Args:
        slug: of the rule.
        level: how bad it is.
        found: the trend.
        predicted: its `log_gain` by the weights' scale alone, where that is known.
        message: what the reader is told.
        advice: what to do.
    """
    numbers = evidence(
        log_gain_per_site=found.log_gain,
        predicted_log_gain_per_site=predicted,
        log_factor=found.log_factor,
        sites=[site.name for site in found.sites],
        on_shortcuts=all(site.bypassed for site in found.sites),
        values=list(found.values),
    )
    return Finding(slug, level, None, (), message, numbers, advice)


def factor(log_gain: float) -> str:
    """The factor e to the power of `log_gain`, for the reader."""
    return f"{math.exp(min(log_gain, 700)):.3g}"

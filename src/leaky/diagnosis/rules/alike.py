"""Whether all samples come to look the same on the way through a deep network.

Each ReLU draws two inputs together by the correlation map C(c) ≥ c; a deep plain network, its weights matched or not,
ends with a cosine near 1 and has only small differences to learn from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from leaky import theory
from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import Site
from leaky.text import counted, listed

SHARPER = 2.0
"""How many times nearer to 1 the cosine must come on the way, for depth to be what brings it about."""
BY_BIASES = 4.0
"""How many times nearer to 1 than the correlation map takes it, for something else to be what brings it about."""


@rule(
    "alike-by-depth",
    concern="range-by-depth",
    summary="samples that look more and more alike from site to site",
    thresholds=("alike_sites", "alike_info", "alike_warning", "least_samples", "learned"),
)
def alike_by_depth(context: Context) -> list[Finding]:
    """One finding for the network, if two samples' pre-activations come to point the same way."""
    t, known = context.thresholds, _cosines(context)
    if len(known) < t.alike_sites or context.learned:
        return []
    cosines = [cosine for _, cosine in known]
    quarter = max(1, len(known) // 4)
    first, last = float(np.mean(cosines[:1])), float(np.mean(cosines[-quarter:]))
    if last < t.alike_info or (1 - last) * SHARPER > 1 - first:
        return []
    level: Level = "warning" if last >= t.alike_warning else "info"
    plain = not any(site.bypassed for site, _ in known)
    predicted = _predicted(known) if plain else None
    expected = "" if predicted is None else f" The correlation map of these slopes predicts {predicted:.3g}."
    return [
        Finding(
            rule="alike-by-depth",
            level=level,
            site=None,
            units=(),
            message=(
                f"two samples point the same way by a cosine of {_short(first)} at the first of {len(known)} sites and "
                f"{_short(last)} over the last {quarter}, {seen_on(context.record)}: all look alike to the last "
                f"layers.{expected}"
            ),
            evidence=evidence(
                sites=[site.name for site, _ in known], cosines=cosines, first=first, last=last, predicted=predicted
            ),
            advice=_advice(known, plain, predicted is not None and (1 - last) * BY_BIASES < 1 - predicted),
        )
    ]


@rule(
    "alike-units",
    concern="range-by-depth",
    summary="layers whose units all compute the same",
    thresholds=("least_samples", "learned"),
)
def alike_units(context: Context) -> list[Finding]:
    """One finding for the hidden sites of which every unit had the same sums, and varied."""
    sites = [site for site in context.averaged_sites() if not site.is_output and _one_unit_many_times(site)]
    if not sites:
        return []
    names = listed((f"{site.name}: {site.units}" for site in sites), 4)
    return [
        Finding(
            rule="alike-units",
            level=context.unless_fit,
            site=None,
            units=(),
            message=(
                f"all units of {counted(len(sites), 'site')} ({names}) compute the same, {seen_on(context.record)}: "
                "each such layer is as good as one unit"
            ),
            evidence=evidence(sites=[site.name for site in sites], units=[site.units for site in sites]),
            advice=(
                "Weights that begin at one number stay alike, for they get the same gradient: draw them at random "
                "(`leaky.initialize`, or torch's own `reset_parameters`)."
            ),
        )
    ]


SAME = 1e-5
"""Difference of two units' sums ÷ the largest, up to which it is rounding."""


def _one_unit_many_times(site: Site) -> bool:
    """Whether every unit saw the same range, mean and variance of a pre-activation that varies."""
    s = site.statistics
    if site.units < LEAST_ALIKE or not s.fired.any() or bool(s.nonfinite.any()):
        return False
    rows = np.stack([s.minimum, s.maximum, site.mean, np.sqrt(site.variance)])
    scale = float(np.abs(rows).max())
    spread = (s.maximum - s.minimum).max()
    return bool(spread > SAME * scale and (np.ptp(rows, axis=1) <= SAME * scale).all())


LEAST_ALIKE = 4
"""Units below which a site is too narrow to speak of."""


def _cosines(context: Context) -> list[tuple[Site, float]]:
    """The hidden sites of which the mean cosine is known, in the order in which they first ran."""
    found = []
    for site in context.averaged_sites():
        cosine = None if site.directions is None or site.is_output else site.directions.cosine
        if cosine is not None and math.isfinite(cosine):
            found.append((site, min(cosine, 1.0)))
    return found


def _predicted(known: Sequence[tuple[Site, float]]) -> float | None:
    """The first site's cosine taken through the correlation map of every further site; None for a smooth one."""
    cosine = known[0][1]
    for site, _ in known[:-1]:
        if site.smooth or site.value != 0 or not site.units:
            return None
        cosine = theory.correlation_map(max(-1.0, min(cosine, 1.0)), float(np.median(site.negative_slope)))
    return cosine


def _advice(known: Sequence[tuple[Site, float]], plain: bool, by_biases: bool) -> str:
    if not plain:
        return (
            "Normalise inside the branches, or give the shortcuts a larger share: each sum of a shortcut and a branch "
            "keeps samples apart as far as the shortcut does."
        )
    first = "Residual connections or normalisation layers keep samples apart in deep networks."
    if by_biases:
        return (
            "That is more than the slopes do: the biases outgrow a signal that shrinks from layer to layer, as under "
            f"torch's default initialisation. Before training, `leaky.initialize(model)` draws weights that keep it. "
            f"{first}"
        )
    slope = theory.tailored_slope(len(known))
    if not slope.reachable or slope.negative_slope < LEAST_SLOPE:
        return first
    tried = f"{slope.negative_slope:.2g}"
    return (
        f"{first} Without them, theory gives a slope of {tried} at all sites for this depth "
        f"(`leaky.theory.tailored_slope({len(known)})`); `leaky tune TASK --slopes 0 {tried}` decides it."
    )


LEAST_SLOPE = 0.05
"""A slope below this hardly keeps samples apart."""


def _short(cosine: float) -> str:
    return f"{cosine:.2g}" if cosine < 0.99 else f"{cosine:.4g}" if cosine < 0.9999 else ">0.9999"

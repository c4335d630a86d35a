"""Ranges of values: what is not finite, what drifts over the steps, what grows or decays over the layers."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.watching.alarm_rules.now import Now, finding, known, level_of


def non_finite(now: Now) -> list[Finding]:
    """The first site of the pass with NaN or infinity: what lies between it and the one before made it."""
    for place, site in enumerate(now.sites):
        if not site.nonfinite.any():
            continue
        before = f"behind {now.sites[place - 1].name!r}, which is finite" if place else "with no site before it"
        units = tuple(int(u) for u in np.flatnonzero(site.nonfinite))
        message = f"the first NaN or infinite value arose {before}, in batch {now.batch}{now.origin}"
        advice = (
            "Look at the input of that batch, then at the weights and operations between the two sites: a half type's "
            "range, a division, a logarithm, a rate too high at the steps before."
        )
        return [finding("non-finite", "error", site, message, advice, units=units, count=site.nonfinite.sum())]
    if now.scaled:
        return []
    ill = [site for site in now.sites if now.row[site.name]["nonfinite"] > 0]
    if not ill:
        return []
    message = f"the gradient that arrives is NaN or infinite, in batch {now.batch}, though every value is finite"
    advice = "Look at what comes after this site: the loss (logarithm or division by 0, square root at 0), its scale."
    return [finding("non-finite", "error", ill[-1], message, advice, sites=[site.name for site in ill])]


def drift(now: Now) -> list[Finding]:
    """Sites whose range has grown or shrunk by orders of magnitude since the first reports."""
    found, t = [], now.thresholds
    for site in now.sites:
        moments = now.history[site.name]["second_moment"]
        known = moments[np.isfinite(moments)]
        if len(known) < 3 or known[0] <= 0 or known[-2:].min() <= 0:
            continue
        recent = known[-2:] / known[0]  # of two reports the milder: one odd batch is no drift
        factor = float(recent[np.abs(np.log(recent)).argmin()])
        if 1 / t.drift_warning < factor < t.drift_warning:
            continue
        word, size = ("grown", factor) if factor > 1 else ("shrunk", 1 / factor)
        level: Level = "error" if size >= t.growth_error else "warning"
        message = f"E z² has {word} {size:.3g} times since the first report"
        advice = (
            "The weights before it drift: look at their norm and the rate; normalisation or weight decay holds them."
        )
        found.append(finding("drift", level, site, message, advice, factor=factor))
    return found


def depth(now: Now) -> list[Finding]:
    """The output's range or the gradient over depth, at this report."""
    t = now.thresholds
    moments = known(now, "output_moment")
    found = []
    if len(moments) >= t.least_sites:
        (first, before), (last, after) = moments[0], moments[-1]
        factor = after / before if before > 0 else math.nan
        for word, size in (("grows", factor), ("decays", 1 / factor if factor > 0 else math.nan)):
            level = level_of(size, t.growth_warning, t.growth_error)
            if level is not None:
                message = f"E h² {word} {size:.3g} times from {first.name!r} to this site"
                advice = "Initialise with the gain of the slope (`leaky.initialize`), or normalise between the layers."
                found.append(finding("depth", level, last, message, advice, factor=factor))
    gradients = known(now, "gradient")
    if len(gradients) >= t.least_sites and gradients[-1][1] > 0 and gradients[0][1] > 0:
        ratio = (gradients[0][1] / gradients[-1][1]) ** 2
        for word, size in (("explodes", ratio), ("vanishes", 1 / ratio)):
            level = level_of(size, t.gradient_warning, t.gradient_error)
            if level is not None:
                message = f"the gradient {word}: its square changes by {size:.3g} from the last site to this one"
                advice = "Initialise with the gain of the slope (`leaky.initialize`), add shortcuts or normalisation."
                found.append(finding("gradient-by-depth", level, gradients[0][0], message, advice, factor=ratio))
    return found

"""Ranges of values: what is not finite, what drifts or fades over the steps, what grows or decays over the layers."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.record import FloatArray
from leaky.watching.alarm_rules.now import Now, SiteNow, finding, known, level_of

LEAST_RANGE = 0.1
"""E z² up to which a site's range may grow from less: only what is beyond it has grown too far."""
SURELY = 1 + 1e-9
"""By how much a sum must be above a limit so that it is so in another order of its terms."""
AT_ONE_PLACE = 0.8
"""Of the change of a gradient over the sites, from which on it is none of depth."""
BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def non_finite(now: Now) -> list[Finding]:
    """The first site of the pass with NaN or infinity: what lies between it and the one before made it."""
    for place, site in enumerate(now.sites):
        if not now.row[site.name]["nonfinite"] or not site.nonfinite.any():
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
        return _ill_loss(now)
    message = f"the gradient that arrives is NaN or infinite, in batch {now.batch}, though every value is finite"
    advice = "Look at what comes after this site: the loss (logarithm or division by 0, square root at 0), its scale."
    return [finding("non-finite", "error", ill[-1], message, advice, sites=[site.name for site in ill])]


def _ill_loss(now: Now) -> list[Finding]:
    if not now.loop.ill_loss:
        return []
    message = f"the loss is NaN or infinite, in batch {now.batch}, though every value and every gradient is finite"
    advice = (
        "Look at the loss: a logarithm or a power of something negative, a sum that overflows, a term that has none. "
        "Its gradient may point away from where the loss is defined."
    )
    return [finding("non-finite", "error", None, message, advice)]


def _drifted(now: Now) -> list[tuple[SiteNow, float]]:
    """The sites whose E z² has grown or shrunk by orders of magnitude, and by what factor."""
    found, limit = [], now.thresholds.drift_warning
    moments = now.series("second_moment")
    with np.errstate(all="ignore"):
        change = moments[-1] / moments[0]
    for site in now.but((change > 1 / limit) & (change < limit)):
        moments = now.history[site.name]["second_moment"]
        known = moments[np.isfinite(moments)]
        if len(known) < 3 or known[0] <= 0 or known[-2:].min() <= 0:
            continue
        recent = known[-2:] / known[0]  # of two reports the milder: one odd batch is no drift
        factor = float(recent[np.abs(np.log(recent)).argmin()])
        factor = max(1.0, factor * known[0] / max(known[0], LEAST_RANGE)) if factor > 1 else factor
        if not 1 / limit < factor < limit:
            found.append((site, factor))
    return found


def drift(now: Now) -> list[Finding]:
    """Sites whose range has grown or shrunk by orders of magnitude since the first reports."""
    found, t = [], now.thresholds
    for site, factor in _drifted(now):
        word, size = ("grown", factor) if factor > 1 else ("shrunk", 1 / factor)
        level: Level = "error" if size >= t.growth_error else "warning"
        message = f"E z² has {word} {size:.3g} times since the first report"
        advice = (
            "The weights before it drift: look at their norm and the rate; normalisation or weight decay holds them."
        )
        found.append(finding("drift", level, site, message, advice, factor=factor))
    return found


def rising_rate(now: Now) -> list[Finding]:
    """A rate that has risen far above the first one, and with it ranges, by orders of magnitude, or long steps.

    A warm-up raises the rate as well, and neither comes with it.
    """
    rise = now.loop.rate_rise
    if rise < now.thresholds.rate_rise:
        return []
    sites = [site.name for site, factor in _drifted(now) if factor > 1]
    steps = [min(list(each.longest)[-3:]) for each in now.loop.weights.values() if each.reports >= 3]
    longest = max(steps, default=0.0)
    if sites:
        harm = "E z² has grown with it by orders of magnitude"
    elif longest >= now.thresholds.update_steady:
        harm = f"one step after another changes weights by {longest:.3g} of their norm or more"
    else:
        return []
    message = f"the rate is {rise:.3g} times the first one, and {harm}"
    advice = "Look at the schedule: its factor, what its steps count, where it should turn and come down."
    return [finding("rising-rate", "warning", None, message, advice, rise=rise, sites=sites)]


def fading(now: Now) -> list[Finding]:
    """Sites that let next to nothing through any more, though their units need not be silent nor their z small.

    Of Σz² a site passes on Σh²; judged is the share that gets through over as many samples as a verdict takes, where
    the site let through more in the first report, and more came out of it.
    """
    found, t = [], now.thresholds
    if now.samples < now.needed:
        return []
    for site in now.but(_lets_through(now)):
        z, h = (now.history[site.name][figure] for figure in ("second_moment", "output_moment"))
        good = np.isfinite(z) & np.isfinite(h) & (z > 0)
        if good.sum() < 2 or h[good][0] < (1 - t.lost_info) * z[good][0]:
            continue
        came, went = (_recent_sum(now, each, good) for each in (z, h))
        samples = _recent_sum(now, np.ones_like(z), good)
        fallen = went <= (1 - t.lost_info) * samples * h[good][0]
        if samples < now.needed or not fallen or not 0 < went <= (1 - t.lost_warning) * came:
            continue
        message = (
            f"next to nothing gets through: E h² is {went / came:.2g} of E z², and was "
            f"{h[good][0] / z[good][0]:.2g} at the first report"
        )
        advice = "Something presses the output to 0: look at penalties on it, at weight decay and at biases that sink."
        found.append(finding("fading", "warning", site, message, advice, share=went / came))
    return found


def _lets_through(now: Now) -> BoolArray:
    """Which sites surely let more through, over the last samples, than `fading` tells of, whatever came before."""
    z, h = (now.series(figure)[-now.recent :] for figure in ("second_moment", "output_moment"))
    samples = now.history.samples[-now.recent :]
    came, went = samples @ z, samples @ h
    enough = went > (1 - now.thresholds.lost_warning) * came * SURELY
    return np.asarray((z > 0).all(axis=0) & np.isfinite(went) & enough)


def depth(now: Now) -> list[Finding]:
    """The output's range or the gradient over depth, at this report.

    Depth changes a gradient from layer to layer. Where nearly all of the change lies between two sites, one does not
    feed the other, as in an actor beside its critic, or something else lies between them: level info.
    """
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
    ends = _ends_with_gradient(now)
    if ends is not None:
        ratio = _steady_ratio(now, ends[0].name, ends[1].name)
        for word, size in (("explodes", ratio), ("vanishes", 1 / ratio if ratio > 0 else math.nan)):
            level = level_of(size, t.gradient_warning, t.gradient_error)
            if level is not None:
                level = "info" if _between_two(now) >= AT_ONE_PLACE else level
                message = f"the gradient {word}: its square changes by {size:.3g} from the last site to this one"
                advice = "Initialise with the gain of the slope (`leaky.initialize`), add shortcuts or normalisation."
                found.append(finding("gradient-by-depth", level, ends[0], message, advice, factor=ratio))
    return found


def _ends_with_gradient(now: Now) -> tuple[SiteNow, SiteNow] | None:
    """The first and the last site with a gradient at this report; None where there are too few for a trend."""
    known_ones = known(now, "gradient")
    if len(known_ones) < now.thresholds.least_sites or not known_ones[0][1] > 0 or not known_ones[-1][1] > 0:
        return None
    return known_ones[0][0], known_ones[-1][0]


def _between_two(now: Now) -> float:
    """The largest part of the change of ln E g² over the sites that lies between one and the next."""
    changes = np.diff(np.log([value for _, value in known(now, "gradient") if value > 0]))
    return float(np.abs(changes).max() / np.abs(changes.sum())) if changes.sum() != 0 else math.nan


def _steady_ratio(now: Now, first: str, last: str) -> float:
    """E g² at one site ÷ at another, over the last samples, as many as a verdict takes, or all that were seen.

    Where few samples make a report, a training that goes well has reports none of whose samples asks anything of the
    first site. NaN where too few samples have been seen for an average.
    """
    recent = now.history.of("gradient", (first, last))[-now.recent :] ** 2
    samples = now.history.samples[-now.recent :]
    above, below = (samples @ recent).tolist()
    if math.isfinite(above) and math.isfinite(below) and samples.sum() >= now.thresholds.least_samples:
        return above / below if below > 0 else math.nan
    squares = [now.history[name]["gradient"] ** 2 for name in (first, last)]
    good = np.isfinite(squares[0]) & np.isfinite(squares[1])
    if now.history.samples[good].sum() < now.thresholds.least_samples:
        return math.nan
    above, below = (_recent_sum(now, each, good) for each in squares)
    return above / below if below > 0 else math.nan


def _recent_sum(now: Now, means: FloatArray, good: BoolArray) -> float:
    """Σ over the last samples of a figure that is a mean over samples, as many as a verdict takes, or all seen.

    Args:
        now: what the rules are given.
        means: the figure, by report.
        good: the reports that count; one at least.
    """
    samples = now.history.samples[good]
    seen = samples[::-1].cumsum()
    taken = slice(-1 - int(np.searchsorted(seen[:-1], now.needed)), None)
    return float((means[good] * samples)[taken].sum())

"""Units that fell silent, died or lock, and layers that are on the way there."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.record import FloatArray
from leaky.text import percentage
from leaky.watching.alarm_rules.now import Now, SiteNow, beyond_chance, finding


def _level(now: Now, count: int, units: int, warning: float) -> Level:
    """Of so many units that cannot learn: info where a layer of few units may show as many by accident.

    Where none is left, nothing gets through the layer, however few they were.
    """
    t = now.thresholds
    delta = t.delta / max(1, len(now.sites))
    if count == units or beyond_chance(count, units, t.dead_error, delta):
        return "error"
    return "warning" if beyond_chance(count, units, warning, delta) else "info"


def stopped_firing(now: Now) -> list[Finding]:
    """Units that fired before and have been silent on as many samples as a verdict takes."""
    found = []
    for site in now.sites:
        gone = site.ever_fired & (site.silent_for >= now.needed)
        if not site.flat or site.gated or not gone.any():
            continue
        share, t = float(gone.mean()), now.thresholds
        level = _level(now, int(gone.sum()), site.units, t.stopped_warning)
        units = tuple(int(u) for u in np.flatnonzero(gone))
        message = (
            f"{len(units)} of {site.units} units have stopped firing: silent on {now.needed:,} samples or more, since "
            f"step {int(site.last_fired[gone].max())} or earlier"
        )
        advice = (
            "Some units fall silent in healthy trainings too: nothing to do while they are few."
            if level == "info"
            else "Probably a large step moved them out of reach: look at the rate and at the batches before. "
            "`leaky.repair` brings them back; whether a leak would have helped, `leaky.tune` decides."
        )
        found.append(finding("stopped-firing", level, site, message, advice, units=units, share=share))
    return found


def dead(now: Now) -> list[Finding]:
    """Sites most of whose units are dead by the verdict of a checkup.

    Torch's own initialisation leaves up to 58% of a layer silent in networks that learn (docs/rules): what has been
    dead since the first verdict is told at level info until `collapse_rise` of the layer have joined, beyond chance.
    """
    found, t = [], now.thresholds
    for site in now.sites:
        share = now.row[site.name]["dead"]
        if site.gated or math.isnan(share) or share < t.dead_warning:
            continue
        level = _level(now, round(share * site.units), site.units, t.dead_warning)
        shares = now.history[site.name]["dead"]
        risen = round(float(share - shares[~np.isnan(shares)][0]) * site.units)
        if level == "warning" and not beyond_chance(risen, site.units, t.collapse_rise, t.delta / len(now.sites)):
            level = "info"
        message = f"{percentage(share)} of {site.units} units are dead on the last {now.needed:,} samples or more"
        advice = "Run watch.checkup() for the verdicts; `leaky.repair` shows what brings them back."
        found.append(finding("dead", level, site, message, advice, share=share))
    return found


def collapsing(now: Now) -> list[Finding]:
    """Sites whose share of silent units rises so that half of them will be in as many steps as were seen.

    Units that were silent from the start show all at once, when enough samples were seen to call them so; that is no
    rise, and is not looked at. Nor is one that is over: large first steps silence units in healthy trainings too, which
    shows as a rise for as long as it takes to call them silent. Where other units fire the more, what comes in has
    become narrower, as samples of a generator that learns do: level info.
    """
    found, t = [], now.thresholds
    steps, told = now.history.steps, now.history.samples.cumsum() >= now.needed
    for site in now.sites:
        shares = now.history[site.name]["silent"]
        recent = np.flatnonzero(~np.isnan(shares) & told)[-8:]
        if not site.flat or site.gated or len(recent) < 4 or shares[recent[-1]] >= t.collapse_share:
            continue
        risen = round(float(shares[recent[-1]] - shares[recent].min()) * site.units)
        if not beyond_chance(risen, site.units, t.collapse_rise, t.delta / len(now.sites)):
            continue
        slope, _ = np.polyfit(steps[recent].astype(float), shares[recent], 1)
        slope = min(float(slope), _pace(now, site, shares))
        if slope <= 0:
            continue
        projected = now.step + (t.collapse_share - shares[recent[-1]]) / slope
        if projected > 2 * max(now.step, 1):
            continue
        message = (
            f"the layer is collapsing: {shares[recent[-1]]:.0%} of its units are silent, "
            f"{t.collapse_share:.0%} by step {projected:,.0f} if it goes on"
        )
        advice = "Lower the rate now, or give the site a leak; units that are gone do not come back by themselves."
        share, level = float(shares[recent[-1]]), _level_of_rise(now.history[site.name]["rate"][recent], shares[recent])
        found.append(finding("collapsing", level, site, message, advice, share=share, projected_step=projected))
    return found


def _level_of_rise(rates: FloatArray, shares: FloatArray) -> Level:
    """Info where the layer fires nearly as much as before so many of its units were silent, and a warning otherwise.

    If others went on as they were, a rise of the silent share from s to t would leave (1 − t) ÷ (1 − s) of the rate.
    """
    before = int(np.argmin(shares))
    lost = 1 - float(rates[-1]) / max(float(rates[before]), 1e-30)
    expected = 1 - float(1 - shares[-1]) / float(1 - shares[before])
    return "info" if lost < expected / 2 else "warning"


def _pace(now: Now, site: SiteNow, shares: FloatArray) -> float:
    """The rise of the share of silent units by a step, as it is going on.

    Units that did not fire since the last report are at most those that will have been silent on as many samples as a
    verdict takes, when so many have been seen. Where a report has that many itself, the one before tells the rise.
    """
    span, samples = max(1.0, float(np.diff(now.history.steps[-2:])[0])), int(now.history.samples[-1])
    if samples >= now.needed:
        return float(shares[-1] - shares[-2]) / span
    quiet = float((site.silent_for >= samples).mean())
    return (quiet - float(shares[-1])) * samples / (now.needed * span)


def locked(now: Now) -> list[Finding]:
    """Sites most of whose units are always on one side: linear, wasted."""
    found, t = [], now.thresholds
    for site in now.sites:
        share = now.row[site.name]["locked"]
        if math.isnan(share) or site.gated:
            continue
        if beyond_chance(round(share * site.units), site.units, t.locked_warning, t.delta / len(now.sites)):
            part = f"{percentage(share)} of {site.units} units"
            message = f"{part} are always on one side on the last {now.needed:,} samples"
            advice = "They compute a linear function: look at the input's scale and at biases that ran away."
            found.append(finding("locked", "warning", site, message, advice, share=share))
    return found

"""Units that fell silent, died or lock, and layers that are on the way there."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.diagnosis.harm import Cost, Lost, cost, far_off, share_of_network
from leaky.record import FloatArray
from leaky.text import percentage
from leaky.watching.alarm_rules.now import Now, SiteNow, beyond_chance, finding

FIRST_REPORTS = 3
"""Reports of the first steps, which are large in healthy trainings too."""


def _judged(now: Now, site: SiteNow, lost: int, warning: float) -> Cost:
    """What so many units of a site that cannot learn cost: info where a layer of few may show as many by accident.

    Where none is left, nothing gets through the layer, however few they were.
    """
    t = now.thresholds
    delta = t.delta / max(1, len(now.sites))
    if lost == site.units:
        return Cost("error", "Nothing gets through.")
    level: Level = "error" if beyond_chance(lost, site.units, t.dead_error, delta) else "warning"
    if level == "warning" and not beyond_chance(lost, site.units, warning, delta):
        return Cost("info")
    found = _harm(now, site, lost)
    return found if found.level == "info" else Cost(level, found.reason)


def _harm(now: Now, site: SiteNow, lost: int) -> Cost:
    """Whether units that are lost to a site are waste or harm, by what is left of it and by the network around it."""
    t, hidden = now.thresholds, [each for each in now.sites if not each.is_output and not each.gated]
    dead = {each.name: round(now.row[each.name]["silent"] * each.units) for each in hidden}
    widths = [each.units for each in now.sites] + [look.width for look in now.looks[-1:]]
    known = Lost(
        site.units,
        lost,
        others_active=_others_active(now, site),
        at_once=_at_once(now, site),
        room=min(widths) if now.looks else None,
        network=share_of_network(dead, {each.name: each.units for each in hidden}, t),
        far_off=far_off(now.inputs, t),
    )
    return cost(known, t)


def _others_active(now: Now, site: SiteNow) -> float:
    """How often the units fire that are left ÷ how often those did that fired at first; 0 where that is not known.

    At first is the first report, or the first one that tells which units are silent, whichever had them fire more. Left
    are those that fired of late: while units go on falling silent, it takes time until they are called so.
    """
    rates, silent = now.history[site.name]["rate"], now.history[site.name]["silent"]
    told = np.flatnonzero(np.isfinite(rates) & (now.history.samples.cumsum() >= now.needed))
    left = float((site.silent_for <= now.needed / 4).mean())
    if not len(told) or left == 0:
        return 0.0
    first, at_first = float(rates[np.isfinite(rates)][0]), float(rates[told[0]])
    before = max(first, at_first / (1 - float(silent[told[0]]))) if silent[told[0]] < 1 else first
    return float(rates[-1]) / left / before if before > 0 else 0.0


def _at_once(now: Now, site: SiteNow) -> float:
    """The largest share of the units that fired for the last time within one report, later than at the first steps.

    Large first steps silence units in healthy trainings too: the first reports do not count.
    """
    steps, told = now.history.steps, np.flatnonzero(now.history.samples.cumsum() >= now.needed)
    gone = site.ever_fired & (site.silent_for >= now.needed)
    early = steps[min(max(FIRST_REPORTS - 1, told[0] if len(told) else 0), len(steps) - 1)]
    last = np.sort(site.last_fired[gone & (site.last_fired > early)])
    if not len(last) or len(steps) < 2:
        return 0.0
    together = np.searchsorted(last, last + np.diff(steps[-2:]), side="left") - np.arange(len(last))
    return float(together.max()) / site.units


def stopped_firing(now: Now) -> list[Finding]:
    """Units that fired before and have been silent on as many samples as a verdict takes."""
    found = []
    for site in now.sites:
        if not now.row[site.name]["silent"] > 0:
            continue
        gone = site.ever_fired & (site.silent_for >= now.needed)
        if not site.flat or site.gated or not gone.any():
            continue
        share, t = float(gone.mean()), now.thresholds
        harm = _judged(now, site, int(gone.sum()), t.stopped_warning)
        units = tuple(int(u) for u in np.flatnonzero(gone))
        message = (
            f"{len(units)} of {site.units} units have stopped firing: silent on {now.needed:,} samples or more, since "
            f"step {int(site.last_fired[gone].max())} or earlier{_because(harm)}"
        )
        advice = (
            "Units fall silent in healthy trainings too: nothing to do while the others go on as before."
            if harm.level == "info"
            else "Probably a large step moved them out of reach: look at the rate and at the batches before. "
            "`leaky.repair` brings them back; whether a leak would have helped, `leaky.tune` decides."
        )
        found.append(finding("stopped-firing", harm.level, site, message, advice, units=units, share=share))
    return found


def _because(harm: Cost) -> str:
    return f". {harm.reason.removesuffix('.')}" if harm.reason else ""


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
        harm = _judged(now, site, round(share * site.units), t.dead_warning)
        shares = now.history[site.name]["dead"]
        risen = round(float(share - shares[~np.isnan(shares)][0]) * site.units)
        if harm.level == "warning" and not beyond_chance(risen, site.units, t.collapse_rise, t.delta / len(now.sites)):
            harm = Cost("info")
        message = f"{percentage(share)} of {site.units} units are dead on the last {now.needed:,} samples or more"
        message += _because(harm)
        advice = "Run watch.checkup() for the verdicts; `leaky.repair` shows what brings them back."
        found.append(finding("dead", harm.level, site, message, advice, share=share))
    return found


def collapsing(now: Now) -> list[Finding]:
    """Sites whose share of silent units rises so that half of them will be in as many steps as were seen.

    Units that were silent from the start show all at once, when enough samples were seen to call them so; that is no
    rise, and is not looked at. Nor is one that is over: large first steps silence units in healthy trainings too, which
    shows as a rise for as long as it takes to call them silent. Where those that are left fire as at first or more,
    what comes in has become narrower, as samples of a generator that learns do, or the layer had units to spare: info.
    """
    found, t = [], now.thresholds
    rising = [site for site in now.sites if now.row[site.name]["silent"] > 0]
    if not rising:
        return []
    steps, told = now.history.steps, now.history.samples.cumsum() >= now.needed
    for site in rising:
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
        share = float(shares[recent[-1]])
        level: Level = "info" if _others_active(now, site) >= t.others_active else "warning"
        found.append(finding("collapsing", level, site, message, advice, share=share, projected_step=projected))
    return found


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

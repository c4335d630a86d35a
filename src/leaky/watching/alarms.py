"""The rules behind alarms: from the figures of one report and those before it to findings. Without torch.

Each rule looks at one concern. An alarm is raised once, and again only when its level rises or after it has been over;
thresholds are those of the one table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from leaky.diagnosis import Finding, Level, Thresholds, level_rank
from leaky.diagnosis.wording import evidence
from leaky.record import FloatArray
from leaky.watching.alarm import Alarm
from leaky.watching.history import History, Row


@dataclass(frozen=True, eq=False)
class SiteNow:
    """One site at a report.

    Attributes:
        name: of the site.
        units: of the site.
        silent_for: samples since each unit fired, shape (units,).
        ever_fired: whether it has since the last reset, shape (units,).
        last_fired: step at which it fired last, −1 for never, shape (units,).
        flat: whether its derivative below the threshold is practically 0, so that a silent unit cannot learn.
        gated: whether it is smooth, and so is judged by its share of the output alone.
        nonfinite: NaN and infinite pre-activations since the last report, shape (units,).
    """

    name: str
    units: int
    silent_for: FloatArray
    ever_fired: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    last_fired: FloatArray
    flat: bool
    gated: bool
    nonfinite: FloatArray


@dataclass(frozen=True, eq=False)
class Now:
    """What the rules are given.

    Attributes:
        step, batch: at which the report is made.
        row: its figures by site.
        history: this report included.
        sites: in the order in which they run.
        needed: samples that a verdict takes.
        thresholds: that decide.
        origin: what is known of a non-finite value's origin ("the input is finite"), for the reader.
        scaled: whether a GradScaler is at work, whose first steps overflow by design.
    """

    step: int
    batch: int
    row: Row
    history: History
    sites: tuple[SiteNow, ...]
    needed: int
    thresholds: Thresholds
    origin: str = ""
    scaled: bool = False


Check = Callable[[Now], list[Finding]]


def _finding(rule: str, level: Level, site: SiteNow | None, message: str, advice: str, **numbers: object) -> Finding:
    units = numbers.pop("units", ())
    assert isinstance(units, tuple)
    name = None if site is None else site.name
    return Finding(rule, level, name, units, message, evidence(**numbers), advice)


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
        return [_finding("non-finite", "error", site, message, advice, units=units, count=site.nonfinite.sum())]
    if now.scaled:
        return []
    ill = [site for site in now.sites if now.row[site.name]["nonfinite"] > 0]
    if not ill:
        return []
    message = f"the gradient that arrives is NaN or infinite, in batch {now.batch}, though every value is finite"
    advice = "Look at what comes after this site: the loss (logarithm or division by 0, square root at 0), its scale."
    return [_finding("non-finite", "error", ill[-1], message, advice, sites=[site.name for site in ill])]


def stopped_firing(now: Now) -> list[Finding]:
    """Units that fired before and have been silent on as many samples as a verdict takes."""
    found = []
    for site in now.sites:
        gone = site.ever_fired & (site.silent_for >= now.needed)
        if not site.flat or site.gated or not gone.any():
            continue
        share, t = float(gone.mean()), now.thresholds
        level: Level = "error" if share >= t.dead_error else "warning" if share >= t.stopped_warning else "info"
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
        found.append(_finding("stopped-firing", level, site, message, advice, units=units, share=share))
    return found


def dead(now: Now) -> list[Finding]:
    """Sites most of whose units are dead by the verdict of a checkup."""
    found, t = [], now.thresholds
    for site in now.sites:
        share = now.row[site.name]["dead"]
        if site.gated or math.isnan(share) or share < t.dead_warning:
            continue
        level: Level = "error" if share >= t.dead_error else "warning"
        message = f"{share:.0%} of {site.units} units are dead on the last {now.needed:,} samples or more"
        advice = "Run watch.checkup() for the verdicts; `leaky.repair` shows what brings them back."
        found.append(_finding("dead", level, site, message, advice, share=share))
    return found


def collapsing(now: Now) -> list[Finding]:
    """Sites whose share of silent units rises so that half of them will be in as many steps as were seen."""
    found, t = [], now.thresholds
    steps = now.history.steps
    for site in now.sites:
        shares = now.history[site.name]["silent"]
        recent = np.flatnonzero(~np.isnan(shares))[-8:]
        if not site.flat or site.gated or len(recent) < 4 or shares[recent[-1]] >= t.collapse_share:
            continue
        if shares[recent[-1]] - shares[recent].min() < t.collapse_rise:
            continue
        slope, _ = np.polyfit(steps[recent].astype(float), shares[recent], 1)
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
        found.append(_finding("collapsing", "warning", site, message, advice, share=share, projected_step=projected))
    return found


def drift(now: Now) -> list[Finding]:
    """Sites whose range has grown or shrunk by orders of magnitude since the first reports."""
    found, t = [], now.thresholds
    for site in now.sites:
        moments = now.history[site.name]["second_moment"]
        known = moments[np.isfinite(moments)]
        if len(known) < 3 or known[0] <= 0 or known[-1] <= 0:
            continue
        factor = float(known[-1] / known[0])
        if 1 / t.drift_warning < factor < t.drift_warning:
            continue
        word, size = ("grown", factor) if factor > 1 else ("shrunk", 1 / factor)
        level: Level = "error" if size >= t.growth_error else "warning"
        message = f"E z² has {word} {size:.3g} times since the first report"
        advice = (
            "The weights before it drift: look at their norm and the rate; normalisation or weight decay holds them."
        )
        found.append(_finding("drift", level, site, message, advice, factor=factor))
    return found


def depth(now: Now) -> list[Finding]:
    """The output's range or the gradient over depth, at this report."""
    t = now.thresholds
    moments = _known(now, "output_moment")
    found = []
    if len(moments) >= t.least_sites:
        (first, before), (last, after) = moments[0], moments[-1]
        factor = after / before if before > 0 else math.nan
        for word, size in (("grows", factor), ("decays", 1 / factor if factor > 0 else math.nan)):
            level = _level(size, t.growth_warning, t.growth_error)
            if level is not None:
                message = f"E h² {word} {size:.3g} times from {first.name!r} to this site"
                advice = "Initialise with the gain of the slope (`leaky.initialize`), or normalise between the layers."
                found.append(_finding("depth", level, last, message, advice, factor=factor))
    gradients = _known(now, "gradient")
    if len(gradients) >= t.least_sites and gradients[-1][1] > 0:
        ratio = (gradients[0][1] / gradients[-1][1]) ** 2
        for word, size in (("explodes", ratio), ("vanishes", 1 / ratio if ratio > 0 else math.inf)):
            level = _level(size, t.gradient_warning, t.gradient_error)
            if level is not None:
                message = f"the gradient {word}: its square changes by {size:.3g} from the last site to this one"
                advice = "Initialise with the gain of the slope (`leaky.initialize`), add shortcuts or normalisation."
                found.append(_finding("gradient-by-depth", level, gradients[0][0], message, advice, factor=ratio))
    return found


def gradient(now: Now) -> list[Finding]:
    """Sites at which the gradient is gone, or far above what it was."""
    found, t = [], now.thresholds
    alive = any(now.row[site.name]["gradient"] > 0 for site in now.sites)
    for site in now.sites:
        values = now.history[site.name]["gradient"]
        last = values[-1]
        if last == 0:
            nothing = values == 0
            since = len(values) - int(np.argmin(nothing[::-1])) if not nothing.all() else 0
            if now.history.samples[since:].sum() < now.needed:
                continue
            where = "at this site, though it arrives at others" if alive else "at any site"
            advice = "Nothing before it learns: look for dead units behind it, a detached value, a saturated loss."
            gone: Level = "error" if alive or not (values > 0).any() else "warning"
            found.append(_finding("no-gradient", gone, site, f"no gradient arrives {where}", advice))
            continue
        before = values[:-1][np.isfinite(values[:-1])][-32:]
        if len(before) < 5 or not np.isfinite(last) or np.median(before) <= 0:
            continue
        factor = float(last / np.median(before))
        level = _level(factor, t.spike_warning, t.spike_error)
        if level is not None:
            message = f"the gradient is {factor:.3g} times the median of the {len(before)} reports before"
            advice = "Look at this batch's data and labels; clipping the gradient keeps one batch from undoing many."
            found.append(_finding("gradient-spike", level, site, message, advice, factor=factor))
    return found if alive else found[:1]


def updates(now: Now) -> list[Finding]:
    """Layers whose one update is far too large for their weights."""
    found, t = [], now.thresholds
    for site in now.sites:
        ratio = now.row[site.name].get("update", math.nan)
        level = _level(ratio, t.update_warning, t.update_error)
        if level is not None:
            message = f"one step changes the weights behind it by {ratio:.3g} of their norm"
            advice = "The rate is too high for this layer: lower it, warm up, or clip the gradient."
            found.append(_finding("update-size", level, site, message, advice, ratio=ratio))
    return found


def locked(now: Now) -> list[Finding]:
    """Sites most of whose units are always on one side: linear, wasted."""
    found, t = [], now.thresholds
    for site in now.sites:
        share = now.row[site.name]["locked"]
        if not math.isnan(share) and share >= t.locked_warning and not site.gated:
            message = f"{share:.0%} of {site.units} units are always on one side on the last {now.needed:,} samples"
            advice = "They compute a linear function: look at the input's scale and at biases that ran away."
            found.append(_finding("locked", "warning", site, message, advice, share=share))
    return found


READ = (
    "stopped_warning",
    "collapse_share",
    "collapse_rise",
    "drift_warning",
    "spike_warning",
    "spike_error",
    "update_warning",
    "update_error",
)
"""Thresholds that alarms alone read."""

ALARMS: dict[str, Check] = {
    "non-finite": non_finite,
    "update-size": updates,
    "no-gradient": gradient,
    "gradient-spike": gradient,
    "depth": depth,
    "gradient-by-depth": depth,
    "drift": drift,
    "collapsing": collapsing,
    "stopped-firing": stopped_firing,
    "dead": dead,
    "locked": locked,
}
"""The rule behind each alarm's name, causes before consequences."""


@dataclass(eq=False)
class Raised:
    """Which alarms stand.

    Attributes:
        chosen: names of the alarms that may be raised.
        standing: the level of each that stands, by rule and site.
    """

    chosen: frozenset[str] = frozenset(ALARMS)
    standing: dict[tuple[str, str | None], Level] = field(default_factory=dict)

    def look(self, now: Now) -> list[Alarm]:
        """The alarms that are new at this report."""
        found = [finding for check in dict.fromkeys(ALARMS.values()) for finding in check(now)]
        found = [finding for finding in found if finding.rule in self.chosen]
        before, self.standing = self.standing, {(f.rule, f.site): f.level for f in found}
        return [Alarm(now.step, f) for f in found if level_rank(f.level) > level_rank(before.get((f.rule, f.site)))]


def _level(size: float, warning: float, error: float) -> Level | None:
    if math.isnan(size) or size < warning:
        return None
    return "error" if size >= error else "warning"


def _known(now: Now, figure: str) -> list[tuple[SiteNow, float]]:
    values: Mapping[str, dict[str, float]] = now.row
    pairs = [(site, values[site.name][figure]) for site in now.sites]
    return [(site, value) for site, value in pairs if math.isfinite(value)]

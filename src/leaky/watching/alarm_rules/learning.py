"""What reaches the weights: gradients that are gone, add up, are far above what they were, or the same everywhere."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.record import FloatArray
from leaky.watching.alarm_rules.now import LEAST_UNITS, Now, finding, level_of, stayed

USUAL = 32
"""Reports over which a gradient is usual."""
STAYED = 5
"""Reports that make a level of the gradient a usual one."""
ODD_INPUT = 4.0
"""Times as large as usual, from which on a batch's input is told beside a gradient that is far above the usual one."""
BoolArray = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
LESS = 0.75
"""Of the first E h², up to which a site gives less than at first."""
UNZEROED = 5
"""Steps in a row whose gradient was added to the one before that make a habit."""


def never_zeroed(now: Now) -> list[Finding]:
    """A loop that adds each step's gradient to all those before."""
    steps = now.loop.unzeroed
    if steps < UNZEROED:
        return []
    message = f"the gradient of each step is added to those of the steps before, {steps} times in a row: none is zeroed"
    advice = "Call optimizer.zero_grad() once a step, before the gradient is computed."
    return [finding("never-zeroed", "warning", None, message, advice, steps=steps)]


def _lived_with(values: FloatArray) -> float:
    """What the gradient began with, or the highest level at which it has stayed: a median of `STAYED` reports in a row.

    Late in a training the gradient may be next to nothing, and an odd batch many times it; one that is no larger than
    what the weights have taken in their stride before does no harm.
    """
    known = values[np.isfinite(values)]
    stayed = np.median(np.lib.stride_tricks.sliding_window_view(known, STAYED), axis=1)
    return float(max(known[0], stayed.max()))


def gradient(now: Now) -> list[Finding]:
    """Sites at which the gradient is gone, or far above what it was."""
    if now.loop.nothing_comes:
        message = "no gradient has come to any of the optimizer's parameters, at any of its steps"
        advice = (
            "Does the loss still hang together with the model (item(), numpy(), detach(), no_grad), and has the "
            "optimizer this model's parameters, and not those of a copy?"
        )
        return [finding("no-gradient", "error", None, message, advice)]
    found, t = [], now.thresholds
    alive = any(now.row[site.name]["gradient"] > 0 for site in now.sites)
    for site in now.but(_as_usual(now)):
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
            found.append(finding("no-gradient", gone, site, f"no gradient arrives {where}", advice))
            continue
        before = values[:-1][np.isfinite(values[:-1])][-USUAL:]
        if len(before) < STAYED or not np.isfinite(last) or last < t.spike_warning * before.min():
            continue  # a median is no less than the least
        usual = np.median(before)
        factor = float(last / usual) if usual > 0 else 0.0
        if factor < t.spike_warning:
            continue
        factor = min(factor, float(last / _lived_with(values[:-1])))
        level = level_of(factor, t.spike_warning, t.spike_error)
        if level is not None:
            message = f"the gradient is {factor:.3g} times the usual one"
            if now.input_jump >= ODD_INPUT:
                message += f", and a batch's input was {now.input_jump:.3g} times as large as those before"
            advice = "Look at this batch's data and labels; clipping the gradient keeps one batch from undoing many."
            found.append(finding("gradient-spike", level, site, message, advice, factor=factor))
    return found if alive else found[:1]


def _as_usual(now: Now) -> BoolArray:
    """At which sites a gradient arrives, and surely is not far above the last ones, all of which are known."""
    values = now.series("gradient")
    before, last = values[-USUAL - 1 : -1], values[-1]
    if len(before) < STAYED:
        return np.asarray(last != 0)
    usual = last < now.thresholds.spike_warning * before.min(axis=0)
    return np.asarray(usual & (last != 0) & np.isfinite(before.sum(axis=0)))


def cut_off(now: Now) -> list[Finding]:
    """Sites to which ever less of the gradient comes, beside what comes to the last one.

    What such a site gives is asked for no more: a code that is drawn to its prior, a branch that has been shut. Judged
    is E g² at it ÷ at the last site, the largest of the last three reports, beside the first report's; not at experts,
    whose part of the samples a router changes. A first gradient that is far too large falls so in healthy trainings
    too: half of the fall, on a logarithmic scale, must have come since the reports after the first, and it is a warning
    where the site gives less as well.
    """
    if len(now.sites) < 2 or now.samples < now.needed or len(now.history.steps) < 2 * STAYED:
        return []
    found, last = [], now.history[now.sites[-1].name]["gradient"] ** 2
    for site in now.but(_asked_for(now)):
        squares = now.history[site.name]["gradient"] ** 2
        good = np.isfinite(squares) & np.isfinite(last) & (squares > 0) & (last > 0)
        if good.sum() < 2 * STAYED or any(site.name.startswith(f"{name}.") for name in now.experts):
            continue
        share = squares[good] / last[good]
        left, since = (float(share[-3:].max() / start) for start in (share[0], share[1:STAYED].max()))
        if not left <= now.thresholds.cut_off or not since**2 <= now.thresholds.cut_off:
            continue
        given = now.history[site.name]["output_moment"]
        level: Level = "warning" if given[-1] <= LESS * given[0] else "info"
        message = f"beside what comes to {now.sites[-1].name!r}, E g² has fallen to {left:.2g} of what it was at first"
        advice = (
            "What this site gives is hardly asked for any more: look at a penalty or divergence that has shut the way "
            "from here to the loss, and at its weight."
        )
        found.append(finding("cut-off", level, site, message, advice, left=left))
    return found


def _asked_for(now: Now) -> BoolArray:
    """To which sites surely as much of the gradient comes as at first, and the last site, which others are beside."""
    first, now_ = now.series("gradient")[[0, -1]] ** 2
    with np.errstate(all="ignore"):
        left = (now_ / now_[-1]) / (first / first[-1])
    known = (left > now.thresholds.cut_off * (1 + 1e-9)) & (left < math.inf)
    known[-1] = True
    return np.asarray(known)


def pressed(now: Now) -> list[Finding]:
    """Sites at which the gradient is that of a penalty on what they give, and it has become less.

    A penalty on the size of values asks the same of every sample, one on their square asks of each unit in proportion
    to what it gives; what labels or targets ask for differs from sample to sample and from unit to unit.
    """
    found, t = [], now.thresholds
    for site in now.sites:
        row = now.row[site.name]
        if not (row["even"] >= t.even_gradient or row["proportional"] >= t.proportional_gradient):
            continue
        figures = now.history[site.name]
        moments = figures["output_moment"][np.isfinite(figures["output_moment"])]
        even, proportional = stayed(figures["even"]), stayed(figures["proportional"])
        left = float(moments[-1] / moments[0]) if len(moments) and moments[0] > 0 else math.nan
        if site.units < LEAST_UNITS or not left <= t.pressed_output:
            continue
        if even >= t.even_gradient:
            how = f"is of one size everywhere, (E|g|)² being {even:.3g} of E g²"
        elif proportional >= t.proportional_gradient:
            how = f"of each unit is proportional to what it gives, with a correlation of {proportional:.3g}"
        else:
            continue
        message = f"the gradient {how}, and E h² has fallen to {left:.2g} of what it was"
        advice = "One term outweighs what the samples say: look at penalties on these values, and at their weight."
        numbers = {"even": even, "proportional": proportional, "left": left}
        found.append(finding("pressed", "warning", site, message, advice, **numbers))
    return found

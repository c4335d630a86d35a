"""The weights: steps too long or too short for them, how they grow and shrink, and who else changes them."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.text import named
from leaky.watching.alarm_rules.now import Now, finding, level_of
from leaky.watching.weights import Series

STEADY = 5
"""Reports, or measured steps, in a row that make a habit."""
WHOLE = 0.5
"""Of the entries of a weight, from which on others change it as a whole."""
SAME_WAY = 0.9
"""Of the last step, from which on what others do may be part of what goes back several."""
ALONG = 0.6
"""Cosine from which on what others do goes back along a step."""
SURELY = 1 - 1e-9
"""Of a limit, what is beyond it in another order of the terms may be."""
STILL_ASKED = 0.5
"""Of the first gradient at the last site, from which on a training that stands still has not learned."""


def updates(now: Now) -> list[Finding]:
    """Layers whose one update is far too large for their weights."""
    found, t = [], now.thresholds
    for site in now.sites:
        ratio = now.row[site.name].get("update", math.nan)
        level = level_of(ratio, t.update_warning, t.update_error)
        if level is not None:
            message = f"one step changes the weights behind it by {ratio:.3g} of their norm"
            advice = "The rate is too high for this layer: lower it, warm up, or clip the gradient."
            if now.loop.searches:
                level, message = "info", f"{message}: many in one, for the optimizer searches by the loss"
            elif level == "warning" and _did_no_harm(now):
                level, message = "info", f"{message}, and the loss was never as high again as before the first step"
            found.append(finding("update-size", level, site, message, advice, ratio=ratio))
    return found if now.sites else _all_thrown(now)


def _did_no_harm(now: Now) -> bool:
    """Whether the first report is made, and every loss in it lies below that before the first step.

    Optimizers that add up squares begin with their longest step, and healthy trainings bear it.
    """
    return len(now.history.steps) == 1 and now.loop.course.fell_at_once


def _all_thrown(now: Now) -> list[Finding]:
    """A model without sites half of whose weights are changed by a step that is as long as they are."""
    ratios = {name: each.longest[-1] for name, each in now.loop.weights.items()}
    ratio = float(np.median(list(ratios.values()))) if ratios else math.nan
    if not ratio >= now.thresholds.update_error or now.loop.searches:
        return []
    message = f"one step changes half of the weights by {ratio:.3g} of their norm or more"
    advice = "The rate is too high: lower it, warm up, or clip the gradient."
    return [finding("update-size", "error", None, message, advice, ratio=ratio)]


def starved(now: Now) -> list[Finding]:
    """Weights to which next to no gradient comes beside the others, report after report.

    Judged is ‖g‖·‖W‖, which in a chain of rectified layers is the same for all of them up to how samples differ,
    however their weights are scaled. A gate that is shut, an attention or a squashing function that is saturated, and a
    factor that is next to 0 leave those behind them without. So does a head that begins small beside another whose loss
    is large, as an actor's beside its critic: no more than a hint.
    """
    last = {name: each for name, each in _long_known(now).items() if 0 < each.asked[-1] < math.inf}
    asked = [each.asked[-1] for each in last.values()]
    if not asked or min(asked) > now.thresholds.starved_weight * max(asked):
        return []
    kept = {name: np.array(each.asked)[-STEADY:] for name, each in last.items()}
    known = {name: each for name, each in kept.items() if each.min() > 0 and each.max() < math.inf}
    if len(known) < 2:
        return []
    most = np.max(list(known.values()), axis=0)
    shares = {name: float((each / most).max()) for name, each in known.items()}
    left = {name: share for name, share in shares.items() if share <= now.thresholds.starved_weight}
    if not left:
        return []
    least = min(left, key=left.__getitem__)
    rest = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
    message = (
        f"next to no gradient comes to {named(least)}{rest}: ‖g‖·‖W‖ is {left[least]:.2g} of the largest, report after "
        "report"
    )
    advice = (
        "What lies behind it lets next to nothing back: look for gates that are shut, softmax, sigmoid or tanh that "
        "saturate, factors next to 0."
    )
    return [finding("starved", "info", None, message, advice, weights=list(left), share=left[least])]


def steady_updates(now: Now) -> list[Finding]:
    """Weights every one of whose measured steps is long, report after report, though none of them alone is too long."""
    limit = now.thresholds.update_steady
    last = {name: each.longest for name, each in _long_known(now).items() if each.longest[-1] >= limit}
    least = {name: min(list(each)[-STEADY:]) for name, each in last.items()}
    long = {name: ratio for name, ratio in least.items() if ratio >= limit}
    if not long or now.loop.searches:
        return []
    message = (
        f"step after step changes {_worst(long)} by {max(long.values()):.3g} of its norm or more, over {STEADY} reports"
    )
    advice = "Weights that move so far at each step do not settle: lower the rate; look at momentum and schedule."
    return [finding("steady-updates", "warning", None, message, advice, weights=list(long), ratios=list(long.values()))]


def tiny_updates(now: Now) -> list[Finding]:
    """A training no step of which has changed any weight to speak of, though gradients arrive."""
    known = _long_known(now)
    arrives = any(now.row[site.name]["gradient"] > 0 for site in now.sites)
    arrives = arrives or any(each.asked[-1] > 0 for each in known.values())
    largest = max((each.most for each in known.values()), default=math.nan)
    enough = now.samples >= now.needed and len(known) == len(now.loop.weights)
    if not (arrives and enough and largest <= now.thresholds.update_tiny):
        return _come_to_a_stop(now) or _rounded_away(now)
    if largest == 0:
        message = "gradients arrive, and no step has changed any weight"
        advice = "Does the optimizer hold this model's parameters, and not those of a copy? Is its rate above 0?"
    else:
        message = f"no step has changed any weight by more than {largest:.2g} of its norm"
        advice = "At this speed nothing is learned: look at the rate, at clipping, at the scale of the loss."
    return [finding("tiny-updates", "warning", None, message, advice, largest=largest)]


def _come_to_a_stop(now: Now) -> list[Finding]:
    """Weights none of which moves any more, though the last site is asked for as much as at first."""
    known = _long_known(now)
    if not known or len(known) < len(now.loop.weights):
        return []
    if max(each.longest[-1] for each in known.values()) > now.thresholds.update_tiny:
        return []
    gradients = [now.history[site.name]["gradient"] for site in now.sites[-1:]]
    if len(gradients[0] if gradients else ()) < STEADY:
        return []
    largest = max(max(list(each.longest)[-STEADY:]) for each in known.values())
    first, last = float(gradients[0][0]), float(gradients[0][-STEADY:].min())
    share = last / first if 0 < first < math.inf else math.nan
    if not (largest <= now.thresholds.update_tiny and share >= STILL_ASKED):
        return []
    message = (
        f"steps have come to a stop: over {STEADY} reports none has changed any weight by more than {largest:.2g} of "
        f"its norm, and the gradient at the last site is {share:.2g} of the first one"
    )
    advice = "The rate has fallen before anything was learned: look at the schedule, and at what its steps count."
    return [finding("tiny-updates", "warning", None, message, advice, largest=largest, share=share)]


def _rounded_away(now: Now) -> list[Finding]:
    """Weights in half precision, more than half of those there are, whose steps are lost in rounding since the start.

    Next to no entry moves, though a gradient reaches it. A rate that still rises is another matter, and so are weights
    none of which moves: the optimizer may not have them.
    """
    known = {name: each.moved for name, each in _long_known(now).items() if each.moved > 0}
    lost = {name: share for name, share in known.items() if share <= now.thresholds.update_moved}
    if now.loop.rate_rise > 1 or 2 * len(lost) <= len(known):
        return []
    message = (
        f"a step moves {max(lost.values()):.1%} at most of the entries of {_worst(lost)} that get a gradient: to the "
        "others it adds less than half of the last digit that half precision keeps, and nothing is left of it"
    )
    advice = "Keep the weights in float32 and compute under torch.autocast, round at random, or look at the rate."
    return [finding("tiny-updates", "warning", None, message, advice, weights=list(lost), moved=max(lost.values()))]


def to_and_fro(now: Now) -> list[Finding]:
    """Steps after each of which the gradient points back along the step: all weights go across a valley and back.

    Judged is the cosine of ΔW, of all weights together, with the gradient that comes next, over the measured steps of
    some reports: about −1 where steps are short, and about 0 where batches differ. Where they are short beside the
    weights, as at the edge of stability of a batch that is the whole set, the loss may fall all the same.
    """
    if _goes_on(now):
        return []
    kept = [np.concatenate(list(each.answers)[-STEADY:])[1:] for each in _long_known(now).values()]
    known = [each for each in kept if np.isfinite(each).all()]  # nobody knows what came before the very first
    if not known or len({len(each) for each in known}) > 1:
        return []
    across, changes, gradients = np.sum(known, axis=0).T
    if not (changes * gradients > 0).all():
        return []
    least = float((across / np.sqrt(changes * gradients)).min())
    if least < now.thresholds.step_back:
        return []
    message = (
        f"after each measured step of {STEADY} reports the gradient points straight back, the cosine of the step with "
        f"the next gradient being {least:.3g} or more: the weights go to and fro"
    )
    advice = "The rate is at the edge of what this loss allows: lower it, or let it fall over the steps."
    longest = max(min(list(each.longest)[-STEADY:]) for each in _long_known(now).values())
    level: Level = "warning" if longest >= now.thresholds.update_steady else "info"
    return [finding("to-and-fro", level, None, message, advice, cosine=least, ratio=longest)]


def _goes_on(now: Now) -> bool:
    """Whether the last measured step of all weights, each of whose answers is known, was surely not taken back."""
    known = [each for each in now.loop.weights.values() if each.reports >= STEADY]
    if any(each.answered < STEADY for each in known):
        return False
    across, changes, gradients = (sum(each.answers[-1][-1][part] for each in known) for part in range(3))
    return not known or across < SURELY * now.thresholds.step_back * math.sqrt(changes * gradients)


def weight_size(now: Now) -> list[Finding]:
    """Weights that grow, or shrink, by a steady share of their size at each step."""
    found, t = [], now.thresholds
    moves = {name: each for name, each in now.loop.weights.items() if abs(each.speed) >= SURELY * t.weight_speed}
    speeds = {name: each.speeds(STEADY - 1) for name, each in moves.items()}
    speeds = {name: each for name, each in speeds.items() if len(each)}
    growing = {
        name: float(each.min())
        for name, each in speeds.items()
        if each.min() >= t.weight_speed and now.loop.weights[name].gain >= t.weight_gain
    }
    shrinking = {name: float(-each.max()) for name, each in speeds.items() if -each.max() >= t.weight_speed}
    for word, each, advice in (
        ("grows", growing, "Look at the rate, at the momentum, and at gradients that nobody zeroes."),
        ("shrinks", shrinking, "Look at weight decay, which a rate multiplies, and at penalties on the weights."),
    ):
        if each:
            message = f"{_worst(each)} {word} by {math.expm1(max(each.values())):.1%} or more at each step"
            found.append(finding("weight-size", "warning", None, message, advice, weights=list(each)))
    return found[:1]


def changed_aside(now: Now) -> list[Finding]:
    """Weights that something else than the optimizer makes larger, or smaller, step after step, or puts back.

    What holds weights to a norm takes back what the optimizer did, and is no trouble: judged is what both do together,
    where most of it is the other's. Nor is what holds entries within a bound, or some of them at 0, which leaves others
    as they are, nor what goes back along the last steps at every so many of them, as optimizers that look ahead do.
    """
    least = now.thresholds.changed_aside
    last = {name: each for name, each in now.loop.weights.items() if each.aside and abs(each.aside[-1]) >= least}
    changed = {name: abs(_habit(each)) for name, each in last.items()}
    changed = {name: share for name, share in changed.items() if share >= least}
    if not changed:
        return _put_back(now)
    message = (
        f"something else than the optimizer changes {_worst(changed)} between its steps: its norm by "
        f"{max(changed.values()):.2%} a step"
    )
    advice = "Look for code of your own that scales, averages or decays weights in the loop, and at its factor."
    return [finding("changed-aside", "warning", None, message, advice, weights=list(changed))]


def _put_back(now: Now) -> list[Finding]:
    """All weights, where each measured step was taken back before the next: that one alone, and nearly all of it.

    What goes back some steps at once, as an optimizer that looks ahead does, takes back more than the last of them, or
    part of it.
    """
    weights = now.loop.weights.values()
    if any(not each.undone or not each.undone[-1][0] >= WHOLE for each in weights):
        return []
    kept = [np.array(each.undone)[-STEADY:] for each in weights]
    if not kept or min(len(each) for each in kept) < STEADY:
        return []
    touched, shares, cosines = np.concatenate(kept).T
    least = now.thresholds.taken_back
    if not (touched.min() >= WHOLE and shares.min() >= least and shares.max() <= 2 - least and cosines.min() >= least):
        return []
    message = f"something else than the optimizer takes back {shares.min():.1%} or more of each of its steps"
    advice = (
        "Look for code of your own that writes to the weights in the loop: an average of them, a copy or a saved state "
        "that is put in their place."
    )
    return [finding("changed-aside", "warning", None, message, advice, share=float(shares.min()))]


def _habit(each: Series) -> float:
    """The growth of ‖W‖ a step that others than the optimizer make, the least of the last steps; 0 where it is none."""
    by_others, by_both = np.array(each.aside)[-STEADY:], (np.array(each.aside) + np.array(each.grown))[-STEADY:]
    if len(by_others) < STEADY or not np.isfinite(by_both).all():
        return 0.0
    touched, shares, cosines = np.array(each.undone)[-STEADY:].T
    if touched.min() < WHOLE or ((shares >= SAME_WAY) & (cosines >= ALONG)).all():
        return 0.0
    sign = np.sign(by_both[-1])
    least = float(np.minimum(sign * by_others, 2 * sign * by_both).min())
    return max(0.0, least) / 2 * float(sign)


def _long_known(now: Now) -> dict[str, Series]:
    return {name: each for name, each in now.loop.weights.items() if each.reports >= STEADY}


def _worst(sizes: dict[str, float]) -> str:
    """The weight with the largest, and how many others there are."""
    rest = len(sizes) - 1
    others = f" (and {rest} weight{'s' * (rest > 1)} more)" if rest else ""
    return f"{named(max(sizes, key=sizes.__getitem__))}{others}"

"""What to do about inactive units: a hypothesis from this site's own sums, and the command that decides it.

A leak is suggested only within its limits: where the site's E h² grows by no more than half, where slope 0 is what
blocks, and never where the cause is another (a constant input, a bound, saturation). The numbers are facts for any
slope, see `Site.output_moments`; what the change is worth only training tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.harm import Cost
from leaky.record import BEYOND_HIGH, BEYOND_LOW, Site
from leaky.text import counted

SLOPES = (0.2, 0.1, 0.05, 0.02, 0.01)
"""Slopes worth suggesting, the one that passes most gradient first: those in common use."""

MOST_GROWTH = 1.5
"""How far a suggested slope may raise a site's E h²; a trained network's next layer stands that much."""

FAR_BELOW = 1.0
"""Standard deviations below the threshold from which on a unit's mean is told: its bias has left the data."""


@dataclass(frozen=True)
class Suggestion:
    """A slope for a site, and what it would do to the site's E h², the input held as it is.

    Attributes:
        negative_slope: α.
        before: E h² as it is, mean over the units.
        after: E h² under α.
    """

    negative_slope: float
    before: float
    after: float

    def __str__(self) -> str:
        return f"a slope of about {self.negative_slope:g} (E h² here × {self.after / self.before:.3g})"


def suggest_slope(site: Site) -> Suggestion | None:
    """The largest slope in use that raises the site's E h² by no more than half; None if every one raises it more."""
    before = second_moment(site)
    if site.smooth or not before > 0:
        return None
    for slope in SLOPES:
        after = second_moment(site, slope)
        if after <= MOST_GROWTH * before:
            return Suggestion(slope, before, after)
    return None


def test_of(suggestion: Suggestion) -> str:
    """The one command that decides whether a slope is worth it."""
    return f"`leaky tune TASK --slopes 0 {suggestion.negative_slope:g}`"


def second_moment(site: Site, negative_slope: float | None = None) -> float:
    """E h² over the site's units, 0 where nothing finite was seen."""
    if site.smooth and site.statistics.output_squares is None:
        return 0.0
    values = site.output_moments(negative_slope).second_moment
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


def for_inactive(context: Context, site: Site, units: Sequence[int], cost: Cost) -> str:
    """What to do about units that pass no gradient, by what that costs."""
    noise = (
        "Look again on real data first: what is dead on noise may be alive there. " if context.record.on_noise else ""
    )
    constant = set(context.verdicts[site.name].constant) & set(units)
    beyond = set(_held(site, units)) - constant
    others = [unit for unit in units if unit not in constant and unit not in beyond]
    words = [_remedy(site, others, cost)] if others else []
    if beyond:
        words.append(
            f"{counted(len(beyond), 'unit')} stayed beyond a bound of the activation, where a slope below the "
            "threshold does not reach: smaller weights, a lower learning rate or a wider bound would."
        )
    if constant:
        words.append(
            f"{counted(len(constant), 'unit')} got a constant input, which no slope changes: look at the weights "
            "before."
        )
    return noise + " ".join(words)


def _remedy(site: Site, units: Sequence[int], cost: Cost) -> str:
    if cost.level == "info":
        return (
            "Leave them: nothing shows that they are missed, and a leak would hardly change the result. Removing them "
            f"costs nothing{_unless_taken(site)} (`leaky prune`)."
            if len(units) < site.units
            else "Leave it, or remove the branch: nothing shows that it is missed."
        )
    if site.smooth:
        return (
            "The activation is saturated and passes no gradient: smaller incoming weights, a standardised input or a "
            f"lower rate; a leak is not the question. {_TRY}"
        )
    suggestion = suggest_slope(site)
    leak = (
        "no slope in use stays within × 1.5 of E h² here, so a leak is not what to try first"
        if suggestion is None
        else f"{suggestion}, which {test_of(suggestion)} decides"
    )
    return f"{_place(site, units)}{_CAUSE} {_TRY} As for a leak: {leak}."


def _unless_taken(site: Site) -> str:
    """A condition, where a path leads around the site: their pre-activations may be used there."""
    return " where nothing else takes their pre-activations" if site.bypassed else ""


_CAUSE = (
    "Look for the cause first: too large a learning rate, or the initialisation if they never lived (`initial=` tells)."
)
_TRY = (
    "Then try `leaky repair MODEL --data DATA --validate CODE --train CODE`: it moves biases, renews units, and keeps "
    "only what trains better."
)


def _place(site: Site, units: Sequence[int]) -> str:
    """How far below the threshold the units lie, where that says that their biases threw them there."""
    chosen = list(units)
    spread = np.sqrt(site.variance[chosen])
    below = (site.threshold - site.mean[chosen])[spread > 0] / spread[spread > 0]
    if not len(below) or np.median(below) < FAR_BELOW:
        return ""
    return (
        f"Their pre-activations lie {np.median(below):.2g} standard deviations below the threshold: a matter of "
        "biases. "
    )


def _held(site: Site, units: Sequence[int]) -> list[int]:
    """The units of which most elements lay beyond a bound."""
    counts = site.statistics.counts
    beyond = counts[BEYOND_LOW] + counts[BEYOND_HIGH]
    return [unit for unit in units if 2 * beyond[unit] > site.statistics.elements[unit]]

"""What to do about inactive units: whether a leaky slope would help here, and roughly which.

The answer must come from this site's own sums (facts for any slope, see `Site.output_moments`), and must say when a
leak is not the remedy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.wording import plural
from leaky.record import BEYOND_HIGH, BEYOND_LOW, Site

SLOPES = (0.2, 0.1, 0.05, 0.02, 0.01)
"""Slopes worth suggesting, the one that passes most gradient first: those in common use."""

MOST_GROWTH = 1.5
"""How far a suggested slope may raise a site's E h²; a trained network's next layer stands that much."""

DIED_OUT = 0.1
"""The slope suggested where a site has no output left, whose range could be kept: a middle one of those in use."""


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
        if self.before <= 0:
            return f"a slope of about {self.negative_slope:g}"
        return f"a slope of about {self.negative_slope:g} (E h² here × {self.after / self.before:.3g})"


def suggest_slope(site: Site) -> Suggestion:
    """The largest slope in use that raises the site's E h² by no more than half, the smallest if all raise it more."""
    before = second_moment(site)
    if not before > 0:
        return Suggestion(DIED_OUT, 0.0, second_moment(site, DIED_OUT))
    for slope in SLOPES:
        after = second_moment(site, slope)
        if after <= MOST_GROWTH * before:
            break
    return Suggestion(slope, before, after)


def second_moment(site: Site, negative_slope: float | None = None) -> float:
    """E h² over the site's units, 0 where nothing finite was seen."""
    if site.smooth and site.statistics.output_squares is None:
        return 0.0
    values = site.output_moments(negative_slope).second_moment
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else 0.0


def for_inactive(context: Context, site: Site, units: Sequence[int], share: float) -> str:
    """What to do about units that pass no gradient, `share` of the site's."""
    noise = (
        "Look again on real data first: what is dead on noise may be alive there. " if context.record.on_noise else ""
    )
    if site.is_output:
        return noise + (
            "If the targets leave this range, end the model without a rectifier (or with Softplus): the loss "
            "passes no gradient through these outputs. If they do not, nothing is wrong."
        )
    constant = set(context.verdicts[site.name].constant) & set(units)
    beyond = set(_held(site, units)) - constant
    words = [_remedy(context, site, share)] if len(units) > len(constant) + len(beyond) else []
    if beyond:
        words.append(
            f"{plural(len(beyond), 'unit')} stayed beyond a bound of the activation, where a slope below the threshold "
            "does not reach: smaller weights, a lower learning rate or a wider bound would."
        )
    if constant:
        words.append(
            f"{plural(len(constant), 'unit')} got a constant input, which no slope changes: look at the weights before."
        )
    return noise + " ".join(words)


def _remedy(context: Context, site: Site, share: float) -> str:
    if share <= context.thresholds.few:
        return (
            "Too few to matter: leave them. A leaky slope would hardly change the result, and removing dead units "
            "costs no accuracy."
        )
    if share < context.thresholds.dead_warning:
        return (
            "Networks that train well carry this many: if the score is good enough, leave them, or remove them for "
            f"free. If capacity is short, {_leak(site)}"
        )
    return f"A leak helps here: {_leak(site)} {_CAUSE}"


_CAUSE = (
    "Look for the cause as well: too large a learning rate, biases far below 0, unnormalised input, or (if dead from "
    "the start) the initialisation."
)


def _leak(site: Site) -> str:
    if site.smooth:
        return "the activation is saturated and passes no gradient; a Leaky ReLU in its place would."
    suggestion = suggest_slope(site)
    alive = "" if suggestion.before > 0 else "; nothing comes out now, so re-initialise the incoming weights as well"
    return f"{suggestion} would pass {suggestion.negative_slope:.0%} of the gradient to them{alive}."


def _held(site: Site, units: Sequence[int]) -> list[int]:
    """The units of which most elements lay beyond a bound."""
    counts = site.statistics.counts
    beyond = counts[BEYOND_LOW] + counts[BEYOND_HIGH]
    return [unit for unit in units if 2 * beyond[unit] > site.statistics.elements[unit]]

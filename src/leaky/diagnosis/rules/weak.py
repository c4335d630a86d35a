"""Units that are alive and hardly count: dormant, constant, starved of gradient, practically linear."""

from __future__ import annotations

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Evidence, Finding
from leaky.diagnosis.harm import unless_learned
from leaky.diagnosis.rules.advice import suggest_slope, test_of
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.verdicts import Units, dormant_scores, starved_scores
from leaky.diagnosis.wording import evidence, level_by_share, seen_on, span, subject, verb
from leaky.record import BELOW, BEYOND_HIGH, BEYOND_LOW, Site
from leaky.text import counted


@rule(
    "dormant",
    concern="weak-units",
    summary="units whose output is small beside the others' (ReDo), inactive ones apart",
    thresholds=("dormant_score", "dormant_warning", "least_samples", "learned"),
)
@at_each_site
def dormant(context: Context, site: Site) -> Finding | None:
    """A site with units that are dormant without being inactive, which other rules tell."""
    verdicts, t = context.verdicts[site.name], context.thresholds
    units = _without(verdicts.dormant, verdicts.dead, verdicts.unproven, verdicts.nearly_dead)
    if not units or site.is_output:
        return None
    scores = dormant_scores(site)[list(units)]
    return Finding(
        rule="dormant",
        level=unless_learned(context, site, level_by_share(len(units) / site.units, t.dormant_warning)),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'is', 'are')} dormant {seen_on(context.record, site)}: E|h| is at "
            f"most {scores.max():.2g} of the site's mean (limit {t.dormant_score:g})"
        ),
        evidence=_numbers(
            site, units, scores=scores, limit=t.dormant_score, dormant_and_inactive=len(verdicts.dormant) - len(units)
        ),
        advice=_dormant_advice(context, site, units),
    )


def _dormant_advice(context: Context, site: Site, units: Units) -> str:
    """A leak helps where the rectifier makes the output small; not where the pre-activation is small itself."""
    rectified = [unit for unit in units if _mostly_flat(context, site, unit)]
    weak = len(units) - len(rectified)
    words = []
    if weak:
        words.append(
            f"{counted(weak, 'unit')}: the pre-activation itself is small, so no slope helps; re-initialise the "
            "incoming weights (ReDo) if the task goes on changing, else leave or remove them."
        )
    if rectified:
        words.append(
            f"{counted(len(rectified), 'unit')}: the rectifier cuts most of it. {_under_a_leak(site, rectified)}"
        )
    return " ".join(words)


def _under_a_leak(site: Site, units: list[int]) -> str:
    """Their score under the suggested slope, and what decides whether it is worth it."""
    suggestion = suggest_slope(site)
    if suggestion is None:
        return "No slope in use stays within × 1.5 of E h² here; raise their biases, or renew them (`leaky repair`)."
    output = site.output_moments(suggestion.negative_slope).absolute_mean
    score = np.median(output[units]) / np.nanmean(output)
    return f"Under {suggestion} the score would be {score:.2g}; {test_of(suggestion)} decides whether that helps."


def _mostly_flat(context: Context, site: Site, unit: int) -> bool:
    """Whether the unit's output is small because it seldom fires under a slope that is practically 0."""
    squares = site.statistics.squares[:, unit]
    small = abs(site.derivative[BELOW, unit]) <= context.thresholds.dead_derivative
    return bool(not site.smooth and small and squares[BELOW] > 0.9 * squares.sum())


@rule(
    "constant",
    concern="weak-units",
    summary="units whose pre-activation has practically one value",
    thresholds=("constant_range", "constant_warning", "learned", "delta", "rate", "units_examined"),
)
@at_each_site
def constant(context: Context, site: Site) -> Finding | None:
    """A site with constant units."""
    units = context.verdicts[site.name].constant
    if not units:
        return None
    low, high = site.statistics.minimum[list(units)], site.statistics.maximum[list(units)]
    return Finding(
        rule="constant",
        level=unless_learned(
            context, site, level_by_share(len(units) / site.units, context.thresholds.constant_warning)
        ),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'has', 'have')} a constant pre-activation "
            f"{seen_on(context.record, site)}: it varies by at most {(high - low).max():.2g}"
        ),
        evidence=_numbers(
            site,
            units,
            samples_needed=context.samples_needed,
            widest_range=(high - low).max(),
            values=(low + high) / 2,
            whole_site=_all_constant(site, context.thresholds.constant_range) and not site.bypassed,
        ),
        advice=(
            "Nothing of the input arrives: look for incoming weights that are all 0, a pruned or frozen layer, or a "
            "dead site before this one. No slope changes a constant; such a unit can be removed by adding its value to "
            "the next bias."
        ),
    )


def _all_constant(site: Site, limit: float) -> bool:
    """Whether no unit varies by more than rounding beside the largest that the site computes."""
    low, high = site.statistics.minimum, site.statistics.maximum
    return bool((high - low).max() <= limit * np.maximum(np.abs(low), np.abs(high)).max())


@rule(
    "gradient-starved",
    concern="weak-units",
    summary="units that fire and get practically no gradient",
    thresholds=("starved_score", "starved_warning", "least_samples", "learned"),
)
@at_each_site
def gradient_starved(context: Context, site: Site) -> Finding | None:
    """A site with starved units, where a loss was given; that a nearly dead unit gets little is no news."""
    verdicts, scores, t = context.verdicts[site.name], starved_scores(site), context.thresholds
    units = _without(verdicts.starved, verdicts.nearly_dead)
    if not units or scores is None:
        return None
    theirs = scores[list(units)]
    return Finding(
        rule="gradient-starved",
        level=unless_learned(context, site, level_by_share(len(units) / site.units, t.starved_warning)),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'fires and gets', 'fire and get')} practically no gradient "
            f"{seen_on(context.record, site)}: up to {theirs.max():.2g} of the site's mean (limit {t.starved_score:g})"
        ),
        evidence=_numbers(site, units, scores=theirs, limit=t.starved_score),
        advice=(
            "Little of the loss depends on them: look at their outgoing weights (near 0?) and at the sites after this "
            "one. A slope here does not bring a gradient that does not arrive."
        ),
    )


@rule(
    "practically-linear",
    concern="linear",
    summary="units whose slope is so near 1 that the kink hardly bends",
    thresholds=("linear_distance", "linear_warning"),
)
@at_each_site
def practically_linear(context: Context, site: Site) -> Finding | None:
    """A site with slopes near 1, where no bound of the activation was reached."""
    units = _linear_units(site, context.thresholds.linear_distance)
    if not units or site.is_output:
        return None
    slopes = site.negative_slope[list(units)]
    bend = ((1 - slopes) ** 2 / (1 + slopes**2)).max()
    return Finding(
        rule="practically-linear",
        level=level_by_share(len(units) / site.units, context.thresholds.linear_warning),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'is', 'are')} practically linear: a slope of {span(slopes)} bends "
            f"the correlation of two inputs at most {bend:.1%} as much as ReLU does"
        ),
        evidence=_numbers(site, units, slope_min=slopes.min(), slope_max=slopes.max(), bend_relative_to_relu=bend),
        advice=(
            "Where all units of a site are linear, the layers on both sides are one: take a smaller slope (.2 bends "
            "62% as much as ReLU), or keep a learned one from 1. A few such units are harmless."
        ),
    )


def _linear_units(site: Site, distance: float) -> Units:
    if site.smooth or site.value != 0 or site.threshold != 0:
        return ()
    counts = site.statistics.counts
    unbounded = counts[BEYOND_LOW] + counts[BEYOND_HIGH] == 0
    near = np.abs(1 - site.negative_slope) <= distance
    return tuple(int(unit) for unit in np.flatnonzero(near & unbounded))


def _numbers(site: Site, units: Units, **more: object) -> dict[str, Evidence]:
    """The evidence that every finding on single units carries."""
    return evidence(units=len(units), of_units=site.units, share=len(units) / site.units, samples=site.samples, **more)


def _without(units: Units, *others: Units) -> Units:
    apart = {unit for other in others for unit in other}
    return tuple(unit for unit in units if unit not in apart)

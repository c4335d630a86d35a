"""Units that pass no gradient, or always the same: dead, silent so far, nearly dead, locked on a side.

Each finding names the n behind it and the bound that n gives for all units of the record at once.
"""

from __future__ import annotations

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Evidence, Finding, Level
from leaky.diagnosis.rules.advice import for_inactive, suggest_slope
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.verdicts import Units, active_samples, evidence_samples
from leaky.diagnosis.wording import evidence, level_by_share, percent, plural, seen_on, span, subject, verb
from leaky.record import Site

EVIDENCE = ("delta", "rate", "units_examined")
"""The thresholds of the bound."""


@rule(
    "dead",
    concern="inactive",
    summary="units whose derivative is practically 0 on everything seen, on enough samples",
    thresholds=("dead_derivative", "few", "dead_warning", "dead_error", *EVIDENCE),
)
@at_each_site
def dead(context: Context, site: Site) -> Finding | None:
    """A site with dead units."""
    units, t = context.verdicts[site.name].dead, context.thresholds
    if not units:
        return None
    share = len(units) / site.units
    return Finding(
        rule="dead",
        level=level_by_share(share, t.dead_warning, t.dead_error),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'is', 'are')} dead {seen_on(context.record, site)}: a derivative of "
            f"practically 0 on every element. {_certainty(context, site, units, _event(context, site, units))}"
        ),
        evidence=_numbers(context, site, units, silent=len(_silent(context, site, units))),
        advice=for_inactive(context, site, units, share=share),
    )


@rule(
    "silent-so-far",
    concern="inactive",
    summary="units that would be dead or locked, on too few samples to say so",
    thresholds=("silent_warning", "least_samples", "dead_derivative", *EVIDENCE),
)
@at_each_site
def silent_so_far(context: Context, site: Site) -> Finding | None:
    """A site with unproven units, or that no sample reached."""
    units = context.verdicts[site.name].unproven
    if not units and (site.samples or not site.units):
        return None
    judged = site.samples >= context.thresholds.least_samples and not site.is_output
    samples = _least_evidence(site, units)
    missing = context.samples_needed - samples
    return Finding(
        rule="silent-so-far",
        level=level_by_share(len(units) / site.units if judged else 0.0, context.thresholds.silent_warning),
        site=site.name,
        units=units,
        message=_so_far(context, site, units, samples),
        evidence=_numbers(context, site, units, samples_missing=missing),
        advice=(
            f"Not enough data to say more: show it {missing:,} more independent samples, or allow a higher `rate` or "
            "`delta`."
        ),
    )


def _so_far(context: Context, site: Site, units: Units, samples: int) -> str:
    if not units:
        return f"no sample came through here: nothing can be said of its {plural(site.units, 'unit')}"
    spoilt = site.samples - samples
    among = f" ({spoilt:,} of them perhaps spoilt by non-finite elements)" if spoilt else ""
    silent = len(_silent(context, site, units)) == len(units)
    return (
        f"{subject(site, units)} {verb(units, 'was', 'were')} {'silent' if silent else 'silent or flat'} so far, "
        f"{seen_on(context.record, site)}{among}. To call {verb(units, 'it', 'them')} dead or locked, among "
        f"{plural(context.units_examined, 'unit')}, takes {context.samples_needed:,}. "
        f"{_certainty(context, site, units, _event(context, site, units))}"
    )


@rule(
    "nearly-dead",
    concern="inactive",
    summary="units that fire so rarely that they hardly learn",
    thresholds=("nearly_dead_rate", "nearly_dead_warning", "dead_derivative", *EVIDENCE),
)
@at_each_site
def nearly_dead(context: Context, site: Site) -> Finding | None:
    """A site with nearly dead units."""
    units, t = context.verdicts[site.name].nearly_dead, context.thresholds
    if not units:
        return None
    share = len(units) / site.units
    active = active_samples(site, t.dead_derivative)[list(units)]
    most = int(active.max())
    return Finding(
        rule="nearly-dead",
        level="info" if site.is_output else level_by_share(share, t.nearly_dead_warning),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'is', 'are')} nearly dead: active on {span(active)} "
            f"{'sample' if most == 1 else 'samples'} and flat on the rest {seen_on(context.record, site)}. "
            f"{_certainty(context, site, units, 'is active', most)}"
        ),
        evidence=_numbers(context, site, units, most, active_samples=active),
        advice=_nearly_dead_advice(context, site, share),
    )


def _nearly_dead_advice(context: Context, site: Site, share: float) -> str:
    rare = "A unit that fires rarely may detect something rare: look at the samples on which it fires."
    if site.is_output:
        return rare
    if site.smooth or share < context.thresholds.nearly_dead_warning:
        return f"{rare} So few cost little, and a leaky slope would change little."
    return f"{rare} If they are dying, {suggest_slope(site)} lets them learn from the other samples too."


@rule(
    "locked-negative",
    concern="inactive",
    summary="units always below the threshold under a slope that is not small: linear, wasted",
    thresholds=("dead_derivative", "locked_warning", *EVIDENCE),
)
@at_each_site
def locked_negative(context: Context, site: Site) -> Finding | None:
    """A site with units locked below the threshold."""
    units = _varying(context, site, context.verdicts[site.name].locked_negative)
    if not units:
        return None
    slopes = site.gain * site.negative_slope[list(units)]
    return Finding(
        rule="locked-negative",
        level=_locked_level(context, site, units),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} never fired {seen_on(context.record, site)}: only the slope {span(slopes)} was "
            f"used, so {verb(units, 'it is', 'they are')} linear. {_certainty(context, site, units, 'fires')}"
        ),
        evidence=_numbers(context, site, units, slope_min=slopes.min(), slope_max=slopes.max()),
        advice=(
            "They still learn through the slope and may come back by themselves: compare with a later record. A larger "
            "slope would not unlock them; biases nearer to 0 or normalised pre-activations would."
        ),
    )


@rule(
    "locked-positive",
    concern="always-on",
    summary="units always above the threshold: linear, wasted",
    thresholds=("dead_derivative", "locked_warning", *EVIDENCE),
)
@at_each_site
def locked_positive(context: Context, site: Site) -> Finding | None:
    """A site with units locked above the threshold; an output that is always positive is as it should be."""
    units = _varying(context, site, context.verdicts[site.name].locked_positive)
    if not units or site.is_output:
        return None
    lowest = site.statistics.minimum[list(units)].min()
    return Finding(
        rule="locked-positive",
        level=_locked_level(context, site, units),
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'was', 'were')} always on, {seen_on(context.record, site)}, so "
            f"{verb(units, 'it is', 'they are')} linear. {_certainty(context, site, units, 'is off')}"
        ),
        evidence=_numbers(context, site, units, lowest_pre_activation=lowest),
        advice=(
            "They pass every gradient and only lack a kink: no slope below the threshold is ever used there. Biases "
            "nearer to 0 or normalised pre-activations would give it back."
        ),
    )


def _locked_level(context: Context, site: Site, units: Units) -> Level:
    if site.is_output:
        return "info"
    return level_by_share(len(units) / site.units, context.thresholds.locked_warning)


def _varying(context: Context, site: Site, units: Units) -> Units:
    """Without the constant ones, which have a rule of their own."""
    constant = set(context.verdicts[site.name].constant)
    return tuple(unit for unit in units if unit not in constant)


def _silent(context: Context, site: Site, units: Units) -> set[int]:
    return set(units) & set(context.verdicts[site.name].silent)


def _event(context: Context, site: Site, units: Units) -> str:
    """What the units were never seen to do."""
    return "fires" if len(_silent(context, site, units)) == len(units) else "leaves the flat part"


def _least_evidence(site: Site, units: Units) -> int:
    """The n behind the least proven of the units."""
    return int(evidence_samples(site)[list(units)].min()) if units else site.samples


def _certainty(context: Context, site: Site, units: Units, event: str, events: int = 0) -> str:
    """How rare the event is, with the confidence of all units of the record at once."""
    bound = context.rate_bound(events, _least_evidence(site, units))
    if bound >= 1:
        return "Nothing is known of how often."
    confidence, each = 1 - context.thresholds.delta, verb(units, "it", "each of them")
    return f"With {confidence:.0%} confidence {each} {event} on less than {percent(bound)} of such samples."


def _numbers(context: Context, site: Site, units: Units, events: int = 0, **more: object) -> dict[str, Evidence]:
    """The evidence that every finding on single units carries."""
    samples = _least_evidence(site, units)
    return evidence(
        units=len(units),
        of_units=site.units,
        share=len(units) / site.units,
        samples=samples,
        samples_needed=context.samples_needed,
        rate_bound=context.rate_bound(events, samples),
        confidence=1 - context.thresholds.delta,
        units_examined=context.units_examined,
        on_noise=context.record.on_noise,
        **more,
    )

"""Units that pass no gradient, or always the same: dead, silent so far, nearly dead, locked on a side.

Each finding names the n behind it and the bound that n gives for all units of the record at once.
"""

from __future__ import annotations

from dataclasses import replace

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Evidence, Finding, Level, level_rank
from leaky.diagnosis.harm import Cost, cost_of_losing, unless_learned
from leaky.diagnosis.rules.advice import for_inactive, suggest_slope, test_of
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.verdicts import Units, active_samples, evidence_samples
from leaky.diagnosis.wording import evidence, level_by_share, seen_on, span, subject, verb
from leaky.record import Site
from leaky.text import counted, percentage

EVIDENCE = ("delta", "rate", "units_examined")
"""The thresholds of the bound."""
HARM = ("dead_warning", "dead_error", "network_dead_warning", "input_high", "learned", "stalled", "side_share")
"""The thresholds that tell harm from waste."""


def judged_as_output(site: Site) -> bool:
    """Whether the site is a final rectifier, which has a rule of its own."""
    return site.is_output and not site.smooth


def _because(cost: Cost) -> str:
    return f" {cost.reason}" if cost.reason else ""


def _whole(site: Site, units: Units) -> bool:
    """Whether nothing comes through: all units, and no path known that leads around."""
    return len(units) == site.units and not site.bypassed


@rule(
    "dead",
    concern="inactive",
    summary="units whose derivative is practically 0 on everything seen, on enough samples",
    thresholds=("dead_derivative", "few", *HARM, *EVIDENCE),
)
@at_each_site
def dead(context: Context, site: Site) -> Finding | None:
    """A site with dead units."""
    units = context.verdicts[site.name].dead
    if not units or judged_as_output(site):
        return None
    cost = cost_of_losing(context, site, len(units))
    return Finding(
        rule="dead",
        level=cost.level,
        site=site.name,
        units=units,
        message=(
            f"{subject(site, units)} {verb(units, 'is', 'are')} dead {seen_on(context.record, site)}: a derivative of "
            f"practically 0 on every element. {_certainty(context, site, units, _event(context, site, units))}"
            f"{_because(cost)}"
        ),
        evidence=_numbers(
            context, site, units, silent=len(_silent(context, site, units)), whole_site=_whole(site, units)
        ),
        advice=for_inactive(context, site, units, cost),
    )


@rule(
    "silent-so-far",
    concern="inactive",
    summary="units that would be dead or locked, on too few samples to say so",
    thresholds=("silent_warning", "least_samples", "dead_derivative", "few", *HARM, *EVIDENCE),
)
@at_each_site
def silent_so_far(context: Context, site: Site) -> Finding | None:
    """A site with unproven units, or that no sample reached."""
    units = context.verdicts[site.name].unproven
    if (not units and (site.samples or not site.units)) or judged_as_output(site):
        return None
    cost = Cost("info")
    if len(units) == site.units and site.samples > 1:
        cost = cost_of_losing(context, site, site.units)
    elif (
        site.samples >= context.thresholds.least_samples
        and len(units) >= context.thresholds.silent_warning * site.units
    ):
        cost = cost_of_losing(context, site, len(units))
        cost = replace(cost, level=min(cost.level, "warning", key=level_rank))
    samples = _least_evidence(site, units)
    missing = context.samples_needed - samples
    return Finding(
        rule="silent-so-far",
        level=cost.level,
        site=site.name,
        units=units,
        message=_so_far(context, site, units, samples) + _because(cost),
        evidence=_numbers(context, site, units, samples_missing=missing, whole_site=_whole(site, units)),
        advice=_so_far_advice(context, site, units, cost, missing),
    )


def _so_far_advice(context: Context, site: Site, units: Units, cost: Cost, missing: int) -> str:
    if cost.level == "info" or not units:
        return (
            f"Not enough data to say more of other data: show it {missing:,} more independent samples, or, if "
            "these are all there are, say `population=True`."
        )
    return for_inactive(context, site, units, cost)


def _so_far(context: Context, site: Site, units: Units, samples: int) -> str:
    if not units:
        return f"no sample came through here: nothing can be said of its {counted(site.units, 'unit')}"
    spoilt = site.samples - samples
    among = f" ({spoilt:,} of them perhaps spoilt by non-finite elements)" if spoilt else ""
    silent = len(_silent(context, site, units)) == len(units)
    return (
        f"{subject(site, units)} {verb(units, 'was', 'were')} {'silent' if silent else 'silent or flat'} "
        f"{seen_on(context.record, site)}{among}: a fact of these. To call {verb(units, 'it', 'them')} dead or "
        f"locked on others too, among {counted(context.units_examined, 'unit')}, takes {context.samples_needed:,}. "
        f"{_certainty(context, site, units, _event(context, site, units))}"
    )


@rule(
    "nearly-dead",
    concern="inactive",
    summary="units that fire so rarely that they hardly learn",
    thresholds=("nearly_dead_rate", "nearly_dead_warning", "dead_derivative", *HARM, *EVIDENCE),
)
@at_each_site
def nearly_dead(context: Context, site: Site) -> Finding | None:
    """A site with nearly dead units."""
    units, t = context.verdicts[site.name].nearly_dead, context.thresholds
    if not units or judged_as_output(site):
        return None
    share = len(units) / site.units
    active = active_samples(site, t.dead_derivative)[list(units)]
    most = int(active.max())
    return Finding(
        rule="nearly-dead",
        level=_nearly_dead_level(context, site, units),
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


def _nearly_dead_level(context: Context, site: Site, units: Units) -> Level:
    """A warning where so many are lost, with the dead ones, that it would be harm."""
    lost = len(units) + len(context.verdicts[site.name].dead)
    enough = len(units) >= context.thresholds.nearly_dead_warning * site.units
    harm = lost < site.units and cost_of_losing(context, site, lost).level != "info"
    return "warning" if enough and (harm or (lost == site.units and not context.learned)) else "info"


def _nearly_dead_advice(context: Context, site: Site, share: float) -> str:
    rare = "A unit that fires rarely may detect something rare: look at the samples on which it fires."
    suggestion = suggest_slope(site)
    if share < context.thresholds.nearly_dead_warning or suggestion is None:
        return f"{rare} Lower the learning rate or raise their biases if more of them go the same way."
    return f"{rare} If they are dying, try {suggestion}; {test_of(suggestion)} decides it."


@rule(
    "locked-negative",
    concern="inactive",
    summary="units always below the threshold under a slope that is not small: linear, wasted",
    thresholds=("dead_derivative", "locked_warning", "learned", *EVIDENCE),
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
    thresholds=("dead_derivative", "locked_warning", "learned", *EVIDENCE),
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
    return unless_learned(context, site, level_by_share(len(units) / site.units, context.thresholds.locked_warning))


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
    if context.population:
        return "These are all the data there is."
    bound = context.rate_bound(events, _least_evidence(site, units))
    if bound >= 1:
        return "Nothing is known of how often."
    confidence, each = 1 - context.thresholds.delta, verb(units, "it", "each of them")
    return f"With {confidence:.0%} confidence {each} {event} on less than {percentage(bound)} of such samples."


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

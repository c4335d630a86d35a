"""Where the trouble comes from, told by a record of the network before training (`initial`).

Sites are matched by name. Without an initial record these rules find nothing.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from leaky import theory
from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.rules.depth import level_by_factor, range_trend
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.verdicts import Units, one_sided
from leaky.diagnosis.wording import evidence, seen_on, subject, verb
from leaky.record import Producer, Site
from leaky.text import counted


@rule(
    "born-dead",
    concern="origin",
    summary="dead units that passed no gradient before training either",
    thresholds=("dead_derivative",),
)
@at_each_site
def born_dead(context: Context, site: Site) -> Finding | None:
    """A site with units that were dead from the start."""
    origin = _origin(context, site)
    if origin is None or not origin.born:
        return None
    return _origin_finding(
        context,
        site,
        "born-dead",
        origin,
        origin.born,
        f"{verb(origin.born, 'was', 'were')} dead before training already",
        "Change the initialisation, not the learning rate: weights at He's scale for the slope, biases at 0 or "
        "slightly above, normalised input, wider layers. Under a leaky slope no unit is born dead.",
    )


@rule(
    "died-in-training",
    concern="origin",
    summary="dead units that passed gradient before training",
    thresholds=("dead_derivative",),
)
@at_each_site
def died_in_training(context: Context, site: Site) -> Finding | None:
    """A site with units that died in training."""
    origin = _origin(context, site)
    if origin is None or not origin.died:
        return None
    grown = _grown(context, site)
    if grown >= GROWN:
        words = f"died in training, while the weights in front of them grew × {grown:.2g}"
        advice = (
            "Weights that grow so much and units that die are what a learning rate that is too large leaves: train "
            "again with a tenth of it, or warm it up and clip gradients, before anything else."
        )
    else:
        words = "died in training"
        advice = (
            "Training killed them: lower the learning rate or warm it up, clip gradients, look for spikes of the loss. "
            "A leaky slope keeps a way back open."
        )
    return _origin_finding(context, site, "died-in-training", origin, origin.died, words, advice)


GROWN = 3.0
"""Growth of the weights' root mean square from which on the learning rate is named; healthy ones stay below."""


def _grown(context: Context, site: Site) -> float:
    """How much larger the weights in front of a site are than in the initial record; 1 where that is not known."""
    before = _initial_site(context, site.name)
    known = {} if before is None else {p.name: p.weight_rms for p in before.producers}
    ratios = [p.weight_rms / known[p.name] for p in site.producers if known.get(p.name, 0.0) > 0]
    return max((ratio for ratio in ratios if math.isfinite(ratio)), default=1.0)


@dataclass(frozen=True)
class Origin:
    """The dead units of a site by what an initial record says of them.

    Attributes:
        born: passed no gradient there either.
        died: passed some there.
        revived: dead there, and no longer.
        samples: that the initial record has of the site.
    """

    born: Units
    died: Units
    revived: Units
    samples: int


def _origin(context: Context, site: Site) -> Origin | None:
    """None without an initial record, or where it did not see the site."""
    before = _initial_site(context, site.name)
    if before is None or context.initial is None:
        return None
    t = context.thresholds
    flat_before = one_sided(before, t.dead_derivative).dead
    seen_before = before.statistics.elements > 0
    dead = context.verdicts[site.name].dead
    flat_now = one_sided(site, t.dead_derivative).dead
    return Origin(
        born=tuple(unit for unit in dead if flat_before[unit]),
        died=tuple(unit for unit in dead if seen_before[unit] and not flat_before[unit]),
        revived=tuple(unit for unit in context.initial.verdicts[before.name].dead if not flat_now[unit]),
        samples=before.samples,
    )


def _initial_site(context: Context, name: str) -> Site | None:
    sites = () if context.initial is None else context.initial.record.sites
    return next((site for site in sites if site.name == name), None)


def _origin_finding(
    context: Context, site: Site, slug: str, origin: Origin, units: Units, words: str, advice: str
) -> Finding:
    few = origin.samples < context.samples_needed
    caveat = f" (on too few samples to be sure: {context.samples_needed:,} are needed)" if few else ""
    return Finding(
        rule=slug,
        level="info",
        site=site.name,
        units=units,
        message=(
            f"of the dead units {seen_on(context.record, site)}, {subject(site, units)} {words}; the initial record "
            f"saw {counted(origin.samples, 'sample')}{caveat}"
        ),
        evidence=evidence(
            born_dead=len(origin.born),
            died_in_training=len(origin.died),
            revived=len(origin.revived),
            initial_samples=origin.samples,
            samples=site.samples,
        ),
        advice=advice,
    )


KINDS_WITH_FANS = ("linear", "convolution", "transposed_convolution")

KNOWN_INITIALISATIONS = (
    ("torch's default (kaiming_uniform_ with a=√5, whatever the slope)", "fan_in", theory.gain(math.sqrt(5))),
    ("He's for slope 0", "fan_in", theory.gain(0)),
    ("He's for slope 0, by fan_out", "fan_out", theory.gain(0)),
    ("LeCun's (gain 1)", "fan_in", 1.0),
    ("Glorot's (Xavier's)", "mean", 1.0),
)
"""Initialisations recognised by √E w²·√fan: name, which fan, the product; of equals the first is named."""


@dataclass(frozen=True)
class GainGap:
    """A weight whose scale does not fit the slope behind it.

    Attributes:
        producer: the weight.
        pattern: the initialisation that it looks like.
        observed: √E w²·√fan_in.
        wanted: gain(α) ÷ the site's own gain.
    """

    producer: Producer
    pattern: str
    observed: float
    wanted: float


@rule(
    "initialisation-gain",
    concern="initialisation",
    summary="initial weights whose scale ignores the slope behind them",
    thresholds=("gain_tolerance", "growth_warning"),
)
def initialisation_gain(context: Context) -> list[Finding]:
    """One finding an initialisation that is recognised, over all the weights that have it."""
    if context.initial is None:
        return []
    patterns: dict[str, list[tuple[Site, GainGap]]] = defaultdict(list)
    for site in context.initial.record.sites:
        for gap in gain_gaps(site, context.thresholds.gain_tolerance):
            patterns[gap.pattern].append((site, gap))
    return [_gain_finding(context.initial, pattern, gaps) for pattern, gaps in patterns.items()]


def gain_gaps(site: Site, tolerance: float) -> list[GainGap]:
    """The weights behind a site whose gain is off by more than `tolerance` and four standard errors, by either fan."""
    if site.smooth or site.units == 0:
        return []
    mean_square = float(np.mean(site.negative_slope**2))
    wanted = theory.gain(math.sqrt(mean_square)) / site.gain
    gaps = []
    for producer in site.producers:
        if producer.kind in KINDS_WITH_FANS and producer.fan_in > 0:
            limit = max(tolerance, 4 / math.sqrt(2 * producer.fan_in * site.units))
            if all(abs(_scale(producer, fan) / wanted - 1) > limit for fan in ("fan_in", "fan_out")):
                gaps.append(GainGap(producer, _pattern(producer, limit), _scale(producer, "fan_in"), wanted))
    return gaps


def _pattern(producer: Producer, limit: float) -> str:
    distances = {name: abs(_scale(producer, fan) / product - 1) for name, fan, product in KNOWN_INITIALISATIONS}
    name = min(distances, key=lambda known: distances[known])
    return name if distances[name] <= min(limit, 0.1) else "none that is known"


def _scale(producer: Producer, fan: str) -> float:
    """√E w²·√fan."""
    fans = {
        "fan_in": producer.fan_in,
        "fan_out": producer.fan_out,
        "mean": (producer.fan_in + producer.fan_out) / 2,
    }
    return producer.weight_rms * math.sqrt(fans[fan])


def _gain_finding(initial: Context, pattern: str, gaps: list[tuple[Site, GainGap]]) -> Finding:
    observed = float(np.median([gap.observed for _, gap in gaps]))
    wanted = float(np.median([gap.wanted for _, gap in gaps]))
    names = [gap.producer.name for _, gap in gaps]
    sites = list(dict.fromkeys(site.name for site, _ in gaps))
    change = (observed / wanted) ** 2
    return Finding(
        rule="initialisation-gain",
        level=_gain_level(initial),
        site=sites[0] if len(sites) == 1 else None,
        units=(),
        message=(
            f"{counted(len(names), 'weight')} ({', '.join(names[:3])}{' …' if len(names) > 3 else ''}) began at gain "
            f"{observed:.3g} where the slope behind asks for {wanted:.4g}; the initialisation looks like {pattern}. "
            f"Each such layer scales E h² by {change:.2g} where no normalisation follows"
        ),
        evidence=evidence(
            weights=names, sites=sites, gain=observed, wanted_gain=wanted, pattern=pattern, second_moment_factor=change
        ),
        advice=(
            f"In a deep network without normalisation, initialise with a standard deviation of {wanted:.4g}/√fan_in "
            "(`leaky.theory.gain(slope)`; in torch, kaiming_normal_ with a=slope and nonlinearity='leaky_relu'). With "
            "normalisation layers, or in a shallow network, leave it."
        ),
    )


def _gain_level(initial: Context) -> Level:
    """A warning only where the initial record shows the harm: a range that grows or decays by depth."""
    found, t = range_trend(initial), initial.thresholds
    level = (
        None
        if found is None
        else level_by_factor(abs(found.log_factor), t.growth_info, t.growth_warning, t.growth_error)
    )
    return "warning" if level in ("warning", "error") else "info"

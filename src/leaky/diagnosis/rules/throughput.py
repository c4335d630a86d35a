"""What a site as a whole lets through: how unbalanced its output is, how sparse, how much it discards.

Judged over the units that are alive, on sites that are not the model's own output (whose range is the targets').
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leaky import theory
from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.harm import unless_learned
from leaky.diagnosis.rules.advice import second_moment, suggest_slope, test_of
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import BELOW, BEYOND_LOW, FloatArray, Site
from leaky.text import percentage

ANOTHER_SLOPE = 0.2
"""The slope that "what if" figures are given for, beside the suggested one."""


@dataclass(frozen=True)
class Imbalance:
    """The share of the second moment that does not depend on the input: Σ_i (E h_i)² ÷ Σ_i E h_i².

    Equal to the mean correlation (cosine) of two samples' outputs, which is why the correlation map predicts it.

    Attributes:
        observed: of the outputs.
        centred: of a site with centred Gaussian pre-activations, (1−α)²/(π(1+α²)); None for a smooth activation.
        predicted: C(c), from the share c of the means in the pre-activations; None for a smooth activation.
        under_another: of the outputs if α were `ANOTHER_SLOPE`; None for a smooth activation.
    """

    observed: float
    centred: float | None
    predicted: float | None
    under_another: float | None


def imbalance(site: Site) -> Imbalance | None:
    """How unbalanced the site's output is; None where nothing comes out."""
    observed = _share_of_means(site)
    if observed is None:
        return None
    if site.smooth or site.value != 0:
        return Imbalance(observed, None, None, None)
    alpha = float(np.median(site.negative_slope))
    return Imbalance(
        observed,
        centred=theory.correlation_map(0.0, alpha),
        predicted=theory.correlation_map(_share_of_input_means(site), alpha),
        under_another=_share_of_means(site, ANOTHER_SLOPE),
    )


def _share_of_means(site: Site, negative_slope: float | None = None) -> float | None:
    if site.smooth and site.statistics.output_sums is None:
        return None
    moments = site.output_moments(negative_slope)
    return _ratio_of_sums(moments.mean**2, moments.second_moment)


def _share_of_input_means(site: Site) -> float:
    return min(1.0, _ratio_of_sums(site.mean**2, site.mean**2 + site.variance) or 0.0)


def _ratio_of_sums(part: FloatArray, whole: FloatArray) -> float | None:
    total = np.nansum(whole)
    return float(np.nansum(part) / total) if 0 < total < np.inf else None


@rule(
    "output-imbalance",
    concern="range",
    summary="sites whose output is nearly the same for every sample: all mean, little signal",
    thresholds=("imbalance_info", "imbalance_warning", "least_samples"),
)
@at_each_site
def output_imbalance(context: Context, site: Site) -> Finding | None:
    """A site whose units' means hold nearly all of the second moment."""
    t = context.thresholds
    found = imbalance(site) if _is_judged(context, site) else None
    if found is None or found.observed < t.imbalance_info:
        return None
    closed_form = "" if found.centred is None else f"; centred Gaussian input gives {percentage(found.centred)}"
    lasts = found.observed >= t.imbalance_warning and _lasts(context)
    return Finding(
        rule="output-imbalance",
        level=unless_learned(context, site, "warning") if lasts else "info",
        site=site.name,
        units=(),
        message=(
            f"{percentage(found.observed)} of the outputs' second moment is their units' constant mean "
            f"{seen_on(context.record, site)}, so all samples look much alike here{closed_form}"
        ),
        evidence=evidence(
            imbalance=found.observed,
            centred_gaussian=found.centred,
            predicted=found.predicted,
            pre_activation_share=_share_of_input_means(site),
            under_slope_0_2=found.under_another,
            samples=site.samples,
        ),
        advice=_imbalance_advice(found, _share_of_input_means(site), t.imbalance_info),
    )


def _lasts(context: Context) -> bool:
    """Whether nothing shows that what follows tells the samples apart all the same: a bias may take a mean off again.

    Shown it is by outputs of which less is their mean; not where they fit the targets no better than a constant.
    """
    apart = any(share < context.thresholds.imbalance_warning for share in _output_shares(context))
    return context.learned is False or not apart


def _output_shares(context: Context) -> list[float]:
    """The share of its features' means in each output's second moment, where that is known."""
    shares = [
        _ratio_of_sums(out.features.mean**2, out.features.mean**2 + out.features.variance)
        for out in context.record.outputs
        if out.features is not None and out.is_floating
    ]
    return [share for share in shares if share is not None]


def nearly_constant(context: Context) -> bool:
    """Whether what some hidden site or the network itself gives is nearly all mean, and it has not learned so."""
    if context.learned or not _lasts(context):
        return False
    sites = [imbalance(site) for site in context.record.sites if not site.bypassed and _is_judged(context, site)]
    shares = [*(found.observed for found in sites if found is not None), *_output_shares(context)]
    return any(share >= context.thresholds.imbalance_warning for share in shares)


def _imbalance_advice(found: Imbalance, before: float, limit: float) -> str:
    if before >= limit:
        return (
            f"It comes in like this ({percentage(before)} of the pre-activations' second moment): this site's slope "
            "cannot undo it. Centre earlier: normalise the input, put a normalisation layer in front, or, in a deep "
            "plain network, choose the slope of all sites by `leaky.theory.tailored_slope(depth)`."
        )
    if found.under_another is not None and found.under_another < limit:
        return (
            f"It arises here: a slope of {ANOTHER_SLOPE:g} would lower it to {percentage(found.under_another)}; "
            "subtracting the means (a bias in the next layer) removes it without any change of slope."
        )
    return (
        "It arises here, and a slope would hardly lower it: subtract the means in the next layer's bias, or normalise."
    )


@rule(
    "over-sparse",
    concern="sparsity",
    summary="sites whose living units are above the threshold on few elements",
    thresholds=("sparse_info", "sparse_warning", "dead_derivative", "least_samples"),
)
@at_each_site
def over_sparse(context: Context, site: Site) -> Finding | None:
    """A site that rectifies almost everything away; dead and unproven units are left out."""
    t, alive = context.thresholds, _rectifying(context, site)
    if not _is_judged(context, site) or not alive.any():
        return None
    counts = site.statistics.counts[:, alive]
    elements = counts.sum()
    active = float(1 - (counts[BEYOND_LOW] + counts[BELOW]).sum() / elements)
    if active >= t.sparse_info:
        return None
    return Finding(
        rule="over-sparse",
        level="warning" if active < t.sparse_warning else "info",
        site=site.name,
        units=(),
        message=(
            f"only {percentage(active)} of the living units' elements are above the threshold "
            f"{seen_on(context.record, site)}; centred pre-activations give 50%"
        ),
        evidence=evidence(
            active_share=active, centred=0.5, units=int(alive.sum()), of_units=site.units, samples=site.samples
        ),
        advice=(
            "Fine if sparsity is what you want. If the loss stalls, raise the biases or normalise the pre-activations "
            f"first.{_leak(site)}"
        ),
    )


@rule(
    "negative-information-lost",
    concern="sparsity",
    summary="sites where slope 0 discards nearly all of the pre-activations' energy",
    thresholds=("lost_info", "lost_warning", "dead_derivative", "least_samples"),
)
@at_each_site
def negative_information_lost(context: Context, site: Site) -> Finding | None:
    """A site where Σz² of the discarded side is nearly all of Σz², over living units that discard it."""
    t, alive = context.thresholds, _rectifying(context, site)
    squares = site.statistics.squares[:, alive]
    total = squares.sum()
    if not _is_judged(context, site) or not 0 < total < np.inf:
        return None
    lost = float((squares[BEYOND_LOW] + squares[BELOW]).sum() / total)
    if lost < t.lost_info:
        return None
    suggestion = suggest_slope(site)
    return Finding(
        rule="negative-information-lost",
        level="warning" if lost >= t.lost_warning else "info",
        site=site.name,
        units=(),
        message=(
            f"{percentage(lost)} of the pre-activations' energy Σz² is below the threshold and discarded "
            f"{seen_on(context.record, site)}; centred pre-activations lose 50%"
        ),
        evidence=evidence(
            lost_share=lost,
            centred=0.5,
            units=int(alive.sum()),
            of_units=site.units,
            samples=site.samples,
            suggested_slope=None if suggestion is None else suggestion.negative_slope,
            second_moment=second_moment(site),
            second_moment_under_suggested=None if suggestion is None else suggestion.after,
            second_moment_under_0_2=second_moment(site, ANOTHER_SLOPE),
        ),
        advice=(
            "A trained network often discards on purpose, and with normalised layers a leak rarely changes the score."
            f"{_leak(site)}"
        ),
    )


def _leak(site: Site) -> str:
    """A slope to try, with what decides it; nothing where none stays within its limits."""
    suggestion = suggest_slope(site)
    return "" if suggestion is None else f" Or try {suggestion}; {test_of(suggestion)} decides it."


def _is_judged(context: Context, site: Site) -> bool:
    return site.samples >= context.thresholds.least_samples and not site.is_output


def _rectifying(context: Context, site: Site) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """The living units of a piecewise linear site whose derivative below the threshold is practically 0."""
    verdicts = context.verdicts[site.name]
    alive = site.statistics.elements > 0
    alive[list(verdicts.dead + verdicts.unproven)] = False
    small = np.abs(site.derivative[BELOW]) <= context.thresholds.dead_derivative
    return np.asarray(alive & small & (not site.smooth))

"""How the gradient fares on its way to the input, where a loss was given."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.rules.depth import (
    Trend,
    factor,
    level_by_factor,
    mean_log_gain,
    trend,
    trend_finding,
    weights_log_gain,
)
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import seen_on
from leaky.record import FloatArray, Site


def gradient_trend(context: Context) -> Trend | None:
    """E‖∂L/∂z‖² by depth, summed over each site's units, where a loss was given."""
    sites = [site for site in context.averaged_sites() if site.statistics.gradient]
    return trend(sites, [gradient_norm(site) for site in sites], context.thresholds.least_sites)


def gradient_norm(site: Site) -> float:
    """E‖∂L/∂z‖² = Σ (dh/dz)²·(∂L/∂h)² ÷ samples; He's backward scale keeps this sum, whatever the widths."""
    gradient = site.statistics.gradient
    if gradient is None or gradient.samples == 0:
        return math.nan
    squares: FloatArray = np.where(site.derivative == 0, 0.0, gradient.squares)  # never 0·inf
    return float((site.derivative**2 * squares).sum() / gradient.samples)


@rule(
    "vanishing-gradient",
    concern="gradient-by-depth",
    summary="gradients that shrink on the way to the input",
    thresholds=("gradient_info", "gradient_warning", "gradient_error", "least_sites", "least_samples"),
)
def vanishing_gradient(context: Context) -> list[Finding]:
    """One finding for the network if the gradient shrinks towards the input; `no-gradient` tells where it ends."""
    advice = (
        "Match the initialisation to the slope (weights' standard deviation √(2/(1+α²))/√fan), add normalisation or "
        "residual connections. A larger slope helps where dead or rarely firing units block the way, hardly elsewhere."
    )
    return _gradient_finding(context, "vanishing-gradient", 1, "shrinks", advice)


@rule(
    "exploding-gradient",
    concern="gradient-by-depth",
    summary="gradients that grow on the way to the input",
    thresholds=("gradient_info", "gradient_warning", "gradient_error", "least_sites", "least_samples"),
)
def exploding_gradient(context: Context) -> list[Finding]:
    """One finding for the network if the gradient grows towards the input."""
    advice = (
        "Lower the weights' scale to √(2/(1+α²))/√fan, clip gradients, add normalisation. A larger slope makes it a "
        "little worse."
    )
    return _gradient_finding(context, "exploding-gradient", -1, "grows", advice)


def _gradient_finding(context: Context, slug: str, sign: int, verb: str, advice: str) -> list[Finding]:
    found, t = gradient_trend(context), context.thresholds
    if found is None:
        return []
    level = level_by_factor(sign * found.log_factor, t.gradient_info, t.gradient_warning, t.gradient_error)
    if level is None:
        return []
    predicted = mean_log_gain(
        [weights_log_gain(site, [p.fan_out for p in site.producers]) for site in found.sites[:-1]]
    )
    message = (
        f"the gradient's squared norm {verb} × {factor(-found.log_gain)} a site towards the input, "
        f"{found.values[-1]:.3g} → {found.values[0]:.3g} over {len(found.sites)} sites, {seen_on(context.record)}"
    )
    return [trend_finding(slug, level, found, predicted, message, advice)]

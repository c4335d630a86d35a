"""Sigmoid and tanh sites that lie in their flat ends: units that vary and pass practically no gradient."""

from __future__ import annotations

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.harm import unless_learned
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.wording import evidence, level_by_share, seen_on
from leaky.record import BELOW, BEYOND_HIGH, BEYOND_LOW, Site
from leaky.text import percentage

STEP = 0.05
"""Width of the part with a derivative up to which an activation is a step: that of a hard sigmoid is 6, of a tanh 8.

The smallest stretch that a spelled-out function is looked at in is 1/64.
"""


@rule(
    "saturated",
    concern="sparsity",
    summary="sigmoid and tanh sites that lie in their flat ends nearly always",
    thresholds=("saturated_info", "saturated_warning", "least_samples", "learned"),
)
@at_each_site
def saturated(context: Context, site: Site) -> Finding | None:
    """A hidden site of an activation that is flat on both ends."""
    t, counts = context.thresholds, site.statistics.counts
    two_sided = site.smooth and site.cap is not None
    elements = int(counts.sum())
    if not two_sided or site.is_output or site.samples < t.least_samples or not elements:
        return None
    flat = float(counts[[BELOW, BEYOND_LOW, BEYOND_HIGH]].sum() / elements)
    if flat < t.saturated_info:
        return None
    return Finding(
        rule="saturated",
        level=unless_learned(context, site, level_by_share(flat, t.saturated_warning)),
        site=site.name,
        units=(),
        message=(
            f"{percentage(flat)} of the pre-activations lie where the derivative is practically 0, on either side, "
            f"{seen_on(context.record, site)}: hardly any gradient passes"
            + (", for the activation is a step" if _is_step(site) else "")
        ),
        evidence=evidence(flat_share=flat, units=site.units, samples=site.samples, step=_is_step(site)),
        advice=_STEP_ADVICE if _is_step(site) else _ADVICE,
    )


_ADVICE = (
    "What comes in is too large: standardise the input, draw smaller weights (Glorot's scale, `nn.init."
    "xavier_uniform_`), or put a normalisation in front. A leak is not the question; another activation is, if "
    "the network is deep."
)
_STEP_ADVICE = (
    "No size of what comes in helps, and no leak: what lies before a step gets no gradient anywhere. Give it one of "
    "its own (a straight-through estimator: `x + (step(x) - x).detach()`), or take a smooth activation in training."
)


def _is_step(site: Site) -> bool:
    """Whether nothing lies between its two flat sides."""
    assert site.cap is not None
    return bool(np.max(site.cap - site.threshold) <= STEP)

"""Sigmoid and tanh sites, and outputs, that lie in their flat ends: they vary and pass practically no gradient."""

from __future__ import annotations

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.harm import unless_learned
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.wording import all_of, evidence, level_by_share, seen_on
from leaky.record import BELOW, BEYOND_HIGH, BEYOND_LOW, Site, TensorStatistics
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


FLAT = 1e-3
"""Distance from an end of its range up to which a sigmoid or tanh passes practically no gradient."""
CERTAIN = 1e-2
"""Mean derivative of a last sigmoid or tanh up to which nearly every output is as good as certain."""
NOTHING = 1e-6
"""Root mean square of a sample's gradient at every site up to which a step changes nothing."""
_RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0)}


def flat_ends(context: Context) -> list[Finding]:
    """Outputs of which every entry lies in one flat end, where practically no gradient arrives at any site."""
    gradients = [s.statistics.gradient for s in context.record.sites if s.statistics.gradient is not None]
    small = all(g.nonfinite == 0 and g.squares.sum() <= NOTHING**2 * g.samples for g in gradients)
    bounded = [out for out in context.record.outputs if out.made_by in _RANGES and out.entries]
    flat = [out for out in bounded if _shares(out, out.maximum) <= FLAT or _shares(out, out.minimum) >= 1 - FLAT]
    saturated = [out for out in bounded if _derivative(out) <= CERTAIN]
    if saturated and gradients and context.unless_fit == "warning":
        words = f"is saturated: its mean derivative is {max(_derivative(saturated[0]), 0.0):.2g} for {{}}"
        return [_flat_end(context, saturated[0], f"{words}, and the outputs do not fit well")]
    if not flat or not gradients or not small or context.learned:
        return []
    words = f"lies in its flat end for {{}} ({flat[0].minimum:.2g} to {flat[0].maximum:.2g})"
    return [_flat_end(context, flat[0], f"{words}: practically no gradient comes back")]


def _ends_of(out: TensorStatistics) -> tuple[float, float]:
    """Between what a last sigmoid or tanh goes, stretched or not."""
    low, high = _RANGES[out.made_by or ""]
    return low if out.lowest is None else out.lowest, high if out.highest is None else out.highest


def _shares(out: TensorStatistics, value: float) -> float:
    """How far a value lies between both ends, 0 to 1."""
    low, high = _ends_of(out)
    return (value - low) / (high - low)


def _derivative(out: TensorStatistics) -> float:
    """Mean derivative at what it gave, p(1 − p) of a sigmoid and 1 − t² of a tanh, whatever its steepness."""
    low, high = _ends_of(out)
    width = high - low
    mean = (out.mean - low) / width
    square = (out.squares / out.entries - 2 * low * out.mean + low * low) / width**2
    return (mean - square) * (1 if out.made_by == "sigmoid" else 4)


def _flat_end(context: Context, out: TensorStatistics, words: str) -> Finding:
    return Finding(
        rule="no-gradient",
        level="warning",
        site=None,
        units=(),
        message=f"{out.name} ends in a {out.made_by} that {words.format(all_of(context.record))}",
        evidence=evidence(
            kind="flat", output=out.name, minimum=out.minimum, maximum=out.maximum, derivative=_derivative(out)
        ),
        advice=(
            "Give the loss the logits (binary_cross_entropy_with_logits; for a generator −log D in place of "
            "log(1 − D)), and look at what drives the last layer so far out: weights drawn too large, a rate too high."
        ),
    )

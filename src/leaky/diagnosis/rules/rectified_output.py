"""A rectifier at the network's end, judged by what it cuts off and by the gradient that it blocks."""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.fit import fits
from leaky.diagnosis.rules.rule import at_each_site, rule
from leaky.diagnosis.rules.targets import output_of
from leaky.diagnosis.verdicts import Units, one_sided
from leaky.diagnosis.wording import all_of, evidence, seen_on, subject
from leaky.record import BELOW, LossTerm, Site
from leaky.text import percentage

BY_CLASS = ("cross_entropy", "nll_loss", "gather")
SQUASHED = ("sigmoid", "softmax", "log_softmax", "log_sigmoid")
"""What may stand behind a rectifier at the end, and keeps what it cut off cut off."""
BOUNDED_OTHERWISE = ("tanh", "softplus")
"""What makes an output whose targets are judged by another rule."""


@rule(
    "output-rectifier",
    concern="output",
    summary="a rectifier at the network's end that cuts off what the targets need",
    thresholds=("dead_derivative", "stalled"),
)
@at_each_site
def output_rectifier(context: Context, site: Site) -> Finding | None:
    """A site that is the network's output, judged by what it cuts off and by the gradient that it blocks."""
    if not site.is_output or site.smooth or not site.samples:
        return None
    flat = one_sided(site, context.thresholds.dead_derivative).dead
    units = tuple(int(unit) for unit in np.flatnonzero(flat))
    term = _term_of(context, site)
    level, words = _verdict(context, site, units, term)
    if level is None:
        return None
    blocked = _blocked(context, site)
    gradient = "" if blocked is None else f" It blocks {percentage(blocked)} of the gradient that arrives."
    return Finding(
        rule="output-rectifier",
        level=level,
        site=site.name,
        units=units,
        message=f"{words}.{gradient}",
        evidence=evidence(
            units=len(units),
            of_units=site.units,
            samples=site.samples,
            gradient_blocked=blocked,
            target_minimum=None if term is None else term.target.minimum,
            whole_site=len(units) == site.units,
        ),
        advice=_advice(level, term),
    )


def _advice(level: Level, term: LossTerm | None) -> str:
    if term is not None and term.operation in BY_CLASS:
        return (
            "End the model without a rectifier: cross_entropy takes logits of either sign. A leak before it does "
            "not help."
        )
    if level == "info":
        return "Right where the targets are never below 0. Where they are, end the model without a rectifier."
    return (
        "End the model without a rectifier, or with Softplus where the targets are positive: where it cuts, no "
        "gradient comes back and nothing before it learns. A leak in the hidden layers does not help."
    )


def _verdict(context: Context, site: Site, units: Units, term: LossTerm | None) -> tuple[Level | None, str]:
    """How bad a final rectifier is, and why."""
    cut, seen = f"the rectifier at the network's end gives {site.gain * site.value:g}", seen_on(context.record, site)
    if len(units) == site.units:
        return _all_cut(context, site, cut)
    if term is not None and term.operation in BY_CLASS:
        never = [unit for unit in units if unit < len(term.classes) and term.classes[unit] > 0]
        if never:
            return "error", f"{cut} for {_never(site, units)}, {seen}: such a class is never predicted"
        return "warning", f"the rectifier at the network's end cuts off the logits below {site.threshold:g}, {seen}"
    if term is not None and _made_by(context, term) == "sigmoid":
        least = 1 / (1 + math.exp(-min(site.gain * site.value, 700.0)))
        if term.target.minimum < least - 1e-3:
            words = f"the rectifier before the last sigmoid lets no probability be below {least:.3g}"
            return "warning", f"{words}, and the targets go down to {term.target.minimum:.3g}, {seen}"
        return None, ""
    if term is not None:
        below = term.target.minimum < site.gain * site.value - 1e-6 * max(1.0, term.target.largest)
        if below:
            return "warning", f"{cut} at least, and the targets go down to {term.target.minimum:.3g}, {seen}"
        stuck = any(fit.term is term and fit.score < context.thresholds.stalled for fit in fits(context.record))
        return ("warning" if units and stuck else "info" if units else None), f"{cut} for {_never(site, units)}, {seen}"
    return (
        "warning" if units else None
    ), f"{cut} for {_never(site, units)}, {seen}; as a class it could never be predicted"


def _all_cut(context: Context, site: Site, cut: str) -> tuple[Level | None, str]:
    """An output that is flat on everything seen; of a single number nothing follows."""
    if site.statistics.elements.max(initial=0) < 2:
        return None, ""
    passed = float(np.abs(site.derivative[BELOW]).max(initial=0.0))
    if passed > 0 and not site.statistics.fired.any():
        return "warning", (
            f"the rectifier at the network's end stays below its threshold for {all_of(context.record)}, where "
            f"{percentage(passed)} of the gradient comes back: it learns, very slowly"
        )
    return "error", f"{cut} for {all_of(context.record)}: no gradient comes back from there"


def _never(site: Site, units: Units) -> str:
    return f"{subject(site, units)} whatever comes in"


def _term_of(context: Context, site: Site) -> LossTerm | None:
    """The comparison of the output that this site makes; None where more than one could be meant."""
    width = [out for out in context.record.outputs if site.units in out.shape[1:] or site.units == 1]
    names = {out.name for out in width if out.made_by not in BOUNDED_OTHERWISE}
    terms = [term for term in context.record.terms if term.output in names]
    made = [term for term in terms if _made_by(context, term) == "relu"]
    chosen = made or terms
    return chosen[0] if len({term.output for term in chosen}) == 1 else None


def _made_by(context: Context, term: LossTerm) -> str | None:
    output = output_of(context, term)
    return None if output is None else output.made_by


def _blocked(context: Context, site: Site) -> float | None:
    """Share of Σ|∂L/∂h| that meets a derivative of practically 0."""
    gradient = site.statistics.gradient
    if gradient is None:
        return None
    small = np.abs(site.derivative) <= context.thresholds.dead_derivative
    total = float(gradient.absolute_sums.sum())
    return float(gradient.absolute_sums[small].sum()) / total if 0 < total < np.inf else None

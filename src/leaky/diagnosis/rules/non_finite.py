"""Where numbers stop being finite.

Only the first site matters: everything behind it inherits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import Site, TensorStatistics
from leaky.text import counted, percentage


@rule("non-finite", concern="non-finite", summary="the first site that gets NaN or infinite pre-activations")
def non_finite(context: Context) -> list[Finding]:
    """What goes in, or the first site with such a pre-activation; without, the targets or where the gradient ends."""
    inputs = [tensor for tensor in context.record.inputs if tensor.nonfinite]
    if inputs:
        return [_given(context, "input", inputs)]
    targets = _ill_targets(context)
    at_target = [_given(context, "targets", targets)] if targets else []
    ill = [site for site in context.record.sites if site.statistics.nonfinite.any()]
    if not ill:
        return at_target or _non_finite_gradient(context)
    return [*at_target, _at_site(context, ill)]


def _at_site(context: Context, ill: list[Site]) -> Finding:
    """The first of the sites that get them."""
    site = ill[0]
    bad = site.statistics.nonfinite
    units = tuple(int(unit) for unit in np.flatnonzero(bad))
    share = bad.sum() / (bad.sum() + site.statistics.elements.sum())
    is_first = site is context.record.sites[0]
    return Finding(
        rule="non-finite",
        level="error",
        site=site.name,
        units=units,
        message=(
            f"{counted(int(bad.sum()), 'pre-activation')} ({percentage(float(share))}) of "
            f"{counted(len(units), 'unit')} are NaN or infinite "
            f"{seen_on(context.record, site)}; no earlier site has any, "
            f"{counted(len(ill) - 1, 'later site')} {'has' if len(ill) == 2 else 'have'}"
        ),
        evidence=evidence(nonfinite=int(bad.sum()), share=share, units=len(units), sites=[s.name for s in ill]),
        advice=(
            ("Look at the data first: NaN, infinite or unscaled input. Then at " if is_first else "Look at ")
            + f"{_weights(site)}: non-finite or huge values, overflow of a half type, a division or logarithm on "
            "the way. The slope has no part in it, and no verdict rests on these elements."
        ),
    )


AT_ENDS = {
    "input": (
        "Look at what loads the data: missing values, a division by a standard deviation of 0, a logarithm of 0. "
        "Everything behind inherits it; the network has no part in it."
    ),
    "targets": (
        "Look at what loads the targets: missing values, a logarithm or a division by 0. One of them makes the loss "
        "NaN, and after one step every weight; the network has no part in it. Leave out what is missing before output "
        "and target are compared: 0 × NaN is NaN."
    ),
}
"""What to do about numbers that are not finite at an end of the network."""


def _given(context: Context, end: str, ill: Sequence[TensorStatistics]) -> Finding:
    """What goes in comes first: NaN there is NaN everywhere behind."""
    count = sum(tensor.nonfinite for tensor in ill)
    return Finding(
        rule="non-finite",
        level="error",
        site=None,
        units=(),
        message=(
            f"{counted(count, 'entry' if count == 1 else 'entrie')} of the {end} "
            f"({', '.join(t.name for t in ill[:4])}) {'is' if count == 1 else 'are'} NaN or infinite "
            f"{seen_on(context.record)}"
        ),
        evidence=evidence(nonfinite=count, end=end, tensors=[tensor.name for tensor in ill]),
        advice=AT_ENDS[end],
    )


def _ill_targets(context: Context) -> list[TensorStatistics]:
    """The targets that are not finite, unless the loss leaves such entries out: then every gradient is finite."""
    targets = {term.target.name: term.target for term in context.record.terms if term.target.nonfinite}
    known = [site for site in context.record.sites if site.statistics.gradient]
    return [] if known and not any(map(_has_ill_gradient, known)) else list(targets.values())


def _has_ill_gradient(site: Site) -> bool:
    gradient = site.statistics.gradient
    return gradient is not None and (gradient.nonfinite > 0 or not bool(np.isfinite(gradient.squares).all()))


def _non_finite_gradient(context: Context) -> list[Finding]:
    """The gradient flows backwards: it arises behind the last site that has it."""
    ill = [site for site in context.record.sites if _has_ill_gradient(site)]
    if not ill:
        return []
    return [
        Finding(
            rule="non-finite",
            level="error",
            site=ill[-1].name,
            units=(),
            message=(
                f"the gradient that arrives is NaN or infinite {seen_on(context.record, ill[-1])}, though every "
                "pre-activation is finite"
                + (f"; {counted(len(ill) - 1, 'earlier site')} got it from here" if len(ill) > 1 else "")
            ),
            evidence=evidence(sites=[site.name for site in ill]),
            advice=(
                "Look at what comes after this site: NaN among the targets, the loss (logarithm or division by 0, "
                "square root at 0, a mean over a batch whose classes all weigh 0), the loss scale of mixed precision, "
                "the logits' range. The slope has no part in it."
            ),
        )
    ]


def _weights(site: Site) -> str:
    return " and ".join(producer.name for producer in site.producers) or "what computes its input"

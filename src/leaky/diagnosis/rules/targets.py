"""What the targets ask for: whether they have the outputs' shape and range, and a size that steps can reach.

Told from what the loss was seen to compare; without `loss=` these rules find nothing.
"""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.fit import fits
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import WEIGHTED, LossTerm, TensorStatistics

RANGES = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
    "hardsigmoid": (0.0, 1.0),
    "hardtanh": (-1.0, 1.0),
    "relu6": (0.0, 6.0),
    "gelu": (-0.17, math.inf),
    "silu": (-0.2785, math.inf),
    "mish": (-0.3089, math.inf),
}
"""What an output can be, by what made it."""
UNBOUNDED = (-math.inf, math.inf)
OTHERWISE = ("cross_entropy", "gather", "nll_loss", "binary_cross_entropy_with_logits", "poisson_nll_loss")
"""Losses of which an output is no guess of the target's value: logits of classes, rates of counts."""
REAL = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub")
"""Comparisons of real numbers."""
DOMAINS = {
    "binary_cross_entropy": (0.0, 1.0),
    "binary_cross_entropy_with_logits": (0.0, 1.0),
    "poisson_nll_loss": (0.0, math.inf),
}
"""What a loss takes for targets: beyond, it falls without end."""


def output_of(context: Context, term: LossTerm) -> TensorStatistics | None:
    """The output that a term compares."""
    return next((out for out in context.record.outputs if out.name == term.output), None)


@rule("target-shape", concern="loss", summary="outputs and targets that broadcast against each other")
def target_shape(context: Context) -> list[Finding]:
    """One finding a comparison in which every output meets every target."""
    found = []
    for term in context.record.terms:
        mine, theirs = term.given.shape, term.target.shape
        if mine == theirs or math.prod(mine) != math.prod(theirs) or math.prod(mine) < 2:
            continue
        if term.operation not in (*REAL, WEIGHTED, "mul", "binary_cross_entropy", "kl_div"):
            continue
        try:
            together = np.broadcast_shapes(mine, theirs)
        except ValueError:
            continue
        if math.prod(together) > math.prod(mine):
            found.append(_broadcast(context, term, together))
    return found[:1]


def _broadcast(context: Context, term: LossTerm, together: tuple[int, ...]) -> Finding:
    mine, theirs = (" × ".join(map(str, shape)) or "one number" for shape in (term.given.shape, term.target.shape))
    if term.operation == WEIGHTED:
        what = (
            f"the loss multiplies the loss of every sample with the weight of every other: those of {term.output} have"
        )
        advice = (
            f"Give both one shape: `weights[:, None]`, or `loss.squeeze(-1)`. As it is {term.target.name} has no say."
        )
    else:
        what = f"the loss compares every output with every target: {term.output} has"
        advice = (
            "Give both one shape: `target[:, None]`, or `output.squeeze(-1)`. As it is the network can learn no "
            "more than the targets' mean; its units have no part in it."
        )
    return Finding(
        rule="target-shape",
        level="error",
        site=None,
        units=(),
        message=(
            f"{what} shape ({mine}) and {term.target.name} ({theirs}), which broadcast to "
            f"{math.prod(together):,} numbers, "
            f"{seen_on(context.record)}"
        ),
        evidence=evidence(
            operation=term.operation, output_shape=list(term.given.shape), target_shape=list(term.target.shape)
        ),
        advice=advice,
    )


@rule("target-range", concern="loss", summary="targets that the network's last operation can never give")
def target_range(context: Context) -> list[Finding]:
    """One finding an output whose bounds the targets leave; a final rectifier has a rule of its own."""
    found: dict[str, Finding] = {}
    for term in context.record.terms:
        (last, bounds), target = _last_bound(context, term), term.target
        domain = DOMAINS.get(term.operation)
        if domain is not None and _leaves(target, domain) and not _marks_missing(target):
            found.setdefault(term.output, _not_taken(context, term, domain))
        if last is None or last == "relu" or target.entries == 0 or term.operation in OTHERWISE:
            continue
        if _leaves(target, bounds):
            found.setdefault(term.output, _outside(context, term, last, bounds))
    return list(found.values())


def _leaves(target: TensorStatistics, bounds: tuple[float, float]) -> bool:
    """Whether targets lie outside of these bounds, by more than rounding."""
    low, high = bounds
    slack = 1e-3 * (high - low if math.isfinite(high) else 1.0)
    return target.entries > 0 and (target.minimum < low - slack or target.maximum > high + slack)


def _marks_missing(target: TensorStatistics) -> bool:
    """Whether a whole number beside 0 and 1 may stand for what the loss is to leave out: −1, −100, 255."""
    pair = target.minimum == -1 and target.maximum == 1 and target.squares == target.entries
    return target.whole and not pair and (target.minimum < 0 or target.maximum in (99, 100, 255))


def _not_taken(context: Context, term: LossTerm, domain: tuple[float, float]) -> Finding:
    target, probabilities = term.target, domain[1] == 1
    advice = (
        "Write the classes as 0 and 1 (from −1 and 1: (y + 1) ÷ 2), or scale the targets into 0 to 1; for numbers "
        "take mse_loss, for classes 0, 1, 2, … one output a class and cross_entropy."
        if probabilities
        else "Counts are never below 0: were they standardised? For centred numbers take mse_loss."
    )
    return Finding(
        rule="target-range",
        level="error",
        site=None,
        units=(),
        message=(
            f"the targets ({target.name}) go from {target.minimum:.3g} to {target.maximum:.3g}, and {term.operation} "
            f"takes {'probabilities, 0 to 1' if probabilities else 'counts, 0 and above'}: beyond, it falls without "
            f"end, {seen_on(context.record)}"
        ),
        evidence=evidence(
            output=term.output,
            operation=term.operation,
            target_minimum=target.minimum,
            target_maximum=target.maximum,
        ),
        advice=f"{advice} The hidden units have no part in it.",
    )


def _last_bound(context: Context, term: LossTerm) -> tuple[str | None, tuple[float, float]]:
    """The bounding operation and its range, where only clamps and logarithms stand before the comparison."""
    harmless = ("clamp", "log", "rsub", "clip", "log1p", "add", "neg")
    steps = [step for step in term.path if step not in harmless]
    output = output_of(context, term)
    if steps or output is None or output.made_by is None:
        last = steps[-1] if steps and steps[-1] in RANGES else None
        return last, RANGES.get(last or "", UNBOUNDED)
    if output.lowest is None and output.highest is None:
        return (output.made_by if output.made_by in RANGES else None), RANGES.get(output.made_by, UNBOUNDED)
    rectified = any(site.is_output and not site.smooth for site in context.record.sites)  # a rule of its own has it
    low = None if rectified else output.lowest
    return output.made_by, (-math.inf if low is None else low, math.inf if output.highest is None else output.highest)


def _outside(context: Context, term: LossTerm, last: str, bounds: tuple[float, float]) -> Finding:
    low, high = bounds
    target = term.target
    spread = max(target.deviation, 1e-12)
    beyond = max(low - target.minimum, target.maximum - high) / spread
    lower, upper = (f"{low:.4g}" if low > -math.inf else "below"), (f"{high:.4g}" if high < math.inf else "above")
    given = f"{lower} to {upper}" if low > -math.inf else f"{upper} at the most"
    by_log = term.operation in ("mul", "binary_cross_entropy")
    return Finding(
        rule="target-range",
        level="error" if by_log or beyond > 1 else "info" if context.learned else "warning",
        site=None,
        units=(),
        message=(
            f"the targets ({target.name}) go from {target.minimum:.3g} to {target.maximum:.3g}, and {term.output} "
            f"ends in a {last}, which gives {given}: some can never be met, {seen_on(context.record)}"
        ),
        evidence=evidence(
            output=term.output, made_by=last, target_minimum=target.minimum, target_maximum=target.maximum
        ),
        advice=(
            "Make them fit: scale the targets into that range, or end the model without that operation. Class "
            "labels 0, 1, 2, … take one output a class and cross_entropy. The hidden units have no part in it."
        ),
    )


@rule(
    "target-scale",
    concern="loss",
    summary="targets of a regression that are far too large for its steps",
    thresholds=("target_high", "learned"),
)
def target_scale(context: Context) -> list[Finding]:
    """One finding for the network, unless it fits them already."""
    t, known = context.thresholds, {id(fit.term): fit for fit in fits(context.record)}
    for term in context.record.terms:
        target, fit = term.target, known.get(id(term))
        real = term.operation in REAL and target.is_floating
        if not real or target.root_mean_square <= t.target_high or (fit is not None and fit.score >= t.learned):
            continue
        return [
            Finding(
                rule="target-scale",
                level="info",
                site=None,
                units=(),
                message=(
                    f"the targets ({target.name}) are large: root mean square {target.root_mean_square:.3g}, where "
                    f"{term.output} has {term.given.root_mean_square:.3g}, {seen_on(context.record)}"
                    + ("" if fit is None else f"; {fit.words}")
                ),
                evidence=evidence(
                    target=target.root_mean_square,
                    output=term.given.root_mean_square,
                    score=None if fit is None else fit.score,
                ),
                advice=(
                    "Standardise the targets, (y − mean) ÷ std, and turn predictions back afterwards: steps of a "
                    "usual rate "
                    "do not reach such values, and their gradients throw units out of the data. No slope makes up "
                    "for it."
                ),
            )
        ]
    return []

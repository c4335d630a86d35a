"""What the loss asks for: whether the last layer, the loss and the targets fit each other.

Told from what the loss was seen to compare; without `loss=` these rules find nothing.
"""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.fit import fits
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import OVER_SAMPLES, LossTerm, TensorStatistics

RANGES = {
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, math.inf),
    "softplus": (0.0, math.inf),
}
"""What an output can be, by what made it."""
SOFTMAX, SIGMOID = ("softmax",), ("sigmoid",)
REAL = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "sub")
"""Comparisons of real numbers."""


def output_of(context: Context, term: LossTerm) -> TensorStatistics | None:
    """The output that a term compares."""
    return next((out for out in context.record.outputs if out.name == term.output), None)


def _last(context: Context, term: LossTerm) -> str | None:
    """The operation that bounds what is compared: on the way to the loss, or the model's last one."""
    bounding = [step for step in term.path if step in (*RANGES, "log_softmax", "log", "logsigmoid", "log_sigmoid")]
    output = output_of(context, term)
    return bounding[-1] if bounding else None if output is None else output.made_by


@rule("loss-misfit", concern="loss", summary="a last layer that does not fit the loss behind it")
def loss_misfit(context: Context) -> list[Finding]:
    """One finding a misfit: softmax over the samples, over one unit or twice, sigmoid twice, no logarithm."""
    found: dict[str, Finding] = {}
    compared = {term.output for term in context.record.terms}
    for name, softmax in _over_samples(context).items():
        found[name] = _mixes_samples(context, name, softmax, "error" if name in compared else "warning")
    for output in context.record.outputs:
        if output.made_by in ("softmax", "log_softmax") and output.made_over == 1:
            found.setdefault(output.name, _one_unit(context, output.name, output.made_by))
    for term in context.record.terms:
        if term.output not in found and (misfit := _misfit(context, term)) is not None:
            found[term.output] = misfit
    return list(found.values())


def _over_samples(context: Context) -> dict[str, str]:
    """The outputs that went through a softmax over the batch's samples, in the model or in the loss."""
    steps = [(out.name, out.made_by or "") for out in context.record.outputs]
    steps += [(term.output, step) for term in context.record.terms for step in term.path]
    return {name: step.removesuffix(OVER_SAMPLES) for name, step in steps if step.endswith(OVER_SAMPLES)}


def _mixes_samples(context: Context, output: str, softmax: str, level: Level) -> Finding:
    return Finding(
        rule="loss-misfit",
        level=level,
        site=None,
        units=(),
        message=(
            f"{output} has gone through a {softmax} over the samples of a batch: what one sample gets, the others "
            f"lose, {seen_on(context.record)}"
        ),
        evidence=evidence(output=output, made_by=softmax + OVER_SAMPLES),
        advice=(
            "Take it over the classes, `dim=1` where samples come first (without `dim`, torch takes the first axis of "
            "some shapes): as it is, no sample has an answer of its own. The hidden units have no part in it."
        ),
    )


def _misfit(context: Context, term: LossTerm) -> Finding | None:
    last, classes = _last(context, term), term.given.shape[1] if len(term.given.shape) > 1 else 0
    if term.operation == "cross_entropy":
        if classes == 1 and not term.target.is_floating:
            return _one_unit(context, term.output, "cross_entropy")
        if last in ("softmax", "sigmoid"):
            return _finding(
                context,
                term,
                "warning",
                f"{term.output} has gone through a {last} before cross_entropy, which takes a softmax itself",
                f"Give cross_entropy the logits: leave the {last} out of the model (take it when predicting). "
                "Twice, it flattens the loss and its gradient.",
            )
    if term.operation == "binary_cross_entropy_with_logits" and last in ("sigmoid", "softmax"):
        return _finding(
            context,
            term,
            "warning",
            f"{term.output} has gone through a {last} before binary_cross_entropy_with_logits, which takes a sigmoid "
            "itself",
            f"Leave the {last} out of the model, or take binary_cross_entropy. Twice, no output leaves (.5, .73).",
        )
    logarithms = ("log_softmax", "log", "logsigmoid", "log_sigmoid")
    if term.operation == "nll_loss" and last not in logarithms and term.given.maximum > 1e-3:
        return _finding(
            context,
            term,
            "error",
            f"nll_loss takes logarithms of probabilities, at most 0, and {term.output} reaches "
            f"{term.given.maximum:.3g}",
            "Take cross_entropy on the logits, or put a log_softmax in front: as it is the loss falls without end.",
        )
    return None


def _one_unit(context: Context, output: str, made_by: str) -> Finding:
    return Finding(
        rule="loss-misfit",
        level="error",
        site=None,
        units=(),
        message=(
            f"{output} is a softmax over one unit: it is always "
            f"{'0' if made_by == 'log_softmax' else '1'}, whatever goes in, and passes no gradient"
        ),
        evidence=evidence(output=output, made_by=made_by),
        advice=(
            "For two classes take a sigmoid over one unit with binary cross-entropy, or two units with "
            "cross_entropy on their logits. The hidden units have no part in it."
        ),
    )


def _finding(context: Context, term: LossTerm, level: Level, message: str, advice: str) -> Finding:
    return Finding(
        rule="loss-misfit",
        level=level,
        site=None,
        units=(),
        message=f"{message}, {seen_on(context.record)}",
        evidence=evidence(operation=term.operation, output=term.output, path=list(term.path)),
        advice=advice,
    )


@rule("target-shape", concern="loss", summary="outputs and targets that broadcast against each other")
def target_shape(context: Context) -> list[Finding]:
    """One finding a comparison in which every output meets every target."""
    found = []
    for term in context.record.terms:
        mine, theirs = term.given.shape, term.target.shape
        if mine == theirs or math.prod(mine) != math.prod(theirs) or math.prod(mine) < 2:
            continue
        if term.operation not in (*REAL, "mul", "binary_cross_entropy", "kl_div"):
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
    return Finding(
        rule="target-shape",
        level="error",
        site=None,
        units=(),
        message=(
            f"the loss compares every output with every target: {term.output} has shape ({mine}) and "
            f"{term.target.name} ({theirs}), which broadcast to {math.prod(together):,} differences, "
            f"{seen_on(context.record)}"
        ),
        evidence=evidence(
            operation=term.operation, output_shape=list(term.given.shape), target_shape=list(term.target.shape)
        ),
        advice=(
            "Give both one shape: `target[:, None]`, or `output.squeeze(-1)`. As it is the network can learn no "
            "more than the targets' mean; its units have no part in it."
        ),
    )


@rule("target-range", concern="loss", summary="targets that the network's last operation can never give")
def target_range(context: Context) -> list[Finding]:
    """One finding an output whose bounds the targets leave; a final rectifier has a rule of its own."""
    found: dict[str, Finding] = {}
    for term in context.record.terms:
        last, target = _last_bound(context, term), term.target
        if (
            last is None
            or last == "relu"
            or target.entries == 0
            or term.operation in ("cross_entropy", "gather", "nll_loss")
        ):
            continue
        low, high = RANGES[last]
        slack = 1e-3 * (high - low if math.isfinite(high) else 1.0)
        if target.minimum < low - slack or target.maximum > high + slack:
            found.setdefault(term.output, _outside(context, term, last))
    return list(found.values())


def _last_bound(context: Context, term: LossTerm) -> str | None:
    """The bounding operation, where nothing but clamps and logarithms stands between it and the comparison."""
    harmless = ("clamp", "log", "rsub", "clip", "log1p", "add", "neg")
    steps = [step for step in term.path if step not in harmless]
    if steps and steps[-1] in RANGES:
        return steps[-1]
    output = output_of(context, term)
    bound = None if output is None or steps else output.made_by
    return bound if bound in RANGES else None


def _outside(context: Context, term: LossTerm, last: str) -> Finding:
    low, high = RANGES[last]
    target = term.target
    spread = max(target.deviation, 1e-12)
    beyond = max(low - target.minimum, target.maximum - high) / spread
    upper = f"{high:g}" if math.isfinite(high) else "above"
    by_log = term.operation in ("mul", "binary_cross_entropy")
    return Finding(
        rule="target-range",
        level="error" if by_log or beyond > 1 else "warning",
        site=None,
        units=(),
        message=(
            f"the targets ({target.name}) go from {target.minimum:.3g} to {target.maximum:.3g}, and {term.output} "
            f"ends in a {last}, which gives {low:g} to {upper}: some can never be met, {seen_on(context.record)}"
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

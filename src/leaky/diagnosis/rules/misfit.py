"""Whether the last layer fits the loss behind it: a softmax over the wrong axis, over one unit or twice, no logarithm.

Told from what the loss was seen to compare; of a softmax in the model itself also without `loss=`.
"""

from __future__ import annotations

import math

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.rules.targets import RANGES, output_of
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import OVER_SAMPLES, LossTerm


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
        if term.output not in found and (misfit := _misfit(context, term) or _other_axis(context, term)) is not None:
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


def _other_axis(context: Context, term: LossTerm) -> Finding | None:
    """Probabilities that sum to 1 over as many entries as there are no classes."""
    output = output_of(context, term)
    classes = term.given.shape[1] if len(term.given.shape) > 1 else 0
    over = None if output is None else output.made_over
    last = None if output is None else output.made_by
    if term.operation not in ("nll_loss", "cross_entropy") or over is None or classes < 2 or over == classes:
        return None
    return _finding(
        context,
        term,
        "warning",
        f"{term.output} has gone through a {last} over {over} entries, and {term.operation} takes {classes} classes: "
        "its probabilities sum to 1 over another axis",
        "Take it over the classes: `dim=` must be the axis that cross_entropy compares, 1 of (samples, classes, …). As "
        "it is, what one position gets, the others lose. The hidden units have no part in it.",
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
    if term.operation == "cross_entropy" and _are_cosines(context, term, classes):
        return _cosines(context, term, classes)
    logarithms = ("log_softmax", "log", "logsigmoid", "log_sigmoid")
    if term.operation in ("nll_loss", "kl_div") and last not in logarithms and term.given.maximum > 1e-3:
        return _finding(
            context,
            term,
            "error",
            f"{term.operation} takes logarithms of probabilities, at most 0, and {term.output} reaches "
            f"{term.given.maximum:.3g}",
            "Put a log_softmax in front (a log behind probabilities), or take cross_entropy on the logits: as it is "
            "the loss falls without end.",
        )
    return None


NEAR_ONE = (0.9, 1.001)
"""Between these lies the largest of many cosines where some outputs fit well."""


def _are_cosines(context: Context, term: LossTerm, classes: int) -> bool:
    """Whether logits that name the right class stay within −1 and 1, and come up to it: no others do both."""
    within = term.given.minimum >= -NEAR_ONE[1] and NEAR_ONE[0] <= term.given.maximum <= NEAR_ONE[1]
    return within and classes > 1 and not term.target.is_floating and context.learned is True


def _cosines(context: Context, term: LossTerm, classes: int) -> Finding:
    least = math.log1p((classes - 1) * math.exp(-2))
    return _finding(
        context,
        term,
        "info",
        f"{term.output} lies between {term.given.minimum:.2g} and {term.given.maximum:.2g} although it names the "
        f"right class: as cosines are, it lets the cross-entropy of {classes} classes fall to {least:.2g} at the least",
        "Multiply cosines by a temperature, learned or 10 to 30, before the loss (leave out what bounds the logits "
        "otherwise). The hidden units have no part in it.",
    )


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

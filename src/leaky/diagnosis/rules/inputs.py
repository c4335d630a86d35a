"""What goes in: constant, far from 0, far too large or small, or with outliers. Facts about the data given.

By themselves they are notes: many networks stand them. They become the cause where something goes wrong behind them,
as where a network that has learned nothing takes them as they are.
Only real numbers are judged: tokens are names, and a network that takes bytes scales them itself.
"""

from __future__ import annotations

import math

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import all_of, evidence, seen_on
from leaky.record import TensorStatistics
from leaky.text import percentage

STANDARDISE = "standardise it, (x − mean) ÷ std a feature, by the training data"


@rule("input-constant", concern="input", summary="inputs that are the same for every sample")
def input_constant(context: Context) -> list[Finding]:
    """One finding, if every input is exactly the same on all samples."""
    inputs, record = context.record.inputs, context.record
    if record.samples < 2 or not inputs or not all(tensor.alike and tensor.samples > 1 for tensor in inputs):
        return []
    zero = all(tensor.minimum == tensor.maximum == 0 for tensor in inputs)
    what = "all zero" if zero else "the same"
    return [
        Finding(
            rule="input-constant",
            level="warning",
            site=None,
            units=(),
            message=f"the input is {what} on {all_of(record)}",
            evidence=evidence(samples=record.samples, all_zero=zero, inputs=[tensor.name for tensor in inputs]),
            advice=(
                "Look at what loads the data before looking at the network: it can tell nothing apart, and what "
                "its units do on other inputs is not known."
                + (" Where the input is 0 only biases reach the units; those at exactly 0 get no gradient." * zero)
            ),
        )
    ]


@rule(
    "input-outliers",
    concern="input",
    summary="inputs with single values far beyond the others",
    thresholds=("input_outlier",),
)
def input_outliers(context: Context) -> list[Finding]:
    """One finding an input that has them."""
    return [found for tensor in _judged(context) if (found := _outliers(context, tensor)) is not None]


def _outliers(context: Context, tensor: TensorStatistics) -> Finding | None:
    limit, largest = context.thresholds.input_outlier, tensor.largest
    others = _without_largest(tensor)
    if largest <= limit or largest <= limit * others:
        return None
    return Finding(
        rule="input-outliers",
        level="info",
        site=None,
        units=(),
        message=(
            f"{tensor.name} reaches {largest:.3g} where the root mean square of the rest is {others:.3g}, "
            f"{seen_on(context.record)}"
        ),
        evidence=evidence(input=tensor.name, largest=largest, others=others, ratio=largest / max(others, 1e-300)),
        advice=(
            "Look at those samples: wrong units, a missing value written as a number, a corrupt file. Else clip the "
            "feature or take its logarithm; one such step can throw every unit's bias out of the data."
        ),
    )


def _without_largest(tensor: TensorStatistics) -> float:
    """Root mean square of all entries but the largest."""
    rest = max(tensor.squares - tensor.largest**2, 0.0)
    return math.sqrt(rest / max(tensor.entries - 1, 1))


@rule(
    "input-scale",
    concern="input",
    summary="inputs that are far too large or too small",
    thresholds=("input_high", "input_low", "input_outlier"),
)
def input_scale(context: Context) -> list[Finding]:
    """One finding an input whose largest feature is large, or that is small as a whole."""
    found = []
    for tensor in _judged(context):
        if _outliers(context, tensor) is None:
            found += _scale(context, tensor)
    return found


def _scale(context: Context, tensor: TensorStatistics) -> list[Finding]:
    t, sizes = context.thresholds, _feature_sizes(tensor)
    largest, middle = float(sizes.max()), float(np.median(sizes[sizes > 0])) if (sizes > 0).any() else 0.0
    if largest > t.input_high:
        many = int((sizes > t.input_high).sum())
        which = f" in {many:,} of {len(sizes):,} features" if 0 < many < len(sizes) else ""
        words = f"{tensor.name} is large: root mean square {largest:.3g}{which}, median {middle:.3g}"
    elif 0 < tensor.largest < t.input_low:
        words = f"{tensor.name} is small: no entry is beyond {tensor.largest:.2g}"
    else:
        return []
    return [
        Finding(
            rule="input-scale",
            level=context.if_unlearned if largest > t.input_high and _arrives(context) else "info",
            site=None,
            units=(),
            message=f"{words}, {seen_on(context.record)}; initialisations and rates in use are made for about 1",
            evidence=evidence(
                input=tensor.name, largest_feature=largest, median_feature=middle, largest=tensor.largest
            ),
            advice=(
                f"If training does not go well, {STANDARDISE}, before anything else: no slope makes up for it. "
                "Where the network begins with a normalisation, nothing is wrong."
            ),
        )
    ]


def _arrives(context: Context) -> bool:
    """Whether the first site's pre-activations are as large as no input should be: nothing has scaled it before."""
    sums = [site.statistics for site in context.record.sites[:1]]
    return any(s.squares.sum() > context.thresholds.input_high**2 * s.elements.sum() for s in sums)


@rule(
    "input-offset",
    concern="input",
    summary="inputs that are nearly all mean: far from 0 for their spread",
    thresholds=("input_offset",),
)
def input_offset(context: Context) -> list[Finding]:
    """One finding an input whose features' means hold nearly all of Σx²."""
    found = []
    for tensor in _judged(context):
        features = tensor.features
        if features is None or tensor.alike or tensor.samples < context.thresholds.least_samples:
            continue
        varying = ~features.constant & (features.entries > 0)
        total = float(features.squares[varying].sum())
        share = float((features.mean**2 * features.entries)[varying].sum()) / total if total > 0 else 0.0
        if share >= context.thresholds.input_offset:
            found.append(
                Finding(
                    rule="input-offset",
                    level="info",
                    site=None,
                    units=(),
                    message=(
                        f"{percentage(share)} of the second moment of {tensor.name} is its features' mean, "
                        f"{seen_on(context.record)}: all samples look much alike"
                    ),
                    evidence=evidence(input=tensor.name, share=share),
                    advice=f"If training does not go well, {STANDARDISE}, before anything else.",
                )
            )
    return found


def _judged(context: Context) -> list[TensorStatistics]:
    """The inputs that hold real numbers that vary."""
    return [t for t in context.record.inputs if t.is_floating and t.entries > 1 and not (t.alike and t.samples > 1)]


def _feature_sizes(tensor: TensorStatistics) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Root mean square of each feature; of the whole where features are not kept apart."""
    features = tensor.features
    if features is None:
        return np.array([tensor.root_mean_square])
    return np.asarray(np.sqrt(features.squares / np.maximum(features.entries, 1)))

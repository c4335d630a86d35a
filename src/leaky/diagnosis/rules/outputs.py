"""What comes out: outputs that are the same for every input, and whether anything was learned.

What holds on all the data given is a fact at any number of samples; only the step to other data needs a bound.
"""

from __future__ import annotations

import numpy as np

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.fit import fits
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.rules.saturation import flat_ends
from leaky.diagnosis.wording import all_of, evidence, seen_on
from leaky.record import Site, TensorStatistics
from leaky.text import counted


@rule(
    "same-output",
    concern="output",
    summary="outputs that are the same for every input",
    thresholds=("constant_range",),
)
def same_output(context: Context) -> list[Finding]:
    """One finding for the outputs that did not change over two or more samples."""
    record, limit = context.record, context.thresholds.constant_range
    per_sample = [out for out in record.outputs if out.samples == record.samples > 1 and out.entries]
    same = [out for out in per_sample if out.alike or _practically_alike(out, limit)]
    if not same:
        return _same_within_batches(context, per_sample)
    every = len(same) == len(per_sample)
    exact = all(out.alike for out in same)
    names = "the output is" if every and len(same) == 1 else f"{', '.join(out.name for out in same[:4])}: the output is"
    targets = _varying_targets(context, same)
    level: Level = "error" if every or targets else "info"
    return [
        Finding(
            rule="same-output",
            level=level,
            site=None,
            units=(),
            message=(
                f"{names} {'exactly' if exact else 'practically'} the same for {all_of(record)}"
                + (f", while the targets go from {targets[0]:.3g} to {targets[1]:.3g}" if targets else "")
            ),
            evidence=evidence(outputs=[out.name for out in same], samples=record.samples, exact=exact),
            advice=(
                "Nothing of the input reaches the end: look for the first place where all samples become the same. "
                "More training cannot undo it where no gradient comes back."
                if level == "error"
                else "Right for an output that does not depend on the input, such as a learned scale."
            ),
        )
    ]


def _same_within_batches(context: Context, outputs: list[TensorStatistics]) -> list[Finding]:
    """One finding for outputs that are the same for all samples of a batch, and differ from batch to batch."""
    same = [out for out in outputs if out.alike_by_batch]
    varied = any(not tensor.alike_by_batch for tensor in context.record.inputs)
    if not same or len(same) < len(outputs) or not varied:
        return []
    targets = _varying_targets(context, same)
    return [
        Finding(
            rule="same-output",
            level="error" if targets else "info",
            site=None,
            units=(),
            message=(
                f"the output is exactly the same for all samples of a batch, and another for each batch, "
                f"{seen_on(context.record)}"
                + (f", while the targets go from {targets[0]:.3g} to {targets[1]:.3g}" if targets else "")
            ),
            evidence=evidence(
                outputs=[out.name for out in same], samples=context.record.samples, exact=True, within_batches=True
            ),
            advice=(
                "Something is drawn together over the samples: a mean, sum, maximum or softmax over axis 0, where the "
                "samples lie, in place of another axis. Right for a figure of the whole batch."
            ),
        )
    ]


def _practically_alike(out: TensorStatistics, limit: float) -> bool:
    features = out.features
    if features is None or not out.is_floating:
        return False
    largest = np.maximum(np.abs(features.minimum), np.abs(features.maximum))
    return bool((features.maximum - features.minimum <= limit * largest).all())


def _varying_targets(context: Context, same: list[TensorStatistics]) -> tuple[float, float] | None:
    names = {out.name for out in same}
    for term in context.record.terms:
        if term.output in names and not term.target.alike:
            return term.target.minimum, term.target.maximum
    return None


@rule(
    "not-learning",
    concern="output",
    summary="outputs that fit the targets no better than a constant would",
    thresholds=("stalled", "least_samples"),
)
def not_learning(context: Context) -> list[Finding]:
    """One finding for the network, where `loss=` shows the targets."""
    poor = [fit for fit in fits(context.record) if fit.score < context.thresholds.stalled]
    if not poor or context.record.samples < context.thresholds.least_samples:
        return []
    worst = min(poor, key=lambda fit: fit.score)
    return [
        Finding(
            rule="not-learning",
            level="info",
            site=None,
            units=(),
            message=(
                f"the outputs fit the targets ({worst.term.target.name}) no better than a constant: {worst.words}, "
                f"{seen_on(context.record)}"
            ),
            evidence=evidence(scores=[fit.score for fit in poor], outputs=[fit.term.output for fit in poor]),
            advice=(
                "Nothing to worry about before training. After it, and where nothing below is wrong with the "
                "units, look "
                "elsewhere: do targets and inputs belong together (shuffled?), does the loss fit, is the rate too "
                "small or "
                "too large, are all parameters in the optimizer? A few samples learned by heart tell the code from "
                "the data."
            ),
        )
    ]


@rule("no-gradient", concern="gradient", summary="parameters that no gradient reaches, or whose gradient is exactly 0")
def no_gradient(context: Context) -> list[Finding]:
    """One finding for the network if no parameter gets any; else one for the part that gets none."""
    gradients = context.record.gradients
    if gradients is None:
        return _blocked_sites(context)
    if gradients.parameters == 0:
        return [_frozen(context)]
    if gradients.all_zero:
        return [
            Finding(
                rule="no-gradient",
                level="info" if context.learned and not gradients.unreached else "error",  # nothing is left to learn
                site=None,
                units=(),
                message=(
                    f"the gradient of all {counted(gradients.parameters, 'parameter tensor')} is exactly 0 on "
                    f"{all_of(context.record)}: nothing can learn"
                ),
                evidence=evidence(parameters=gradients.parameters, samples=context.record.samples),
                advice=(
                    "Look for what blocks it between the parameters and the loss: a rectifier that is 0 everywhere, a "
                    "softmax over one unit, a saturated or rounding last step."
                ),
            )
        ]
    cut = _cut_off(context, "unreached", gradients.unreached) + _cut_off(context, "zero", gradients.zero)
    return flat_ends(context) or cut


def _frozen(context: Context) -> Finding:
    """Every parameter is frozen: meant so in a network that is only used, and none that has yet to learn."""
    return Finding(
        rule="no-gradient",
        level=context.if_unlearned,
        site=None,
        units=(),
        message="no parameter requires a gradient: the whole network is frozen, and no training changes it",
        evidence=evidence(parameters=0, kind="frozen"),
        advice=(
            "Right for a network that is only used. To train it, set requires_grad to True for the parts that are to "
            "learn, and give the optimizer those: `filter(lambda p: p.requires_grad, model.parameters())`."
        ),
    )


def _cut_off(context: Context, kind: str, names: tuple[str, ...]) -> list[Finding]:
    """The parameters that get none, at the last site that they feed."""
    if not names:
        return []
    sites = [s for s in context.record.sites if s.producers and all(p.name in names for p in s.producers)]
    reached = [place for place, s in enumerate(context.record.sites) if _gets_gradient(s)]
    last = sites[-1] if sites else None
    behind = last is not None and any(place > context.record.sites.index(last) for place in reached)
    on_the_way = last is not None and (last.bypassed is False if kind == "zero" else not last.is_output)
    bad = last is not None and on_the_way and (behind or not last.bypassed)
    what = "no gradient reaches" if kind == "unreached" else "the gradient is exactly 0 at"
    return [
        Finding(
            rule="no-gradient",
            level="warning" if bad else "info",
            site=last.name if last is not None and bad else None,
            units=(),
            message=(
                f"{what} {counted(len(names), 'parameter tensor')} ({', '.join(names[:4])}"
                f"{' …' if len(names) > 4 else ''}), {seen_on(context.record)}"
            ),
            evidence=evidence(parameters=list(names), kind=kind, sites=[s.name for s in sites]),
            advice=(
                "Look for a `detach`, `no_grad`, `.data`, numpy or argmax between them and the loss, or a part of "
                "the output that the loss does not use. If they are meant to stay as they are, set requires_grad "
                "to False."
                if kind == "unreached"
                else "Look for a site of dead units behind them, a rounding step, or a weight that is 0: a branch that "
                "begins at 0 gets its gradient once that weight has moved."
            ),
        )
    ]


def _blocked_sites(context: Context) -> list[Finding]:
    """The same from the sites alone, in records that do not know the parameters': named at the last of them."""
    sites = [site for site in context.averaged_sites() if site.statistics.gradient]
    stuck = [site for site in sites if not _gets_gradient(site)]
    if not stuck or len(stuck) == len(sites):
        return []
    return [
        Finding(
            rule="no-gradient",
            level="warning",
            site=stuck[-1].name,
            units=(),
            message=f"no gradient at all arrives here {seen_on(context.record, stuck[-1])}, nor at any site before",
            evidence=evidence(kind="zero", sites=[site.name for site in stuck]),
            advice=(
                "Look for a site of dead units behind it, a `detach` or `no_grad`, or an output left out of the loss."
            ),
        )
    ]


def _gets_gradient(site: Site) -> bool:
    gradient = site.statistics.gradient
    return gradient is not None and (gradient.nonfinite > 0 or bool((gradient.squares != 0).any()))

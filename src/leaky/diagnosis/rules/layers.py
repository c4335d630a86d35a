"""Layers beside the sites: BatchNorm's running statistics, and one set of weights at several places."""

from __future__ import annotations

import math

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import evidence, seen_on
from leaky.record import Normalisation
from leaky.text import counted, listed


@rule(
    "batchnorm-statistics",
    concern="normalisation",
    summary="BatchNorms whose running statistics are fresh, or far from what comes in",
    thresholds=("norm_distance", "norm_spread"),
)
def batchnorm_statistics(context: Context) -> list[Finding]:
    """One finding for the network, in eval mode, where these statistics are what decides."""
    if context.record.mode != "eval" or not context.record.normalisations:
        return []
    fresh = [norm for norm in context.record.normalisations if norm.batches == 0 and norm.untouched]
    if fresh:
        return [_fresh(context, fresh)]
    stale = [norm for norm in context.record.normalisations if _is_stale(context, norm)]
    return [] if context.record.on_noise or not stale else [_stale(context, stale)]


def _fresh(context: Context, fresh: list[Normalisation]) -> Finding:
    return Finding(
        rule="batchnorm-statistics",
        level="info",
        site=None,
        units=(),
        message=(
            f"{_named(fresh)} have seen no batch: in eval mode they do nothing yet, so what is told here is not "
            f"how the network will run, {seen_on(context.record)}"
        ),
        evidence=evidence(fresh=[norm.name for norm in fresh]),
        advice=(
            'Look in train mode, which is how it will learn: `mode="train"`, on the command line `--mode train`. If it '
            "was trained, its running statistics were not saved or not loaded."
        ),
    )


def _is_stale(context: Context, norm: Normalisation) -> bool:
    t = context.thresholds
    far = norm.distance is not None and norm.distance > t.norm_distance
    wide = norm.spread is not None and (norm.spread > t.norm_spread or norm.spread * t.norm_spread < 1)
    return far or wide


def _stale(context: Context, stale: list[Normalisation]) -> Finding:
    first = stale[0]
    distance, spread = first.distance or 0.0, first.spread or math.nan
    return Finding(
        rule="batchnorm-statistics",
        level="warning",
        site=None,
        units=(),
        message=(
            f"the running statistics of {_named(stale)} are not those of what comes in {seen_on(context.record)}: at "
            f"{first.name} the means are {distance:.2g} running standard deviations apart, and its variance is × "
            f"{spread:.2g}"
        ),
        evidence=evidence(
            stale=[norm.name for norm in stale],
            distances=[norm.distance or 0.0 for norm in stale],
            spreads=[norm.spread or 0.0 for norm in stale],
        ),
        advice=(
            "Either these data are not what it was trained on (scaled otherwise?), or the statistics are stale: "
            "weights changed since, a momentum too small, batches too different. Estimate them anew: run training data "
            "through in train mode without stepping. `leaky repair` tries just that first."
        ),
    )


def _named(norms: list[Normalisation]) -> str:
    return (
        f"{counted(len(norms), 'BatchNorm')} ({', '.join(n.name for n in norms[:3])}{' …' if len(norms) > 3 else ''})"
    )


@rule(
    "unregistered",
    concern="parameters",
    summary="layers and tensors that want to learn and are no parameters of the model",
    thresholds=("learned",),
)
def unregistered(context: Context) -> list[Finding]:
    """One finding for the network: an optimizer of its parameters never trains them, as a teacher's are not to be."""
    names = context.record.unregistered
    if not names:
        return []
    return [
        Finding(
            rule="unregistered",
            level=context.if_unlearned,
            site=None,
            units=(),
            message=(
                f"what wants to learn at {counted(len(names), 'place')} ({listed(names)}) is no parameter of the "
                "model: an optimizer of model.parameters() never trains it"
            ),
            evidence=evidence(layers=list(names)),
            advice=(
                "Hold layers in nn.ModuleList, nn.ModuleDict or an attribute of their own, and tensors in "
                "nn.Parameter, which register them."
            ),
        )
    ]


@rule("shared-weights", concern="sharing", summary="layers that run more than once in one pass")
def shared_weights(context: Context) -> list[Finding]:
    """One finding for the network: meant so in a recurrent or siamese one, an accident in others."""
    shared = context.record.shared_layers
    if not shared:
        return []
    names = ", ".join(f"{layer.name or 'the model itself'} (× {layer.calls})" for layer in shared[:4])
    return [
        Finding(
            rule="shared-weights",
            level="info",
            site=None,
            units=(),
            message=(
                f"{counted(len(shared), 'layer')} ran more than once in one pass: "
                f"{names}{' …' if len(shared) > 4 else ''}"
            ),
            evidence=evidence(layers=[layer.name for layer in shared], calls=[layer.calls for layer in shared]),
            advice=(
                "One set of weights serves all these places: right for recurrent, siamese and tied layers. If they "
                "were meant to be separate layers, make one for each place."
            ),
        )
    ]

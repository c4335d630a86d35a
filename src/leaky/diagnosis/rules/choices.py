"""What chooses among other values and has stopped doing so: gates, attention, maxout, a softmax between layers."""

from __future__ import annotations

from collections.abc import Sequence

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding, Level
from leaky.diagnosis.rules.rule import rule
from leaky.diagnosis.wording import evidence
from leaky.record import OVER_BATCH, PIECES, Choice
from leaky.structure.softmaxes import REASON
from leaky.text import counted, listed, percentage

STUCK = 0.999
"""Share of a gate's entries from which on it is the same for every sample."""


@rule(
    "shut-gate",
    concern="choice",
    summary="gates that are shut, or open, for every sample",
    thresholds=("least_samples", "learned"),
)
def shut_gate(context: Context) -> list[Finding]:
    """One finding for the gates that are shut; else one for those that are open."""
    gates = _known(context, "gate")
    shut = [gate for gate in gates if gate.low >= STUCK * gate.entries]
    opened = [gate for gate in gates if gate.high >= STUCK * gate.entries]
    stuck = shut or opened
    if not stuck:
        return []
    level: Level = context.unless_fit if shut else "info"
    lets = "at most a thousandth" if shut else "all but a thousandth"
    return [
        Finding(
            rule="shut-gate",
            level=level,
            site=None,
            units=(),
            message=(
                f"{len(stuck)} of {counted(len(gates), 'gate')} ({_names(stuck)}) {'shut' if shut else 'open'}: "
                f"{_share([g.low if shut else g.high for g in stuck], stuck, 'entries')} let {lets} pass, "
                "and hardly any gradient reaches what sets them"
            ),
            evidence=evidence(gates=[gate.name for gate in stuck], shut=bool(shut), of=len(gates)),
            advice=(
                "What the gate scales is lost. Set its bias near 0 (forget and carry gates 1 to 2), look for one bad "
                "step or a raw input before it; `leaky.repair` tries the biases."
                if shut
                else "The gate decides nothing: fine if it is meant to be open; else bring its bias near 0."
            ),
        )
    ]


@rule(
    "saturated-attention",
    concern="choice",
    summary="attention that gives all to one position, in nearly every row",
    thresholds=("saturated_warning", "least_samples", "learned"),
)
def saturated_attention(context: Context) -> list[Finding]:
    """One finding for the attention whose scores get no gradient; hard attention that has learned is sharp too."""
    known = _known(context, "attention")
    sharp = [one for one in known if one.high >= context.thresholds.saturated_warning * one.entries]
    if not sharp:
        return []
    return [
        Finding(
            rule="saturated-attention",
            level=context.if_unlearned,
            site=None,
            units=(),
            message=(
                f"attention is one-hot at {len(sharp)} of {counted(len(known), 'place')} ({_names(sharp)}): "
                f"{_share([one.high for one in sharp], sharp, 'rows')} leave at most a thousandth to all other "
                "positions (entropy practically 0), and no gradient reaches queries and keys there"
            ),
            evidence=evidence(
                softmaxes=[one.name for one in sharp], shares=[one.high / one.entries for one in sharp], of=len(known)
            ),
            advice=(
                "The scores are too large: divide by √d, draw queries and keys smaller, normalise them, or look at "
                "the scale of what comes in. Meant so for hard attention."
            ),
        )
    ]


IDLE = 0.25
"""Share of the pieces of maxout's units from which on it is told that they are never the largest."""


@rule(
    "idle-pieces",
    concern="choice",
    summary="maxout whose linear pieces are never the largest",
    thresholds=("least_samples", "learned"),
)
def idle_pieces(context: Context) -> list[Finding]:
    """One finding for the layers of which many pieces were the largest on no sample that was counted."""
    enough = context.record.samples >= context.thresholds.least_samples
    known = [one for one in context.record.choices if enough and one.kind == PIECES]
    idle = [one for one in known if one.low >= IDLE * one.entries]
    if not idle:
        return []
    lost, pieces = sum(one.low for one in idle), sum(one.entries for one in idle)
    return [
        Finding(
            rule="idle-pieces",
            level=context.unless_fit,
            site=None,
            units=(),
            message=(
                f"{lost:,} of {pieces:,} pieces that the units of {_names(idle)} are the largest of were the largest "
                "on none of the samples that were counted: no gradient reaches them, as if their units were narrower"
            ),
            evidence=evidence(layers=[one.name for one in idle], idle=lost, pieces=pieces),
            advice=(
                "Bring the pieces of a unit to one level: set their biases near 0, draw their weights alike; "
                "`leaky.repair` tries the biases. A leak has no part in it."
            ),
        )
    ]


@rule(
    "softmax-inside",
    concern="choice",
    summary="a softmax as the activation of a hidden layer, or over the samples of a batch",
    thresholds=("learned",),
)
def softmax_inside(context: Context) -> list[Finding]:
    """One finding for the hidden layers that end in a softmax, or else for those that run over the samples."""
    names = [item.name for item in context.record.not_examined if item.reason == REASON]
    if not names:
        return _over_batch(context)
    message = (
        f"{counted(len(names), 'hidden layer')} ({listed(names, 4)}) {'ends' if len(names) == 1 else 'end'} in a "
        "softmax: its units share a sum of 1, so that hardly anything of the sample is left for the next layer"
    )
    advice = "Take a rectifier there and keep the softmax for the end. Right for a soft choice among codes."
    return [_softmax_inside(context, message, advice, names=names)]


def _over_batch(context: Context) -> list[Finding]:
    names = [one.name for one in context.record.choices if one.kind == OVER_BATCH]
    if not names:
        return []
    message = (
        f"a softmax inside the model ({listed(names, 4)}) runs over the samples of a batch: what one sample gets, the "
        "others lose, and a sample's answer depends on which come with it"
    )
    advice = (
        "Attention's scores take it over the keys, `dim=-1`; without `dim`, torch takes the first axis of some shapes. "
        "If samples lie along another axis than the first, say so with `sample_dim`."
    )
    return [_softmax_inside(context, message, advice, names=names, over_samples=True)]


def _softmax_inside(context: Context, message: str, advice: str, **numbers: object) -> Finding:
    return Finding("softmax-inside", context.if_unlearned, None, (), message, evidence(**numbers), advice)


def _known(context: Context, kind: str) -> list[Choice]:
    least = context.thresholds.least_samples
    enough = context.record.samples >= least
    return [one for one in context.record.choices if enough and one.kind == kind and one.entries >= least]


def _names(found: Sequence[Choice]) -> str:
    return listed((one.name for one in found), 4)


def _share(counts: Sequence[int], found: Sequence[Choice], what: str) -> str:
    entries = sum(one.entries for one in found)
    return f"{percentage(sum(counts) / entries)} of the {entries:,} {what} that were counted"

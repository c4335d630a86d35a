"""What goes in: constant, off scale, with outliers, in other units; how experts and codes share it out."""

from __future__ import annotations

import numpy as np

from leaky.diagnosis import Finding, Level
from leaky.diagnosis.context import Context
from leaky.diagnosis.rules.inputs import input_constant, input_offset, input_outliers, input_scale
from leaky.record import Record
from leaky.watching.alarm_rules.now import Now, finding


def inputs(now: Now) -> list[Finding]:
    """One finding at most: a batch far larger than those before, or what a checkup would say of the input.

    Off its scale the input is a warning only where it does harm behind the first weights: many networks begin with a
    normalisation.
    """
    t = now.thresholds
    if now.input_jump >= t.spike_warning:
        message = f"the input of batch {now.batch} or one shortly before is {now.input_jump:.3g} times what it was"
        advice = "Look at that batch: other units, a missing value written as a number; clip or skip such batches."
        return [finding("input", "warning", None, message, advice, ratio=now.input_jump)]
    if not now.inputs:
        return []
    samples = max(tensor.samples for tensor in now.inputs)
    seen = Record(
        model="", data=f"batch {now.inputs_of}", mode="train", samples=samples, batches=1, sites=(), inputs=now.inputs
    )
    context = Context.of(seen, t)
    found = [
        each for rule in (input_constant, input_outliers, input_scale, input_offset) for each in rule.check(context)
    ]
    if not found:
        return []
    level: Level = "warning" if found[0].rule == "input-constant" or _does_harm(now) else "info"
    first = found[0]
    return [Finding("input", level, None, (), first.message, first.evidence, first.advice)]


def _does_harm(now: Now) -> bool:
    """Whether what comes to the first site is as large, or was large and now is nearly the same for every sample.

    That is what saturated gates and attention make of a large input: small values that tell the samples apart no more.
    A normalisation keeps them apart.
    """
    if not now.sites:
        return False
    t, first = now.thresholds, now.sites[0]
    large = any(tensor.is_floating and tensor.root_mean_square > t.input_high for tensor in now.inputs)
    return now.row[first.name]["second_moment"] >= t.input_high**2 or (large and first.alike >= t.input_offset)


def experts(now: Now) -> list[Finding]:
    """Mixtures some of whose experts are given practically nothing."""
    found, t = [], now.thresholds
    if not now.experts or now.samples < now.needed:
        return []
    for name, shares in now.experts.items():
        idle = tuple(int(i) for i in np.flatnonzero(shares < t.expert_share / len(shares)))
        if not idle:
            continue
        level: Level = "warning" if len(idle) >= t.stopped_warning * len(shares) else "info"
        told = ", ".join(f"{share:.0%}" for share in shares[:16])
        message = f"{len(idle)} of {len(shares)} experts in {name!r} are given practically no sample; shares: {told}"
        advice = "The loss hides it: look at the router's bias and scale, add a balancing loss or noise to the router."
        found.append(finding("experts", level, None, message, advice, experts=list(idle), shares=shares.tolist()))
    return found


def choices(now: Now) -> list[Finding]:
    """Tables of codes, among which the model chooses by what it computes, most of whose rows are never chosen."""
    found, t = [], now.thresholds
    for name, chosen in now.codes.items():
        idle = tuple(int(i) for i in np.flatnonzero(chosen == 0))
        if not idle:
            continue
        level: Level = "warning" if len(idle) >= t.codes_idle * len(chosen) else "info"
        message = f"{len(idle)} of {len(chosen)} codes in {name!r} are never chosen any more"
        advice = (
            "Let the codes begin among what the encoder gives, put those that nobody chooses where samples are, or "
            "lower the rate; a smaller table does as well where the loss is content."
        )
        found.append(finding("choices", level, None, message, advice, codes=list(idle), chosen=len(chosen) - len(idle)))
    return found

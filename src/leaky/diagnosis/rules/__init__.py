"""The rules, in the order in which they are documented and run."""

from __future__ import annotations

from collections.abc import Collection

from leaky.diagnosis.context import Context
from leaky.diagnosis.finding import Finding
from leaky.diagnosis.rules import (
    alike,
    choices,
    curvature,
    depth,
    gradient,
    inactive,
    inputs,
    layers,
    misfit,
    non_finite,
    origin,
    outputs,
    rectified_output,
    saturation,
    targets,
    throughput,
    weak,
)
from leaky.diagnosis.rules.rule import Rule
from leaky.errors import InputError

__all__ = ["RULES", "Rule", "run"]

RULES: dict[str, Rule] = {
    rule.slug: rule
    for rule in (
        inputs.input_constant,
        inputs.input_outliers,
        inputs.input_scale,
        inputs.input_offset,
        misfit.loss_misfit,
        targets.target_shape,
        targets.target_range,
        targets.target_scale,
        curvature.no_curvature,
        layers.batchnorm_statistics,
        layers.unregistered,
        inactive.dead,
        inactive.silent_so_far,
        inactive.nearly_dead,
        inactive.locked_negative,
        inactive.locked_positive,
        weak.dormant,
        weak.constant,
        weak.gradient_starved,
        weak.practically_linear,
        throughput.output_imbalance,
        throughput.over_sparse,
        throughput.negative_information_lost,
        saturation.saturated,
        choices.shut_gate,
        choices.saturated_attention,
        choices.idle_pieces,
        choices.softmax_inside,
        non_finite.non_finite,
        depth.growth,
        depth.decay,
        alike.alike_by_depth,
        alike.alike_units,
        gradient.vanishing_gradient,
        gradient.exploding_gradient,
        rectified_output.output_rectifier,
        outputs.same_output,
        outputs.no_gradient,
        outputs.not_learning,
        layers.shared_weights,
        origin.born_dead,
        origin.died_in_training,
        origin.initialisation_gain,
    )
}
"""Every rule by its slug."""


def run(context: Context, ignore: Collection[str] = ()) -> list[Finding]:
    """The findings of all rules but those in `ignore`.

    Raises:
        InputError: if `ignore` names a rule that does not exist.
    """
    for slug in ignore:
        if slug not in RULES:
            raise InputError(f"only rules can be ignored: {', '.join(RULES)}; {slug!r} is none of them")
    return [finding for slug, rule in RULES.items() if slug not in ignore for finding in rule.check(context)]

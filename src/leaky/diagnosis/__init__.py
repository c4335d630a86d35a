"""Record → findings: which units have stopped learning, why, how sure that is, and what to do.

Must never import torch: a diagnosis is made from a saved record anywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from leaky.diagnosis.causes import in_order
from leaky.diagnosis.comparing import compare
from leaky.diagnosis.comparison import Comparison
from leaky.diagnosis.context import Context
from leaky.diagnosis.examination import Diagnosis
from leaky.diagnosis.finding import LEVELS, Evidence, Finding, Level, level_rank
from leaky.diagnosis.rules import RULES, Rule, run
from leaky.diagnosis.thresholds import Thresholds
from leaky.diagnosis.verdicts import VERDICTS, UnitVerdicts
from leaky.errors import InputError
from leaky.record import Record

__all__ = [
    "LEVELS",
    "RULES",
    "VERDICTS",
    "Comparison",
    "Diagnosis",
    "Evidence",
    "Finding",
    "Level",
    "Rule",
    "Thresholds",
    "UnitVerdicts",
    "compare",
    "diagnose",
    "level_rank",
]


def diagnose(
    record: Record,
    *,
    initial: Record | None = None,
    ignore: Collection[str] = (),
    thresholds: Mapping[str, float] | None = None,
    population: bool = False,
) -> Diagnosis:
    """Every finding that the rules make of a record, and the verdict on each unit.

    Args:
        record: what was seen.
        initial: the same network before training, on comparable data: tells units born dead from those that died in
            training, and an initialisation that ignores the slope.
        ignore: slugs of rules to leave out; verdicts are not affected.
        thresholds: by name, in place of the defaults of `leaky.diagnosis.Thresholds`; docs/rules/README.md has the
            table.
        population: whether these data are all the data there is: what was seen is then true of all of them, however few
            they are, and no verdict needs a bound.

    Returns:
        The Diagnosis: findings, worst first, and verdicts by site.

    Raises:
        InputError: for an unknown threshold or rule, a threshold out of range, or an initial record of another network.
    """
    chosen = Thresholds.of(thresholds)
    if initial is not None:
        _check_same_network(record, initial)
    with np.errstate(over="ignore", invalid="ignore"):  # sums of a network that exploded may be infinite themselves
        context = Context.of(record, chosen, initial, population)
        findings = in_order(run(context, ignore), record)
    return Diagnosis(record, findings, context.verdicts, chosen, population)


def _check_same_network(record: Record, initial: Record) -> None:
    units = {site.name: site.units for site in initial.sites}
    if record.sites and not any(site.name in units for site in record.sites):
        raise InputError(
            "the initial record must be of the same network; none of its sites has the name of one in this record: "
            f"{', '.join(list(units)[:5]) or 'it has none'}"
        )
    for site in record.sites:
        if units.get(site.name, site.units) != site.units:
            raise InputError(
                f"the initial record must be of the same network; site {site.name!r} has {units[site.name]} units "
                f"there and {site.units} here"
            )

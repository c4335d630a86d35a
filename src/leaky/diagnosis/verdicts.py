"""The verdict on every unit of one site: which are dead, locked, dormant, …, decided on pre-activations.

Verdicts must hold for any slope, shared or one a unit, and for any gain. Those that say "never" (dead, locked,
constant) need as many independent samples as the bound of `leaky.theory.samples_needed` asks for; those that compare
averages need `least_samples`. A unit of which nothing finite was seen gets no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

Units = tuple[int, ...]
"""Indices of units, ascending."""


@dataclass(frozen=True)
class UnitVerdicts:
    """The units of one site that each verdict holds for; a unit may be in several.

    Attributes:
        silent: never above the threshold, whatever the verdict: a fact about the data seen.
        dead: the effective derivative was practically 0 on every element seen, on enough samples.
        locked_negative: always at or below the threshold, on enough samples, with a derivative that is not small.
        locked_positive: always above it and within the cap, on enough samples, with a derivative that is not small.
        nearly_dead: fired, but on less than `nearly_dead_rate` of enough samples, with a derivative practically 0 on
            all the others.
        dormant: E|h| at most `dormant_score` of the site's mean (ReDo); dead ones included.
        constant: z had practically one value, on enough samples.
        starved: fired, but practically no gradient got through; only where a loss was given.
        unproven: would be dead or locked_negative, but too few samples were seen to say so.
    """

    silent: Units = ()
    dead: Units = ()
    locked_negative: Units = ()
    locked_positive: Units = ()
    nearly_dead: Units = ()
    dormant: Units = ()
    constant: Units = ()
    starved: Units = ()
    unproven: Units = ()


VERDICTS = tuple(f.name for f in fields(UnitVerdicts))
"""The names of the verdicts, in the order of `UnitVerdicts`."""

"""A diagnosis as a whole: every finding, every unit's verdict, and how sure they are."""

from __future__ import annotations

from dataclasses import dataclass

from leaky import theory
from leaky.diagnosis.finding import Finding, Level, level_rank
from leaky.diagnosis.thresholds import Thresholds
from leaky.diagnosis.verdicts import UnitVerdicts
from leaky.record import Record
from leaky.report.shown import Shown
from leaky.report.view import View, line
from leaky.text import counted, named, percentage

ELSEWHERE = (
    "non-finite", "input-constant", "loss-misfit", "target-shape", "target-range", "no-curvature", "unregistered",
    "batchnorm-statistics", "target-scale", "input-outliers", "input-scale", "input-offset", "not-learning",
)  # fmt: skip
"""Rules on trouble that is not the units', in the order of the flow."""


@dataclass(frozen=True, eq=False)
class Diagnosis(Shown):
    """What a record says about its network.

    Attributes:
        record: what was seen.
        findings: a cause before what follows from it; groups of these worst first, then in the order of the flow.
        verdicts: of each site's units, by the site's name.
        thresholds: that decided.
        population: whether the data are all there is.
    """

    record: Record
    findings: tuple[Finding, ...]
    verdicts: dict[str, UnitVerdicts]
    thresholds: Thresholds
    population: bool = False

    @property
    def units_examined(self) -> int:
        """U, the number of units that the confidence holds for at once; at least 1."""
        return max(1, round(self.thresholds.units_examined) or self.record.units)

    @property
    def samples_needed(self) -> int:
        """How many samples a site must have seen for its silent units to be called dead."""
        return (
            1
            if self.population
            else theory.samples_needed(self.units_examined, self.thresholds.rate, self.thresholds.delta)
        )

    @property
    def worst(self) -> Level | None:
        """The worst level among the findings, None without any."""
        return max((finding.level for finding in self.findings), key=level_rank, default=None)

    @property
    def confidence(self) -> str:
        """How sure the verdicts are, and for which data, in a sentence or two."""
        t, record = self.thresholds, self.record
        if self.population:
            return f"These {record.samples:,} samples are all the data there is: what is said of them needs no bound."
        made_up = " The data were made up: on real data the answer may differ." if record.on_noise else ""
        needed, seen = self.samples_needed, [site.samples for site in record.sites]
        proven = sum(samples >= needed for samples in seen)
        if not proven:
            idle = any(verdict.unproven for verdict in self.verdicts.values())
            units = f"{self.units_examined:,} units"
            begins = (
                f"No unit can be called dead or locked yet: to say so of any of {units}"
                if idle
                else "None is dead: each unit that was reached was active on some sample; "
                f"to call any of {units} locked"
            )
            return (
                f"{begins} with {1 - t.delta:.0%} confidence takes {needed:,} independent samples at a site, and none "
                f"saw more than {max(seen, default=0):,}.{made_up}"
            )
        where = "" if proven == len(seen) else f" at the {proven:,} of {len(seen):,} sites that saw so many"
        return (
            f"With {1 - t.delta:.0%} confidence, all verdicts of dead and locked on the {self.units_examined:,} units "
            f"together hold on all but {percentage(t.rate)} of samples like these; that takes {needed:,} independent "
            f"samples at a site{where or f', and each saw at least {min(seen):,}'}.{made_up}"
        )

    @property
    def conclusion(self) -> str:
        """Where to look first, in a sentence, where the units are not the trouble; else empty."""
        first = self.findings[0] if self.findings else None
        elsewhere = next((f for f in self.findings if f.rule in ELSEWHERE), None)
        if not self.record.sites:
            return ""
        if first is None or first.level == "info":
            idle = any(verdict.dead or verdict.unproven for verdict in self.verdicts.values())
            units = "Nothing shows that idle units cost anything here" if idle else "Nothing is wrong with the units"
            start = f"what {elsewhere.rule} says, then " if elsewhere is not None else ""
            return (
                f"{units}. If the network does not do what it should, the trouble is "
                f"elsewhere: look first at {start}the targets, the loss, the learning rate and the data."
            )
        if first.rule in ELSEWHERE:
            return f"The units are not the cause: begin with what {first.rule} says."
        return ""

    def at_least(self, level: Level) -> tuple[Finding, ...]:
        """The findings of this level or worse."""
        return tuple(finding for finding in self.findings if level_rank(finding.level) >= level_rank(level))

    def __repr__(self) -> str:
        return (
            f"<Diagnosis of {named(self.record.model)}: {counted(len(self.findings), 'finding')}, worst {self.worst}>"
        )

    def view(self) -> View:
        """What a reader is shown: what was found, each with what to do, and how sure that is."""
        found = [each for f in self.findings for each in (line(str(f)), line(f.advice, "advice", indent=1))]
        return (*(found or [line("nothing to report")]), line(self.confidence, "quiet"))

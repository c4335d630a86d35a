"""What every rule is given: the record, its verdicts, the thresholds, and the initial record where there is one."""

from __future__ import annotations

from dataclasses import dataclass

from leaky import theory
from leaky.diagnosis.bounds import rate_upper_bound
from leaky.diagnosis.finding import Level
from leaky.diagnosis.fit import fits, has_learned
from leaky.diagnosis.thresholds import Thresholds
from leaky.diagnosis.verdicts import UnitVerdicts, judge
from leaky.record import Record, Site


@dataclass(frozen=True, eq=False)
class Context:
    """One record, judged.

    Attributes:
        record: what was seen.
        thresholds: that decide.
        units_examined: U of the evidence bound.
        samples_needed: n of the evidence bound.
        verdicts: of each site's units, by the site's name.
        initial: the same of the network before training, where its record was given.
        population: whether the data are all there is: what was seen then needs no bound.
        learned: whether the outputs fit the targets, see `leaky.diagnosis.fit`; None where that is not known.
    """

    record: Record
    thresholds: Thresholds
    units_examined: int
    samples_needed: int
    verdicts: dict[str, UnitVerdicts]
    initial: Context | None = None
    population: bool = False
    learned: bool | None = None

    @classmethod
    def of(
        cls, record: Record, thresholds: Thresholds, initial: Record | None = None, population: bool = False
    ) -> Context:
        """The record judged by these thresholds."""
        units = max(1, round(thresholds.units_examined) or record.units)
        needed = 1 if population else theory.samples_needed(units, thresholds.rate, thresholds.delta)
        verdicts = {site.name: judge(site, thresholds, needed) for site in record.sites}
        before = None if initial is None else cls.of(initial, thresholds, population=population)
        learned = has_learned(record, thresholds)
        return cls(record, thresholds, units, needed, verdicts, before, population, learned)

    @property
    def if_unlearned(self) -> Level:
        """The level of what is right in some networks: a warning where the outputs fit no better than a constant."""
        return "warning" if self.learned is False else "info"

    @property
    def unless_fit(self) -> Level:
        """The level of what costs a network something: a note where it has learned, or where nothing tells that."""
        return "warning" if not self.learned and fits(self.record) else "info"

    def averaged_sites(self) -> tuple[Site, ...]:
        """The sites that saw enough samples for averages to be judged."""
        return tuple(site for site in self.record.sites if site.samples >= self.thresholds.least_samples)

    def rate_bound(self, events: int, samples: int) -> float:
        """The rate that an event seen `events` times on `samples` samples stays below, for all units at once."""
        return rate_upper_bound(events, samples, self.thresholds.delta, self.units_examined)

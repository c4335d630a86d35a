"""A watched training as a document: what each report said, and every alarm. Plain data, without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from leaky import documents
from leaky.diagnosis import level_rank
from leaky.errors import InputError
from leaky.record import FloatArray, IntArray
from leaky.report.findings import LEVEL_TONES
from leaky.report.shown import Shown
from leaky.report.view import Column, Gap, Line, Table, View, line, titled
from leaky.text import counted, named, printable
from leaky.watching.alarm import Alarm
from leaky.watching.control_record import ControlRecord
from leaky.watching.history import FIGURES, SiteFigures, total
from leaky.watching.unit_rates import UnitRates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHARES = ("dead", "locked", "nearly_dead", "dormant", "silent")


@dataclass(frozen=True, eq=False)
class Run(Shown):
    """What a watched training showed.

    Attributes:
        model: what was trained, for the reader.
        units: of each site, in the order in which they run.
        activations: of each site.
        steps, samples: of each report; samples since the one before.
        figures: by site, then by a name of `leaky.watching.history.FIGURES`, over the reports; NaN where not known.
        alarms: in the order in which they were raised.
        ended: how it ended: "stopped", the name of an exception, or "" where the log breaks off.
        notes: remarks on how the watching went.
        thresholds: that decided.
        unit_rates: firing rates unit by unit, at some of the reports.
        controls: what was done to the training at alarms, in order.
    """

    model: str
    units: dict[str, int]
    activations: dict[str, str]
    steps: IntArray
    samples: IntArray
    figures: dict[str, dict[str, FloatArray]]
    alarms: tuple[Alarm, ...] = ()
    ended: str = ""
    notes: tuple[str, ...] = ()
    thresholds: dict[str, float] = field(default_factory=dict)
    unit_rates: UnitRates | None = None
    controls: tuple[ControlRecord, ...] = ()

    def __post_init__(self) -> None:
        for name, arrays in self.figures.items():
            if name not in self.units or any(len(each) != len(self.steps) for each in arrays.values()):
                raise InputError(f"the figures of {named(name)} must be of a site and as many as there are reports")
        rates = self.unit_rates
        for name in rates.cells if rates is not None else ():
            if rates is not None and rates.units(name) != self.units.get(name):
                raise InputError(f"the unit rates of {named(name)} must be of a site, and of all its units")

    def __repr__(self) -> str:
        seen = f"{counted(len(self.steps), 'report')} on {counted(len(self.units), 'site')}"
        return printable(f"<Run of {named(self.model)}: {seen}, {counted(len(self.alarms), 'alarm')}>")

    @classmethod
    def of_rows(
        cls, model: str, sites: dict[str, tuple[int, str]], reports: Iterable[tuple[int, int, SiteFigures]], **rest: Any
    ) -> Run:
        """A run from its reports: step, samples and figures of each."""
        found = list(reports)
        nothing: dict[str, float] = {}
        figures = {
            name: {
                figure: np.array([row.get(name, nothing).get(figure, np.nan) for _, _, row in found])
                for figure in FIGURES
            }
            for name in sites
        }
        return cls(
            model,
            {name: units for name, (units, _) in sites.items()},
            {name: activation for name, (_, activation) in sites.items()},
            np.array([step for step, _, _ in found], np.int64),
            np.array([samples for _, samples, _ in found], np.int64),
            figures,
            **rest,
        )

    def network(self, share: str) -> FloatArray:
        """A share of `SHARES` over the units of all sites, over the reports."""
        rows = [
            {name: {share: float(arrays[share][i])} for name, arrays in self.figures.items()}
            for i in range(len(self.steps))
        ]
        return np.array([total(row, self.units, share) for row in rows])

    def alarms_together(self) -> list[tuple[Alarm, ...]]:
        """The alarms above info, those of one rule at one step together, the worst of them first, then as raised."""
        together: dict[tuple[int, str], list[Alarm]] = {}
        for alarm in self.alarms:
            if alarm.finding.level != "info":
                together.setdefault((alarm.step, alarm.finding.rule), []).append(alarm)
        return [tuple(sorted(each, key=lambda a: -level_rank(a.finding.level))) for each in together.values()]

    @property
    def length(self) -> int:
        """Steps of the training up to the last report; they are counted from 0."""
        return int(self.steps[-1]) + 1 if len(self.steps) else 0

    @property
    def remarks(self) -> tuple[Alarm, ...]:
        """The alarms of level info, as raised."""
        return tuple(alarm for alarm in self.alarms if alarm.finding.level == "info")

    def plot(self) -> Figure:
        """A matplotlib figure for a paper: shares of the units over the steps, and the layers that fell silent.

        Raises:
            MissingExtraError: if matplotlib is not installed.
            InputError: if no report was made.
        """
        from leaky.report.figures import run_figure

        return run_figure(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run to `path`, whole or not at all.

        Raises:
            InputError: if the file cannot be written.
        """
        documents.save(path, "run", self)

    def view(self) -> View:
        """What a reader is shown: the network over time, the sites as they were last, the alarms and controls."""
        sites = f"{counted(sum(self.units.values()), 'unit')} at {counted(len(self.units), 'site')}"
        ended = f" · ended by {self.ended}" if self.ended not in ("", "stopped") else ""
        tables = (_over_time(self), Gap(), *_layers(self), Gap()) if len(self.steps) else ()
        told = [said for alike in self.alarms_together() for said in _alarm_lines(alike)]
        return (
            line(f"{self.model} · {sites} · {counted(self.length, 'step')}{ended}", "strong"),
            Gap(),
            *tables,
            *(told or [line("No alarm above info.")]),
            *(titled("Control", str(control)) for control in self.controls),
            *(titled("Note", note, "note") for note in self.notes),
        )


def _over_time(run: Run) -> Table:
    """A row each of some reports: shares of all units, and the alarms since the row before."""
    chosen = np.unique(np.linspace(0, len(run.steps) - 1, min(MOST_ROWS, len(run.steps))).astype(int))
    shares = {share: run.network(share) for share in SHARES}
    rows, before = [], -1
    for i in chosen:
        step = int(run.steps[i])
        raised = dict.fromkeys(alarm.finding.rule for alarm in run.alarms if before < alarm.step <= step)
        figures = (str(step), str(int(run.samples[: i + 1].sum())), *(_percent(shares[share][i]) for share in SHARES))
        rows.append((*figures, ", ".join(raised)))
        before = step
    names = ("step", "samples", *(share.replace("_", " ") for share in SHARES))
    return Table((*(Column(name, numbers=True) for name in names), Column("alarms")), tuple(rows))


def _alarm_lines(alike: tuple[Alarm, ...]) -> list[Line]:
    """Alarms of one rule at one step: one in full, the sites of the others with what they say, one piece of advice."""
    first, *others = alike
    said = [line(str(first), LEVEL_TONES[first.finding.level])]
    for alarm in others[:MOST_SITES]:
        finding = alarm.finding
        level = "" if finding.level == first.finding.level else f"{finding.level}: "
        said.append(line(f"{level}{finding.site or 'network'}: {finding.message}", indent=2))
    if len(others) > MOST_SITES:
        said.append(line(f"({counted(len(others) - MOST_SITES, 'site')} more)", indent=2))
    advice = dict.fromkeys(alarm.finding.advice for alarm in alike)
    return [*said, *(line(f"→ {each}", "advice", indent=2) for each in advice)]


MOST_ROWS = 20
"""Reports, and sites, that a table shows."""
MOST_SITES = 6
"""Sites, beside the worst, of which an alarm says what it found there."""
BY_LAYER = ("dead", "dormant", "idle_gates", "asleep", "rate", "srank", "weight")
"""Figures that are shown of each site, of those that are known; the last two are no shares."""


def _layers(run: Run) -> tuple[Table | Line, ...]:
    """What was last known of each site: a row each, evenly chosen ones where there are many."""
    last = {
        name: {figure: _last(arrays[figure]) for figure in BY_LAYER if figure in arrays}
        for name, arrays in run.figures.items()
    }
    shown = [f for f in BY_LAYER if any(not np.isnan(each.get(f, np.nan)) for each in last.values())]
    names = list(last)
    chosen = [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(MOST_ROWS, len(names))).astype(int))]
    rows = [
        (name, str(run.units[name]), *(_cell(each, last[name].get(each, np.nan)) for each in shown)) for name in chosen
    ]
    headings = (Column(name, numbers=True) for name in ("units", *(each.replace("_", " ") for each in shown)))
    table = Table((Column("site"), *headings), tuple(rows))
    return (table,) if len(chosen) == len(names) else (table, line(f"({len(names) - len(chosen)} sites more)"))


def _last(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else float("nan")


def _cell(figure: str, value: float) -> str:
    if figure in BY_LAYER[-2:]:
        return "·" if np.isnan(value) else f"{value:.3g}"
    return _percent(value)


def _percent(share: float) -> str:
    return "·" if np.isnan(share) else f"{share:.1%}"

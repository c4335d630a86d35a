"""Two diagnoses of a network side by side: what appeared, what went, what grew, and whether it got worse."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field

import numpy as np

from leaky import documents
from leaky.checking import shown
from leaky.diagnosis.changes import (
    COMPARED,
    Diagnosed,
    FindingChange,
    Pair,
    UnitChange,
    finding_changes,
    matched,
    thresholds_of,
    unit_changes,
)
from leaky.diagnosis.rules.advice import second_moment
from leaky.errors import InputError
from leaky.record import FloatArray, Site
from leaky.report.shown import Shown
from leaky.report.view import View
from leaky.text import counted, listed, ranges


@dataclass(frozen=True)
class Figures:
    """Some figures of one site in both records, None where nothing was seen.

    Attributes:
        site: its name in the new record.
        firing_rate: mean over the units, old and new.
        second_moment: E h², mean over the units, old and new.
        dead_share: of the units, old and new.
    """

    site: str
    firing_rate: tuple[float | None, float | None]
    second_moment: tuple[float | None, float | None]
    dead_share: tuple[float | None, float | None]


@dataclass(frozen=True)
class Resized:
    """A site that has another number of units now: its units are not compared."""

    site: str
    before: int
    after: int


@dataclass(frozen=True)
class Comparison(Shown):
    """What changed from one diagnosis to another.

    Attributes:
        units: the changes of verdicts, by site and verdict.
        findings: those that came, went or changed their level, worst first.
        figures: of each site in both records.
        added, removed: sites in one record only.
        resized: sites with another number of units.
        totals: units of each verdict, and samples and units examined, old and new.
        notes: what makes the two hard to compare.
    """

    units: tuple[UnitChange, ...]
    findings: tuple[FindingChange, ...]
    figures: tuple[Figures, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    resized: tuple[Resized, ...]
    totals: dict[str, tuple[int, int]] = field(hash=False)
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it got worse: units lost, and warnings and errors that are new; empty if it did not."""
        lost = [f"{change.site}: {_lost(change)}" for change in self.units if change.lost]
        raised = [f"{change.site or 'network'}: {_raised(change)}" for change in self.findings if change.worse]
        return tuple(lost + raised)

    @property
    def worse(self) -> bool:
        """Whether something got worse that the data can show: for a gate in CI."""
        return bool(self.reasons)

    @property
    def examined(self) -> bool:
        """Whether any site is in both records: without one, nothing could be compared."""
        return bool(self.figures)

    @property
    def changes(self) -> tuple[str, ...]:
        """Everything that changed, a line each, apart from the totals."""
        return tuple(_lines(self))

    def to_dict(self) -> documents.Json:
        """All of it as JSON-safe data, a document of the kind "comparison"."""
        return documents.as_data("comparison", self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the comparison as JSON (or, in .html, as its page), whole or not at all.

        Raises:
            InputError: if the file cannot be written.
        """
        documents.save(path, "comparison", self)

    def __repr__(self) -> str:
        verdict = "worse" if self.worse else "not worse"
        return f"<Comparison of {counted(len(self.figures), 'site')}: {verdict}>"

    def view(self) -> View:
        """What a reader is shown: whether it got worse and why, the totals, everything that changed."""
        from leaky.diagnosis.comparison_view import comparison_view

        return comparison_view(self)


def compare(old: Diagnosed, new: Diagnosed) -> Comparison:
    """What changed from `old` to `new`, two diagnoses (or checkups) of the same network.

    A unit that only lacks samples to be called dead again is "undecided", not recovered; a site in one record only, or
    with another number of units, is named and not compared unit by unit. An `InputError` for anything else.
    """
    for which, given in (("old", old), ("new", new)):
        if not hasattr(given, "record"):
            raise InputError(f"{which} must be a checkup or a diagnosis, not {shown(given)}; leaky.load reads a file")
    with np.errstate(over="ignore", invalid="ignore"):  # sums of a network that exploded may be infinite themselves
        return _compare(old, new, matched(old.record, new.record))


def _compare(old: Diagnosed, new: Diagnosed, pairs: list[Pair]) -> Comparison:
    known = {pair.old.name for pair in pairs}, {pair.new.name for pair in pairs}
    units = [change for pair in pairs if pair.old.units == pair.new.units for change in unit_changes(old, new, pair)]
    return Comparison(
        units=tuple(units),
        findings=tuple(finding_changes(old, new, pairs, units)),
        figures=tuple(_figures(old, new, pair) for pair in pairs),
        added=tuple(site.name for site in new.record.sites if site.name not in known[1]),
        removed=tuple(site.name for site in old.record.sites if site.name not in known[0]),
        resized=tuple(
            Resized(pair.new.name, pair.old.units, pair.new.units) for pair in pairs if pair.old.units != pair.new.units
        ),
        totals=_totals(old, new),
        notes=_notes(old, new, pairs),
    )


def _figures(old: Diagnosed, new: Diagnosed, pair: Pair) -> Figures:
    was, now = old.verdicts[pair.old.name], new.verdicts[pair.new.name]
    return Figures(
        site=pair.new.name,
        firing_rate=(_mean(pair.old.firing_rate), _mean(pair.new.firing_rate)),
        second_moment=(_moment(pair.old), _moment(pair.new)),
        dead_share=(_share(was.dead, pair.old), _share(now.dead, pair.new)),
    )


def _moment(site: Site) -> float | None:
    value = second_moment(site) if site.samples else math.nan
    return value if math.isfinite(value) else None


def _share(units: tuple[int, ...], site: Site) -> float | None:
    return len(units) / site.units if site.units else None


def _mean(values: FloatArray) -> float | None:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else None


def _totals(old: Diagnosed, new: Diagnosed) -> dict[str, tuple[int, int]]:
    totals = {
        "samples": (old.record.samples, new.record.samples),
        "units": (old.record.units, new.record.units),
    }
    for verdict in ("silent", *COMPARED, "unproven"):
        before, after = (sum(len(getattr(v, verdict)) for v in side.verdicts.values()) for side in (old, new))
        totals[verdict] = before, after
    return totals


def _notes(old: Diagnosed, new: Diagnosed, pairs: list[Pair]) -> tuple[str, ...]:
    notes = []
    before, after = old.record, new.record
    for what, was, now in [("data set", before.data, after.data), ("mode", before.mode, after.mode)]:
        if was != now:
            notes.append(f"the {what} differs: {was!r}, now {now!r}")
    if before.on_noise != after.on_noise:
        notes.append("one record was made on noise, the other on data: verdicts hold for what each has seen")
    swapped = [pair.new.name for pair in pairs if _slope(pair.old) != _slope(pair.new)]
    if swapped:
        notes.append(f"the activation or slope differs at {counted(len(swapped), 'site')}: {listed(swapped, 4)}")
    was_limits, now_limits = thresholds_of(old).as_dict(), thresholds_of(new).as_dict()
    notes += [
        f"the threshold {name} differs: {value:g}, now {now_limits[name]:g}"
        for name, value in was_limits.items()
        if value != now_limits[name]
    ]
    return tuple(notes)


def _slope(site: Site) -> tuple[str, float]:
    """What tells a swapped rectifier; learned slopes are meant to move and are not compared."""
    shared = site.activation != "PReLU" and site.units > 0
    return site.activation, float(site.negative_slope[0]) if shared else 0.0


def _lines(found: Comparison) -> list[str]:
    lines = [f"note: {note}" for note in found.notes]
    lines += [f"site added: {name}" for name in found.added] + [f"site removed: {name}" for name in found.removed]
    lines += [
        f"{each.site}: {each.before} units, now {each.after}; not compared unit by unit" for each in found.resized
    ]
    lines += [line for change in found.units if (line := _unit_line(change, _told(found, change)))]
    lines += [f"{change.site or 'network'}: {_raised(change)}" for change in found.findings]
    lines += [line for figures in found.figures if (line := _growth(figures))]
    return lines


def _unit_line(change: UnitChange, told: set[int]) -> str | None:
    """The change in a line, without the units in `told`; None if none are left."""
    parts = {
        "appeared": change.appeared,
        "gone": change.gone,
        "confirmed (the old record saw too little to tell)": change.confirmed,
        "undecided (the new record sees too little to tell; no recovery)": change.undecided,
    }
    left = {words: tuple(unit for unit in units if unit not in told) for words, units in parts.items()}
    words = [f"{words}: {_named(units)}" for words, units in left.items() if units]
    return f"{change.site}: {change.verdict.replace('_', ' ')}: {'; '.join(words)}" if words else None


def _told(found: Comparison, change: UnitChange) -> set[int]:
    """Units that are dormant because they are dead: their death is told."""
    if change.verdict != "dormant":
        return set()
    deaths = [other for other in found.units if (other.site, other.verdict) == (change.site, "dead")]
    return {unit for death in deaths for units in (death.appeared, death.gone, death.confirmed) for unit in units}


def _named(units: tuple[int, ...]) -> str:
    return f"{counted(len(units), 'unit')} ({ranges(units)})"


def _lost(change: UnitChange) -> str:
    return f"{_named(change.lost)} newly {change.verdict.replace('_', ' ')}"


def _raised(change: FindingChange) -> str:
    if change.after is None:
        return f"{change.rule} ({change.before}) went" + (", for lack of samples" if change.undecided else "")
    return f"{change.rule} is {change.after}" + (f", was {change.before}" if change.before else ", was not there")


def _growth(figures: Figures) -> str | None:
    before, after = figures.second_moment
    if not before or not after or 0.5 < after / before < 2:
        return None
    return f"{figures.site}: E h² {before:.3g}, now {after:.3g} (× {after / before:.3g})"

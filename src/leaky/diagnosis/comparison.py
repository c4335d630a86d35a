"""What two diagnoses of a network side by side say: what appeared, went and grew, and whether it got worse."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from leaky import documents
from leaky.diagnosis.changes import FindingChange, UnitChange
from leaky.report.shown import Shown
from leaky.report.view import Column, Gap, Line, Table, View, line, points
from leaky.text import counted, ranges


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
        happened = self.changes
        changes: View = (Gap(), line("What changed", "strong"), *points(happened)) if happened else ()
        return (_verdict(self), *points(self.reasons), Gap(), _totals(self), *changes)


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


def _verdict(found: Comparison) -> Line:
    if found.worse:
        return line(f"It got worse, for {counted(len(found.reasons), 'reason')}:", "error")
    if not found.examined:
        return line("Nothing could be compared: no site is in both.", "warning")
    return line("It did not get worse.", "good")


def _totals(found: Comparison) -> Table:
    columns = (Column(""), *(Column(name, numbers=True) for name in ("before", "now", "change")))
    rows = [
        (name.replace("_", " "), f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else "")
        for name, (before, after) in found.totals.items()
        if before or after
    ]
    return Table(columns, tuple(rows))

"""What changed between two diagnoses of a network, unit by unit and finding by finding.

Must be fair: data that cannot decide are neither a recovery nor a loss. A unit leaves a verdict only if the new record
contradicts it, and enters one newly only if the old record did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from leaky import theory
from leaky.diagnosis.finding import Finding, Level, level_rank
from leaky.diagnosis.rules import RULES
from leaky.diagnosis.thresholds import Thresholds
from leaky.diagnosis.verdicts import (
    VERDICTS,
    Mask,
    Units,
    UnitVerdicts,
    active_samples,
    constant_units,
    evidence_samples,
    one_sided,
)
from leaky.record import Record, Site

COMPARED = tuple(verdict for verdict in VERDICTS if verdict not in ("silent", "unproven"))
"""The verdicts that are compared; silence alone changes with the number of samples."""

BADNESS = {"dead": 3, "nearly_dead": 2, "locked_negative": 1, "locked_positive": 1}
"""How much a verdict takes from a unit, the most first; the others are no loss by themselves."""

VERDICT_OF_RULE = {
    "dead": "dead",
    "nearly-dead": "nearly_dead",
    "locked-negative": "locked_negative",
    "locked-positive": "locked_positive",
    "dormant": "dormant",
    "constant": "constant",
    "gradient-starved": "starved",
}

INCONCLUSIVE = ("silent-so-far", "born-dead", "died-in-training", "initialisation-gain")
"""Rules whose findings come and go with the data or the initial record given: never a reason to call it worse."""


class Diagnosed(Protocol):
    """Anything with a record, the verdicts by site and the findings: a Diagnosis, a Checkup."""

    @property
    def record(self) -> Record: ...
    @property
    def verdicts(self) -> Mapping[str, UnitVerdicts]: ...
    @property
    def findings(self) -> Sequence[Finding]: ...


@dataclass(frozen=True)
class UnitChange:
    """What became of one verdict at one site.

    Attributes:
        site: its name in the new record.
        verdict: one of `COMPARED`.
        appeared: units that have it now, and were seen without it before.
        gone: units that had it, and are seen without it now.
        confirmed: units that have it now; the old record saw too little to tell.
        undecided: units that had it; the new record sees too little to tell. No recovery.
        lost: those of `appeared` that are worse off than under their old verdict.
    """

    site: str
    verdict: str
    appeared: Units = ()
    gone: Units = ()
    confirmed: Units = ()
    undecided: Units = ()
    lost: Units = ()


@dataclass(frozen=True)
class FindingChange:
    """A finding that came, went or changed its level.

    Attributes:
        rule: slug.
        site: name in the new record (in the old one, if the site is gone), None for the network.
        before: old level, None if there was none.
        after: new level, None if there is none.
        worse: whether this is a loss: a warning or an error that the old data contradict.
        undecided: whether it went only because the new record sees too little.
        message: of the new finding, of the old one if it went.
    """

    rule: str
    site: str | None
    before: Level | None
    after: Level | None
    worse: bool
    undecided: bool
    message: str


@dataclass(frozen=True, eq=False)
class Pair:
    """A site in both records."""

    old: Site
    new: Site


def matched(old: Record, new: Record) -> list[Pair]:
    """The sites of both records, by name; a call whose line moved, by its name without the line."""
    by_name = {site.name: site for site in old.sites}
    pairs = [Pair(by_name[site.name], site) for site in new.sites if site.name in by_name]
    taken = {pair.new.name for pair in pairs}
    old_rest = _without_lines([site for site in old.sites if site.name not in taken])
    new_rest = _without_lines([site for site in new.sites if site.name not in taken])
    return pairs + [Pair(old_rest[name], site) for name, site in new_rest.items() if name in old_rest]


def _without_lines(sites: Sequence[Site]) -> dict[str, Site]:
    """Sites by their names without line numbers, where that is still unambiguous."""
    names = [re.sub(r":\d+", "", site.name) for site in sites]
    return {name: site for name, site in zip(names, sites, strict=True) if names.count(name) == 1}


def thresholds_of(diagnosed: Diagnosed) -> Thresholds:
    """Those that it, or the diagnosis inside a checkup, was made with; the defaults where it does not say."""
    found = getattr(getattr(diagnosed, "diagnosis", diagnosed), "thresholds", None)
    return found if isinstance(found, Thresholds) else Thresholds()


def unit_changes(old: Diagnosed, new: Diagnosed, pair: Pair) -> list[UnitChange]:
    """The changes at one site of equal units; verdicts without any are left out."""
    before, after = old.verdicts[pair.old.name], new.verdicts[pair.new.name]
    badness_before, changes = _badness(before), []
    for verdict in COMPARED:
        had, has = set(getattr(before, verdict)), set(getattr(after, verdict))
        could_have, may_have = _possible(old, pair.old, verdict), _possible(new, pair.new, verdict)
        appeared = [unit for unit in sorted(has - had) if not could_have[unit]]
        rank = BADNESS.get(verdict, 0)
        change = UnitChange(
            site=pair.new.name,
            verdict=verdict,
            appeared=tuple(appeared),
            gone=tuple(unit for unit in sorted(had - has) if not may_have[unit]),
            confirmed=tuple(unit for unit in sorted(has - had) if could_have[unit]),
            undecided=tuple(unit for unit in sorted(had - has) if may_have[unit]),
            lost=tuple(unit for unit in appeared if rank > badness_before.get(unit, 0))
            if verdict != "nearly_dead"
            else (),
        )
        if had != has:
            changes.append(change)
    return changes


def _badness(verdicts: UnitVerdicts) -> dict[int, int]:
    """The badness of each unit's worst verdict."""
    found: dict[int, int] = {}
    for verdict, rank in BADNESS.items():
        for unit in getattr(verdicts, verdict):
            found[unit] = max(rank, found.get(unit, 0))
    return found


def _possible(diagnosed: Diagnosed, site: Site, verdict: str) -> Mask:
    """Which units may have the verdict for all that the record shows, however few the samples."""
    t = thresholds_of(diagnosed)
    unseen = site.statistics.elements == 0
    few = evidence_samples(site) < t.least_samples
    if verdict == "constant":
        return np.asarray(unseen | constant_units(site, t.constant_range))
    if verdict == "dormant":
        return np.asarray(unseen | few)
    if verdict == "starved":
        gradient = site.statistics.gradient
        no_gradient = gradient is None or gradient.samples < t.least_samples
        return np.asarray(unseen | few | no_gradient)
    if verdict == "nearly_dead":
        units = max(1, round(t.units_examined) or diagnosed.record.units)
        needed = theory.samples_needed(units, t.rate, t.delta)
        rarely = active_samples(site, t.dead_derivative) < t.nearly_dead_rate * site.samples
        return np.asarray(unseen | few | (rarely & (evidence_samples(site) < needed)))
    mask: Mask = getattr(one_sided(site, t.dead_derivative), verdict)
    return np.asarray(unseen | mask)


def finding_changes(
    old: Diagnosed, new: Diagnosed, pairs: Sequence[Pair], units: Sequence[UnitChange]
) -> list[FindingChange]:
    """The findings that came, went or changed their level, worst first."""
    new_name = {pair.old.name: pair.new.name for pair in pairs}
    before = _worst_by_key(old.findings, new_name)
    after = _worst_by_key(new.findings, {})
    judge = _Judge(old, pairs, before, {(change.site, change.verdict): change for change in units})
    changes = []
    for key in dict.fromkeys([*after, *before]):
        was, now = before.get(key), after.get(key)
        if (was and was.level) != (now and now.level):
            rule, site = key
            changes.append(
                FindingChange(
                    rule=rule,
                    site=site,
                    before=was.level if was else None,
                    after=now.level if now else None,
                    worse=now is not None and judge.is_worse(rule, site, now.level),
                    undecided=now is None and judge.is_undecided(rule, site),
                    message=(now or was).message,  # type: ignore[union-attr]  # one of the two is there
                )
            )
    return sorted(changes, key=lambda change: -level_rank(change.after))


def _worst_by_key(findings: Sequence[Finding], rename: Mapping[str, str]) -> dict[tuple[str, str | None], Finding]:
    worst: dict[tuple[str, str | None], Finding] = {}
    for finding in findings:
        key = finding.rule, rename.get(finding.site, finding.site) if finding.site else None
        if key not in worst or level_rank(finding.level) > level_rank(worst[key].level):
            worst[key] = finding
    return worst


@dataclass(frozen=True, eq=False)
class _Judge:
    """Whether a finding's coming or going says something of the network, or only of the data."""

    old: Diagnosed
    pairs: Sequence[Pair]
    before: Mapping[tuple[str, str | None], Finding]
    units: Mapping[tuple[str, str], UnitChange]

    def is_worse(self, rule: str, site: str | None, level: Level) -> bool:
        if level == "info" or rule in INCONCLUSIVE or self._same_trouble(rule, site) >= level_rank(level):
            return False
        old_site = next((pair.old for pair in self.pairs if pair.new.name == site), None)
        verdict = VERDICT_OF_RULE.get(rule)
        if verdict and site and old_site is not None and old_site.units:
            change = self.units.get((site, verdict))
            resized = any(pair.new.name == site and pair.new.units != pair.old.units for pair in self.pairs)
            return resized or bool(change and change.appeared)
        return self._was_measured(rule, old_site)

    def is_undecided(self, rule: str, site: str | None) -> bool:
        change = self.units.get((site or "", VERDICT_OF_RULE.get(rule, "")))
        return bool(change and change.undecided and not change.gone)

    def _same_trouble(self, rule: str, site: str | None) -> int:
        """The rank of the worst old finding there that is about the same concern, −1 without."""
        concern = RULES[rule].concern if rule in RULES else rule
        ranks = [
            level_rank(finding.level)
            for (slug, place), finding in self.before.items()
            if place == site and (RULES[slug].concern if slug in RULES else slug) == concern
        ]
        return max(ranks, default=-1)

    def _was_measured(self, rule: str, site: Site | None) -> bool:
        """Whether the old record had what this rule looks at."""
        sites = self.old.record.sites if site is None else (site,)
        if rule == "non-finite":
            return any(each.samples for each in sites)
        if rule in ("vanishing-gradient", "exploding-gradient", "gradient-starved"):
            return any(each.statistics.gradient for each in sites)
        return any(each.samples >= thresholds_of(self.old).least_samples for each in sites)

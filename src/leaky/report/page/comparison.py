"""A comparison as what its page shows: whether it got worse and why, what appeared, went and grew."""

from __future__ import annotations

from typing import Any

from leaky.diagnosis import Comparison
from leaky.diagnosis.changes import FindingChange, UnitChange
from leaky.diagnosis.comparison import Figures
from leaky.report.page.wording import told
from leaky.text import counted, printable


def comparison_content(found: Comparison) -> dict[str, Any]:
    """What the page of a comparison shows."""
    return {
        "kind": "comparison",
        "title": "comparison",
        "verdict": _verdict(found),
        "level": "error" if found.worse else "none" if found.examined else "nothing",
        "subtitle": _subtitle(found),
        "reasons": [told(reason) for reason in found.reasons],
        "totals": [[name.replace("_", " "), *both] for name, both in found.totals.items() if any(both)],
        "sites": [_site(figures) for figures in found.figures],
        "units": [_units(change) for change in found.units],
        "findings": [_finding(change) for change in found.findings],
        "notes": [*(told(note) for note in found.notes), *_other_sites(found)],
    }


def _site(figures: Figures) -> dict[str, Any]:
    return {
        "name": printable(figures.site),
        "firing_rate": figures.firing_rate,
        "second_moment": figures.second_moment,
        "dead_share": figures.dead_share,
    }


def _units(change: UnitChange) -> dict[str, Any]:
    return {
        "site": printable(change.site),
        "verdict": change.verdict.replace("_", " "),
        "appeared": change.appeared,
        "gone": change.gone,
        "confirmed": change.confirmed,
        "undecided": change.undecided,
    }


def _finding(change: FindingChange) -> dict[str, Any]:
    return {
        "site": None if change.site is None else printable(change.site),
        "rule": printable(change.rule),
        "before": change.before,
        "after": change.after,
        "worse": change.worse,
        "message": told(change.message),
    }


def _verdict(found: Comparison) -> str:
    if found.worse:
        return f"It got worse, for {counted(len(found.reasons), 'reason')}."
    return "It did not get worse." if found.examined else "Nothing could be compared: no site is in both."


def _subtitle(found: Comparison) -> str:
    (dead_before, dead), (before, after), (seen_before, seen) = (found.totals[n] for n in ("dead", "units", "samples"))
    return (
        f"dead: {dead_before:,} of {before:,} units, now {dead:,} of {after:,} · samples: {seen_before:,}, now {seen:,}"
    )


def _other_sites(found: Comparison) -> list[str]:
    return [
        *(f"site added: {printable(name)}" for name in found.added),
        *(f"site removed: {printable(name)}" for name in found.removed),
        *(f"{printable(each.site)}: {each.before} units, now {each.after}" for each in found.resized),
    ]

"""Short ways to the findings of one rule."""

from __future__ import annotations

import json

from tests.records import normal, record_from, regression

from leaky.diagnosis import Finding, diagnose
from leaky.record import LossTerm, Record, Site

ENOUGH = 1500
"""Samples that are enough for the bound on every record of these tests."""


def findings(rule: str, *sites: Site, initial: Record | None = None, **thresholds: float) -> list[Finding]:
    """What `rule` finds at these sites, each finding checked to be strict JSON and to end in something to do."""
    return findings_in(rule, record_from(*sites), initial=initial, **thresholds)


def findings_in(rule: str, record: Record, initial: Record | None = None, **thresholds: float) -> list[Finding]:
    """The same in a record."""
    found = [f for f in diagnose(record, initial=initial, thresholds=thresholds).findings if f.rule == rule]
    for finding in found:
        json.dumps(finding.evidence, allow_nan=False)
        assert finding.message
        assert finding.advice.endswith(".")
        assert list(finding.units) == sorted(set(finding.units))
    return found


def only(found: list[Finding]) -> Finding:
    """The one finding."""
    assert len(found) == 1, found
    return found[0]


def terms(noise: float) -> tuple[LossTerm, ...]:
    """A comparison that is fitted up to this noise."""
    target = normal(ENOUGH, 1, seed=8)
    return (regression(target, target + noise * normal(ENOUGH, 1, seed=9)),)

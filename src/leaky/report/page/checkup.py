"""A checkup as what its page shows: words and figures a site, arrays over all units, findings.

Every figure comes from the record, by the functions that the rules and the terminal use. The arrays run over all units
of the network, site after site; a site knows where its own begin.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from leaky.diagnosis import VERDICTS, Diagnosis, Finding, UnitVerdicts
from leaky.diagnosis.rules import RULES
from leaky.diagnosis.rules.advice import second_moment, suggest_slope
from leaky.diagnosis.rules.depth import weights_log_gain
from leaky.diagnosis.rules.gradient import gradient_norm
from leaky.diagnosis.rules.throughput import imbalance
from leaky.record import FloatArray, IntArray, Site
from leaky.report.page.columns import Columns
from leaky.report.page.slopes import bounded_parts, joined, slope_terms, unit_sums
from leaky.report.page.wording import told
from leaky.report.rows import SiteRow, headline, site_rows, subtitle
from leaky.text import printable

STATES = (*VERDICTS, "non_finite")
"""Of a unit, a bit each."""


@dataclass(frozen=True)
class Detail:
    """How exactly the figures of single units stand in the page; a site's own are always exact.

    Attributes:
        sums: significant bits of the sign-split sums, 0 leaves them out.
        others: significant bits of range and gradient.
        least: bytes of the page that a unit takes at least; where those are too many, nothing is tried.
    """

    sums: int
    others: int
    least: int


DETAILS = (Detail(53, 24, 45), Detail(24, 16, 30), Detail(20, 8, 16), Detail(0, 0, 0))
"""From exact to least; 20 bits keep what follows from the sums to 1e-6 of its parts."""


def checkup_content(diagnosis: Diagnosis, columns: Columns, detail: Detail) -> dict[str, Any]:
    """What the page of a checkup shows; its arrays go to `columns`."""
    record = diagnosis.record
    table = site_rows(diagnosis)
    places = {site.name: place for place, site in enumerate(record.sites)}
    with np.errstate(all="ignore"):  # sums of a network that exploded may be infinite themselves
        return {
            "kind": "checkup",
            "title": told(record.model),
            "verdict": told(headline(diagnosis)),
            "level": diagnosis.worst or ("none" if table else "nothing"),
            "subtitle": told(subtitle(diagnosis)),
            "confidence": diagnosis.confidence if table else "",
            "states": STATES,
            "sites": _sites(diagnosis, table, columns, detail),
            "units": _units(diagnosis, columns, detail),
            "findings": [_finding(finding, places) for finding in diagnosis.findings],
            "rules": {slug: rule.summary for slug, rule in RULES.items()},
            "not_examined": [[printable(item.name), told(item.reason)] for item in record.not_examined],
            "notes": [told(note) for note in record.notes],
            "versions": {told(name): told(version) for name, version in record.versions.items()},
            "unit_bits": detail.sums,
        }


def _finding(finding: Finding, places: dict[str, int]) -> dict[str, Any]:
    return {
        "rule": printable(finding.rule),
        "level": finding.level,
        "site": None if finding.site is None else printable(finding.site),
        "place": None if finding.site is None else places.get(finding.site),
        "units": list(finding.units),
        "message": printable(finding.message),
        "evidence": {printable(str(name)): _worded(value) for name, value in finding.evidence.items()},
        "advice": printable(finding.advice),
    }


def _worded(value: object) -> Any:
    if isinstance(value, str):
        return printable(value)
    return [_worded(each) for each in value] if isinstance(value, list) else value


def _sites(diagnosis: Diagnosis, table: list[SiteRow], columns: Columns, detail: Detail) -> list[dict[str, Any]]:
    sites: list[dict[str, Any]] = []
    start, before = 0, math.nan
    for row in table:
        parts = bounded_parts(row.site, columns, detail.sums) if detail.sums else None
        sites.append({**_site(row), "start": start, "bounded": parts, **_by_depth(diagnosis, row.site, before)})
        start += row.site.units
        before = sites[-1]["second_moment"]
    return sites


def _site(row: SiteRow) -> dict[str, Any]:
    site = row.site
    return {
        "name": printable(site.name),
        "activation": told(row.activation),
        "units": site.units,
        "samples": site.samples,
        "is_output": site.is_output,
        "smooth": site.smooth,
        "source": site.source and told(site.source),
        "shape": list(site.shape),
        "calls": site.calls,
        "threshold": site.threshold,
        "value": site.value,
        "gain": site.gain,
        "negative_slope": float(np.median(site.negative_slope)) if site.units else 0.0,
        "slopes_differ": bool(site.units and (site.negative_slope != site.negative_slope[0]).any()),
        "floor": _one(site.floor),
        "cap": _one(site.cap),
        "dead": row.dead,
        "locked": row.locked,
        "unproven": row.unproven,
        "dormant": row.dormant,
        "bound": row.bound,
        "range": row.z_range,
        "gradient_rms": row.gradient,
        "producers": [
            f"{printable(each.name)} ({printable(each.kind)}, fan-in {each.fan_in:g}, rms {each.weight_rms:.3g})"
            for each in site.producers
        ],
        "terms": None if site.smooth else slope_terms(site),
        "suggested": _suggested(site),
    }


def _suggested(site: Site) -> float | None:
    suggestion = None if site.smooth else suggest_slope(site)
    return None if suggestion is None else suggestion.negative_slope


def _by_depth(diagnosis: Diagnosis, site: Site, before: float) -> dict[str, float | None]:
    """What is drawn against depth, None where it is not known; `before` is E h² at the site before."""
    judged = site.samples >= diagnosis.thresholds.least_samples
    gain = weights_log_gain(site, [producer.fan_in for producer in site.producers])
    found = imbalance(site) if judged else None
    predicted = None if gain is None or not 0 < before < math.inf else before * math.exp(min(gain, 700.0))
    return {
        "second_moment": second_moment(site) if judged else math.nan,
        "second_moment_closed_form": predicted,
        "gradient": gradient_norm(site),
        "shift": None if found is None else found.observed,
        "shift_closed_form": None if found is None else found.predicted,
    }


def _one(bound: FloatArray | None) -> float | None:
    """A bound that all units share; the median where they differ, None without one."""
    return None if bound is None or not bound.size else float(np.median(bound))


def _units(diagnosis: Diagnosis, columns: Columns, detail: Detail) -> dict[str, Any]:
    """Arrays over all units of all sites."""
    sites = diagnosis.record.sites

    def over_all(of: Callable[[Site], Any]) -> Any:
        return joined([of(site) for site in sites])

    units: dict[str, Any] = {
        "state": columns.add(over_all(lambda site: _states(diagnosis, site)), "u2"),
        "fired": columns.add_counts(over_all(lambda site: site.statistics.fired)),
    }
    if not detail.sums:
        return units
    units |= unit_sums(sites, columns, detail.sums)
    units["minimum"] = columns.add_figures(over_all(lambda site: site.statistics.minimum), detail.others)
    units["maximum"] = columns.add_figures(over_all(lambda site: site.statistics.maximum), detail.others)
    if any(site.statistics.gradient is not None for site in sites):
        units["gradient"] = columns.add_figures(over_all(_gradients), detail.others)
    return units


def _states(diagnosis: Diagnosis, site: Site) -> IntArray:
    """A bit of `STATES` for each verdict that holds of a unit."""
    verdicts = diagnosis.verdicts.get(site.name, UnitVerdicts())
    bits = np.where(site.statistics.nonfinite > 0, 1 << STATES.index("non_finite"), 0)
    for place, verdict in enumerate(VERDICTS):
        bits[list(getattr(verdicts, verdict))] |= 1 << place
    return bits


def _gradients(site: Site) -> FloatArray:
    """Root mean square of ∂L/∂h, a unit, NaN where none was seen."""
    gradient, elements = site.statistics.gradient, site.statistics.elements
    if gradient is None:
        return np.full(site.units, np.nan)
    return np.asarray(np.sqrt(gradient.squares.sum(axis=0) / np.where(elements > 0, elements, np.nan)))

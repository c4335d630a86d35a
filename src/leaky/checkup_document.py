"""A checkup as a document, and back: the record with its verdicts, the findings, the thresholds, the initial record."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

from leaky.checkup import Checkup
from leaky.diagnosis import LEVELS, VERDICTS, Diagnosis, Finding, Level, Thresholds, UnitVerdicts, diagnose
from leaky.documents import Json, Reader, document
from leaky.errors import InputError
from leaky.record import Record
from leaky.record.reading import record_from
from leaky.record.writing import record_to_dict

SCHEMA = None
"""Kept by hand: its lists of statistics are named by region."""


def encode(checkup: Checkup) -> Json:
    """The body of a checkup's document."""
    verdicts = {name: asdict(units) for name, units in checkup.verdicts.items()}
    return {
        **record_to_dict(checkup.record, verdicts),
        "findings": [{**asdict(finding), "units": list(finding.units)} for finding in checkup.findings],
        "thresholds": checkup.diagnosis.thresholds.as_dict(),
        "population": checkup.diagnosis.population,
        "initial": None if checkup.initial is None else document("record", record_to_dict(checkup.initial)),
    }


def decode(at: Reader) -> Checkup:
    """The checkup that `encode` wrote. A record that was saved without findings is diagnosed anew."""
    record = record_from(at)
    initial = None if at.get("initial", dict, None) is None else record_from(at.inside("initial"))
    if "findings" not in at.data:
        try:
            return Checkup(diagnose(record, initial=initial), initial)
        except InputError as error:
            raise InputError(f"{at.source}: {error}") from error
    sites = dict(zip((site.name for site in record.sites), at.items("sites"), strict=True))
    diagnosis = Diagnosis(
        record=record,
        findings=tuple(_finding(finding, record) for finding in at.items("findings")),
        verdicts={site.name: _verdicts(sites[site.name], site.units) for site in record.sites},
        thresholds=_thresholds(at),
        population=at.get("population", bool, False),
    )
    return Checkup(diagnosis, initial)


def _finding(at: Reader, record: Record) -> Finding:
    site = at.get("site", str, None)
    units = at.list_of("units", int)
    known = {each.name: each.units for each in record.sites}
    if any(not 0 <= unit < known.get(site, unit + 1) for unit in units):
        raise at.wrong("units", f"a list of units below {known.get(site, 'those of its site')}")
    return Finding(
        rule=at.get("rule", str),
        level=cast(Level, at.one_of("level", LEVELS)),
        site=site,
        units=tuple(units),
        message=at.get("message", str),
        evidence=at.free("evidence"),
        advice=at.get("advice", str),
        follows_from=at.get("follows_from", str, None),
    )


def _verdicts(at: Reader, units: int) -> UnitVerdicts:
    found = {verdict: tuple(at.list_of(verdict, int)) for verdict in VERDICTS}
    for verdict, indices in found.items():
        if any(not 0 <= index < units for index in indices):
            raise at.wrong(verdict, f"a list of units below {units}")
    return UnitVerdicts(**found)


def _thresholds(at: Reader) -> Thresholds:
    known = Thresholds().as_dict().keys()
    given = at.inside("thresholds") if "thresholds" in at.data else Reader({}, at.source)
    values = {name: given.number(name) for name in given.data if name in known}
    try:
        return Thresholds.of(values)
    except InputError as error:
        raise InputError(f"{at.source}: {at.path('thresholds')}: {error}") from error

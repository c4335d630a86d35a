"""`leaky.compare`: two diagnoses of a network, matched site by site and unit by unit."""

from __future__ import annotations

import math

import numpy as np

from leaky.checking import shown
from leaky.diagnosis.changes import (
    COMPARED,
    Diagnosed,
    Pair,
    finding_changes,
    matched,
    thresholds_of,
    unit_changes,
)
from leaky.diagnosis.comparison import Comparison, Figures, Resized
from leaky.diagnosis.rules.advice import second_moment
from leaky.errors import InputError
from leaky.record import FloatArray, Site
from leaky.text import counted, listed


def compare(old: Diagnosed, new: Diagnosed) -> Comparison:
    """What changed from an older checkup of a network to a newer one: units that died or recovered, findings that came.

    A unit that only lacks samples to be called dead again is "undecided", not recovered; a site in one record only, or
    with another number of units, is named and not compared unit by unit.

    Args:
        old: a checkup or a diagnosis.
        new: another one of the same network.

    Returns:
        The Comparison; print it.

    Raises:
        InputError: if one of them is no checkup and no diagnosis; `leaky.load` reads one from its file.
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

"""Draws together what every site showed since the last report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch

import leaky
from leaky import theory
from leaky.diagnosis import Thresholds
from leaky.record import FloatArray, Record
from leaky.watching.alarm_rules.now import SiteNow
from leaky.watching.figures import OF_SUMS, figures
from leaky.watching.history import FIGURES, SiteFigures
from leaky.watching.observer import Observer
from leaky.watching.sums import FIRED, LAST_FIRED, NONFINITE
from leaky.watching.together import Together
from leaky.watching.unit_rates import Levels, levels

Measured = Mapping[str, tuple[float, float]]
"""Of each weight, ‖ΔW‖ ÷ ‖W‖ of one step, and √E w²."""


def record_of(observer: Observer, notes: Iterable[str]) -> Record:
    """What was seen since the last reset, reports and what came after them, as one record."""
    observer.bring()
    sites = []
    for name, site in observer.sites.items():
        rows = observer.stretches[name].total.copy()
        rows.merge(site.rows)
        if rows.samples:
            sites.append(site.described(rows, observer.model))
    return Record(
        model=type(observer.model).__name__,
        data=f"{observer.samples:,} samples of the training",
        mode="train",
        samples=observer.samples,
        batches=observer.batches,
        sites=tuple(sites),
        not_examined=observer.not_examined,
        notes=tuple(notes),
        versions={"leaky": leaky.__version__, "torch": torch.__version__, "numpy": np.__version__},
    )


def samples_needed(observer: Observer, thresholds: Thresholds) -> int:
    """Samples that a verdict on any unit of the model takes."""
    units = round(thresholds.units_examined) or sum(site.units for site in observer.reported_sites.values())
    return theory.samples_needed(max(1, units), thresholds.rate, thresholds.delta)


def unit_levels(seen: Together) -> dict[str, Levels]:
    """How often each unit of every site fired since the last report."""
    places = seen.places
    found = levels(seen.rows.seen[FIRED], places.each(seen.samples))
    return {name: found[at] for name, at in zip(places.names, places.slices, strict=True)}


def seen_together(observer: Observer) -> Together | None:
    """What the sites have shown since the last report; their sums begin anew. None without a site."""
    sites = observer.reported_sites
    if not sites:
        return None
    seen = Together(observer.stretches.places(sites), sites)
    for site in sites.values():
        site.rows.clear()
    return seen


def slopes_of(observer: Observer, seen: Together) -> FloatArray:
    """The slope of each unit as it is now."""
    found = np.empty(seen.places.all_units)
    for site, at in zip(observer.reported_sites.values(), seen.places.slices, strict=True):
        found[at] = site.slope(observer.model)
    return found


def report_row(
    observer: Observer, seen: Together | None, slopes: FloatArray, thresholds: Thresholds, measured: Measured
) -> SiteFigures:
    """The figures of every site since the last report.

    Args:
        observer: of the model.
        seen: since the last report.
        slopes: of each unit.
        thresholds: that decide.
        measured: of each weight, what the optimizer's step did to it.
    """
    needed, sites, row = samples_needed(observer, thresholds), observer.reported_sites, {}
    if seen is not None:
        stretches, kinds = observer.stretches, [site.activation for site in sites.values()]
        stretches.add(seen)
        stretches.judge(kinds, slopes, thresholds, needed)
        table = figures(seen, stretches, slopes, np.array([each.gain for each in kinds]), needed, thresholds)
        row = {name: dict(zip(OF_SUMS, each, strict=True)) for name, each in zip(sites, table.tolist(), strict=True)}
    for name, found in row.items():
        site = sites[name]
        found |= {} if site.measures is None else site.measures.figures(thresholds)
        behind = [measured[weight] for weight in site.weights if weight in measured]
        found["update"] = max((ratio for ratio, _ in behind), default=math.nan)
        found["weight"] = max((size for _, size in behind), default=math.nan)
        site.nonfinite_since = math.inf
    for name, code in observer.latents.items():
        if code.units and f"{name} (latents)" not in observer.waiting:
            nothing = dict.fromkeys(FIGURES, math.nan)
            row[f"{name} (latents)"] = nothing | code.figures(needed, thresholds)
    return row


def first_nonfinite(observer: Observer, seen: Together | None) -> tuple[dict[str, FloatArray], int]:
    """NaN and infinite pre-activations of each site since the last report, and how many passes ago the first came.

    A device is asked at reports only: by then what one site made has gone through all. Of the sites there, those count
    whose first came in the same pass. Ranks see other passes, and must say the same: of them all sites count.
    """
    if seen is None:
        return {}, 0
    sites, places = observer.reported_sites, seen.places
    found = {name: seen.rows.seen[NONFINITE, at] for name, at in zip(places.names, places.slices, strict=True)}
    first = min(site.nonfinite_since for site in sites.values())
    if not observer.inputs.alone or first == math.inf:
        return found, 0
    for name, site in sites.items():
        if first < site.nonfinite_since < math.inf:
            found[name] = np.zeros_like(found[name])
    return found, observer.clock.passes - int(first)


def sites_now(
    observer: Observer, seen: Together | None, slopes: FloatArray, nonfinite: Mapping[str, FloatArray], t: Thresholds
) -> tuple[SiteNow, ...]:
    """What the alarms' rules are told of each site.

    Args:
        observer: of the model.
        seen: since the last report.
        slopes: of each unit.
        nonfinite: NaN and infinite pre-activations of each site, unit by unit.
        t: thresholds that decide.
    """
    if seen is None:
        return ()
    stretches, places, sites = observer.stretches, seen.places, observer.reported_sites.values()
    gains = places.each([site.activation.gain for site in sites])
    steep = places.counts(np.abs(slopes) * gains > t.dead_derivative).tolist()
    last_fired, alike, same_for = (
        stretches.total.seen[LAST_FIRED],
        stretches.alike.tolist(),
        stretches.same_for.tolist(),
    )
    return tuple(
        SiteNow(
            site.name,
            site.units,
            silent_for=stretches.silent_for[at],
            ever_fired=stretches.ever_fired[at],
            last_fired=last_fired[at],
            flat=not steep[n],
            gated=site.activation.smooth,
            nonfinite=nonfinite[site.name],
            alike=alike[n],
            same_for=same_for[n],
            is_output=site.is_output,
        )
        for n, (site, at) in enumerate(zip(sites, places.slices, strict=True))
    )


def origin_of(observer: Observer) -> str:
    """What is to be said of the batch that went in when a value became non-finite."""
    if not observer.inputs.alone:  # of whichever rank, since the last report
        return " or one before it since the last report"
    batch = observer.last
    if batch is None:
        return ""
    bad = any(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in batch.tensors)
    return ", whose input has NaN or infinity already" if bad else ", whose input is finite"

"""Draws together what every site showed since the last report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn

import leaky
from leaky import theory
from leaky.diagnosis import Thresholds
from leaky.record import FloatArray, Record
from leaky.watching.alarm_rules.now import SiteNow
from leaky.watching.figures import figures
from leaky.watching.history import FIGURES, SiteFigures
from leaky.watching.observer import Observer
from leaky.watching.sums import FIRED, LAST_FIRED, NONFINITE
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


def unit_levels(observer: Observer) -> dict[str, Levels]:
    """How often each unit of every site fired since the last report."""
    return {name: levels(site.rows.seen[FIRED], site.rows.samples) for name, site in observer.reported_sites.items()}


def report_row(observer: Observer, thresholds: Thresholds, measured: Measured, model: nn.Module) -> SiteFigures:
    """The figures of every site since the last report; its sums begin anew."""
    needed = samples_needed(observer, thresholds)
    row: SiteFigures = {}
    for name, site in observer.reported_sites.items():
        rows, stretch = site.rows, observer.stretches[name]
        slopes = site.slopes(model)
        stretch.add(rows)
        if stretch.part.samples >= needed:
            stretch.judge(site.described(stretch.part, model, producers=False), thresholds, needed)
        found = figures(rows, stretch, slopes, site.activation.gain, needed, thresholds)
        found |= {} if site.measures is None else site.measures.figures(thresholds)
        behind = [measured[weight] for weight in site.weights if weight in measured]
        found["update"] = max((ratio for ratio, _ in behind), default=math.nan)
        found["weight"] = max((size for _, size in behind), default=math.nan)
        row[name] = found
        rows.clear()
        site.nonfinite_since = math.inf
    for name, code in observer.latents.items():
        if code.units and f"{name} (latents)" not in observer.waiting:
            nothing = dict.fromkeys(FIGURES, math.nan)
            row[f"{name} (latents)"] = nothing | code.figures(needed, thresholds)
    return row


def first_nonfinite(observer: Observer) -> tuple[dict[str, FloatArray], int]:
    """NaN and infinite pre-activations of each site since the last report, and how many passes ago the first came.

    A device is asked at reports only: by then what one site made has gone through all. Of the sites there, those count
    whose first came in the same pass. Ranks see other passes, and must say the same: of them all sites count.
    """
    sites = observer.reported_sites
    found = {name: site.rows.seen[NONFINITE].copy() for name, site in sites.items()}
    first = min((site.nonfinite_since for site in sites.values()), default=math.inf)
    if not observer.inputs.alone or first == math.inf:
        return found, 0
    for name, site in sites.items():
        if first < site.nonfinite_since < math.inf:
            found[name][:] = 0.0
    return found, observer.clock.passes - int(first)


def sites_now(observer: Observer, nonfinite: Mapping[str, FloatArray], thresholds: Thresholds) -> tuple[SiteNow, ...]:
    """What the alarms' rules are told of each site.

    Args:
        observer: of the model.
        nonfinite: NaN and infinite pre-activations of each site, unit by unit.
        thresholds: that decide.
    """
    sites = []
    for name, site in observer.reported_sites.items():
        stretch = observer.stretches[name]
        slopes = np.abs(site.slopes(observer.model)) * site.activation.gain
        sites.append(
            SiteNow(
                name,
                site.units,
                silent_for=stretch.silent_for,
                ever_fired=stretch.ever_fired,
                last_fired=stretch.total.seen[LAST_FIRED],
                flat=bool((slopes <= thresholds.dead_derivative).all()),
                gated=site.activation.smooth,
                nonfinite=nonfinite[name],
                alike=stretch.alike,
                same_for=stretch.same_for,
                is_output=site.is_output,
            )
        )
    return tuple(sites)


def origin_of(observer: Observer) -> str:
    """What is to be said of the batch that went in when a value became non-finite."""
    if not observer.inputs.alone:  # of whichever rank, since the last report
        return " or one before it since the last report"
    batch = observer.last
    if batch is None:
        return ""
    bad = any(t.is_floating_point() and not bool(torch.isfinite(t).all()) for t in batch.tensors)
    return ", whose input has NaN or infinity already" if bad else ", whose input is finite"

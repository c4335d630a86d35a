"""A watched training as what its page shows: layers by time, the network over time, alarms and controls.

Takes any object with what `leaky.watching.run.Run` has: report and watching do not import each other. Time is thinned
to what a screen can show; the last report always stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from leaky.report.page.columns import Columns
from leaky.report.page.wording import told
from leaky.text import counted, printable

MOST_REPORTS = 600
MOST_CELLS = 2_000_000
"""Units at moments that a page holds, a byte each before they are packed."""
SHARES = ("dead", "locked", "nearly_dead", "dormant", "silent", "rate")
FIGURES = (*SHARES, "second_moment", "output_moment", "gradient", "update")
"""That are shown, by the names of `leaky.watching.history.FIGURES`."""
NETWORK = ("dead", "locked", "silent", "dormant")
"""Shares that are drawn over all units."""


def run_content(run: Any, columns: Columns) -> dict[str, Any]:
    """What the page of a run shows; figures go to `columns` as (sites, reports)."""
    kept = kept_reports(len(run.steps))
    names = list(run.units)
    places = {name: place for place, name in enumerate(names)}
    figures = {
        figure: columns.add_figures(np.array(rows)[:, kept], 16)
        for figure in FIGURES
        if (rows := [run.figures[name][figure] for name in names if figure in run.figures.get(name, {})])
        and len(rows) == len(names)
        and not np.isnan(rows).all()
    }
    together = run.alarms_together()
    units = sum(run.units.values())
    return {
        "kind": "run",
        "title": told(run.model),
        "verdict": _verdict(run, together),
        "level": _worst(run, together),
        "subtitle": told(
            f"{run.model} · {counted(units, 'unit')} at {counted(len(names), 'site')} · {counted(run.length, 'step')}"
        ),
        "steps": columns.add(run.steps[kept], "f8"),
        "reports": len(run.steps),
        "sites": [
            {"name": printable(name), "units": run.units[name], "activation": told(run.activations.get(name, ""))}
            for name in names
        ],
        "figures": figures,
        "shares": [figure for figure in figures if figure in SHARES],
        "network": {share: columns.add(run.network(share)[kept], "f4") for share in NETWORK if share in figures},
        "unit_rates": _unit_rates(run.unit_rates, names, columns),
        "alarms": [[_alarm(alarm, places) for alarm in alike] for alike in together],
        "remarks": [[_alarm(alarm, places)] for alarm in run.remarks],
        "controls": [_control(control, places) for control in run.controls],
        "notes": [told(note) for note in run.notes],
    }


def _unit_rates(rates: Any, names: list[str], columns: Columns) -> dict[str, Any] | None:
    """Bytes of `UnitRates.levels` by site, of moments spread evenly where all are more than `MOST_CELLS`."""
    if rates is None or not len(rates.steps):
        return None
    levels = {name: rates.levels(name) for name in names if name in rates.cells}
    moments = MOST_CELLS // max(1, sum(each.shape[1] for each in levels.values()))
    if moments < 2:
        return None
    kept = kept_reports(len(rates.steps), moments)
    cells = [columns.add(levels[name][kept], "u1") if name in levels else None for name in names]
    return {"steps": columns.add(rates.steps[kept], "f8"), "cells": cells}


def kept_reports(reports: int, most: int = MOST_REPORTS) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Places of the reports that stay, spread evenly, first and last among them."""
    return np.unique(np.linspace(0, max(reports - 1, 0), min(most, reports)).astype(np.int64))


def _alarm(alarm: Any, places: dict[str, int]) -> dict[str, Any]:
    finding = alarm.finding
    return {
        "step": alarm.step,
        "rule": printable(finding.rule),
        "level": finding.level,
        "site": None if finding.site is None else printable(finding.site),
        "place": None if finding.site is None else places.get(finding.site),
        "message": told(finding.message),
        "advice": told(finding.advice),
    }


def _control(control: Any, places: dict[str, int]) -> dict[str, Any]:
    return {
        "step": control.step,
        "until": control.ended,
        "kind": control.kind,
        "refused": bool(control.refused),
        "site": None if control.site is None else printable(control.site),
        "place": None if control.site is None else places.get(control.site),
        "message": told(control.said),
        "alarm": printable(control.alarm),
        "evidence": told(control.evidence),
    }


def _verdict(run: Any, together: list[tuple[Any, ...]]) -> str:
    ended = f" It was ended by {told(run.ended)}." if run.ended not in ("", "stopped") else ""
    if not together:
        return f"No alarm in {counted(run.length, 'step')}.{ended}"
    first, *others = together[0]
    where = "the network" if first.finding.site is None else printable(first.finding.site)
    more = f" and {counted(len(others), 'site')} more" if others else ""
    what = f"{first.finding.rule}, {where}{more}"
    return f"{counted(len(together), 'alarm')}, the first at step {first.step:,}: {what}.{ended}"


def _worst(run: Any, together: list[tuple[Any, ...]]) -> str:
    levels = {alike[0].finding.level for alike in together}
    if not len(run.steps):
        return "nothing"
    return "error" if "error" in levels else "warning" if levels else "none"

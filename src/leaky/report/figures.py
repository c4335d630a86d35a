"""Figures for papers, from the same records as the pages: matplotlib, for the colour-blind, apart from pyplot's state.

Takes studies and runs as any object that has what theirs have: report, tuning and watching do not import each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from leaky.diagnosis import Diagnosis
from leaky.diagnosis.rules.advice import second_moment
from leaky.errors import InputError, MissingExtraError
from leaky.record import FloatArray
from leaky.report.rows import SiteRow, site_rows
from leaky.text import printable, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"dead": "#D55E00", "locked": "#E69F00", "unproven": "#CC79A7", "dormant": "#56B4E9", "silent": "#0072B2"}
"""Okabe & Ito 2008."""
INK, QUIET, BLUE = "#1A1A1A", "#9A9A9A", "#0072B2"
MOST_NAMES = 40
COLUMNS = 240
"""Of the picture of a layer's units."""


def checkup_figure(diagnosis: Diagnosis) -> Figure:
    """Each layer's units by their firing rates, the shares of what is wrong, and E h² by depth.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        InputError: if no site was examined.
    """
    table = site_rows(diagnosis)
    if not table:
        raise InputError("there is nothing to draw: no site was examined")
    figure = _figure(10.0, max(3.0, 1.4 + 0.26 * len(table)))
    rates, shares, ranges = figure.subplots(1, 3, width_ratios=(3, 2, 2))
    _draw_rates(rates, table)
    _draw_shares(shares, table)
    _draw_range(ranges, table)
    return figure


def study_figure(study: Any) -> Figure:
    """The score of each training by slope, and the paired differences to the simplest slope with their intervals."""
    arms = study.ranking
    if not study.trials:
        raise InputError("there is nothing to draw: no training has ended")
    figure = _figure(9.0, max(2.6, 1.3 + 0.32 * len(arms)))
    scores, differences = figure.subplots(1, 2, sharey=True)
    for place, arm in enumerate(arms):
        found = [trial.score for trial in study.trials_of(arm) if trial.score is not None]
        scores.plot(found, [place] * len(found), "o", color=BLUE, alpha=0.55, markersize=5, markeredgewidth=0)
        scores.plot([study.mean(arm)], [place], "|", color=INK, markersize=14, markeredgewidth=2.2)
        if arm != study.reference:
            _draw_interval(differences, study.difference(arm, study.reference), place)
    scores.set_yticks(range(len(arms)), [f"{shortened(printable(arm.label), 24)}" for arm in arms])
    scores.invert_yaxis()
    scores.set(xlabel="score, a dot each training; the mean as a bar", ylabel="negative slope")
    differences.axvline(0, color=QUIET, linewidth=0.8)
    differences.set(xlabel=f"difference to {study.reference.label}, paired; 95% for all together")
    return figure


def run_figure(run: Any) -> Figure:
    """Shares of all units over the steps, alarms as marks, and which layers fell silent when."""
    if not len(run.steps):
        raise InputError("there is nothing to draw: no report was made")
    names = list(run.units)
    figure = _figure(9.0, max(3.2, 1.6 + 0.22 * len(names)))
    network, layers = figure.subplots(1, 2)
    for share in ("dead", "locked", "dormant", "silent"):
        network.plot(run.steps, 100 * run.network(share), color=COLOURS[share], linewidth=1.6, label=share)
    for step in sorted({alarm.step for alarm in run.alarms if alarm.finding.level != "info"}):
        network.axvline(step, color=INK, linestyle=(0, (2, 3)), linewidth=0.8)
    network.set(xlabel="step", ylabel="% of all units", ylim=(0, None))
    network.legend(frameon=False)
    grid = 100 * np.array([run.figures[name]["silent"] for name in names])
    edges = (run.steps[0], max(run.steps[-1], run.steps[0] + 1), len(names) - 0.5, -0.5)
    image = layers.imshow(grid, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0, vmax=100, extent=edges)
    _name_layers(layers, names)
    layers.set(xlabel="step")
    figure.colorbar(image, ax=layers, label="silent, % of units")
    return figure


def layers_figure(shares: Sequence[tuple[str, float, float]]) -> Figure:
    """Dead and silent units by layer, from input to output, as a training is now.

    Args:
        shares: of each layer its name, the share of dead units, and of units silent for as many samples; NaN where not
            known yet.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    figure = _figure(6.0, 0.6 + 0.28 * max(len(shares), 1))
    axes = figure.subplots()
    names, dead, silent = ([row[place] for row in shares] for place in range(3))
    for state, height, parts in ("silent", 0.75, silent), ("dead", 0.45, dead):
        widths = 100 * np.nan_to_num(np.array(parts, np.float64))
        axes.barh(range(len(shares)), widths, height=height, color=COLOURS[state], label=state)
    _name_layers(axes, [str(name) for name in names])
    axes.set(xlim=(0, 100), ylim=(len(shares) - 0.5, -0.5), xlabel="% of the layer's units")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("figures need matplotlib: pip install 'leaky[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _draw_rates(axes: Axes, table: list[SiteRow]) -> None:
    picture = np.array([_across(np.sort(row.site.firing_rate)) for row in table])
    edges = (0, 100, len(table) - 0.5, -0.5)
    axes.imshow(picture, aspect="auto", interpolation="nearest", cmap="cividis", vmin=0, vmax=1, extent=edges)
    _name_layers(axes, [row.site.name for row in table])
    axes.set(xlabel="units by firing rate, %", title="firing rate: dark never, bright always")
    axes.title.set_fontsize(9)


def _across(rates: FloatArray) -> FloatArray:
    """A layer's units as `COLUMNS` columns, each a unit of its place."""
    if not rates.size:
        return np.full(COLUMNS, np.nan)
    return rates[np.minimum(np.arange(COLUMNS) * rates.size // COLUMNS, rates.size - 1)]


def _draw_shares(axes: Axes, table: list[SiteRow]) -> None:
    left = np.zeros(len(table))
    places = np.arange(len(table))
    units = np.array([max(row.site.units, 1) for row in table])
    for state in ("dead", "locked", "unproven", "dormant"):
        part = 100 * np.array([getattr(row, state) for row in table]) / units
        if part.any():
            words = "silent so far" if state == "unproven" else state
            axes.barh(places, part, left=left, color=COLOURS[state], label=words)
        left += part
    axes.set(ylim=(len(table) - 0.5, -0.5), yticks=[], xlabel="% of the layer's units", xlim=(0, max(left.max(), 1)))
    if left.any():
        axes.legend(frameon=False, fontsize=8)


def _draw_range(axes: Axes, table: list[SiteRow]) -> None:
    with np.errstate(all="ignore"):
        values = [second_moment(row.site) for row in table]
    kept = [(value, place) for place, value in enumerate(values) if 0 < value < math.inf]
    axes.plot([value for value, _ in kept], [place for _, place in kept], "o-", color=BLUE, markersize=4)
    axes.set(ylim=(len(table) - 0.5, -0.5), yticks=[], xlabel="E h²", xscale="log")
    axes.grid(axis="x", color="#EBEBEB", linewidth=0.7)


def _draw_interval(axes: Axes, gap: Any, place: int) -> None:
    if math.isfinite(gap.low) and math.isfinite(gap.high):
        axes.plot([gap.low, gap.high], [place, place], color=INK, linewidth=1.8, solid_capstyle="butt")
    axes.plot([gap.estimate], [place], "o", color=INK, markersize=5)


def _name_layers(axes: Axes, names: list[str]) -> None:
    """Each layer's name beside its row; every so many where there are more than `MOST_NAMES`."""
    step = -(-len(names) // MOST_NAMES)
    places = range(0, len(names), step)
    axes.set_yticks(list(places), [shortened(printable(names[place]), 26).replace("$", r"\$") for place in places])
    axes.tick_params(axis="y", labelsize=8, length=0)

"""The benchmark's rows as a picture: each figure as a share of its target."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

from benchmarks.activation.rows import Row

MET, MISSED = "#0072b2", "#d55e00"  # told apart by the colour-blind too


def draw(found: list[Row], about: dict[str, str | int], path: Path) -> None:
    """One bar a row, shorter is better, the target at 1.

    Args:
        found: the rows.
        about: the machine, for the caption.
        path: an .svg or .png file.
    """
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "leaky"}):  # letters as letters, not as outlines
        _draw(found, about, path)


def _draw(found: list[Row], about: dict[str, str | int], path: Path) -> None:
    shares = [row.target / row.value if row.at_least else row.value / row.target for row in found]
    figure, axes = plt.subplots(figsize=(9, 0.28 * len(found) + 1.2), layout="constrained")
    labels = [f"{row.work} ÷ {row.against}" for row in found]
    colours = [MET if row.met else MISSED for row in found]
    bars = axes.barh(labels, shares, color=colours, hatch=["" if row.met else "//" for row in found])
    axes.bar_label(bars, [f"{row.value:.2f}" for row in found], padding=3, fontsize=7)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel(f"measured ÷ target (1 = target, shorter is better) — {about['cpu']}, {about['threads']} threads")
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)

"""One picture of a network in training, for whatever a trainer logs pictures to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leaky.errors import MissingExtraError


def layers(rows: Sequence[tuple[str, float, float]]) -> Any:
    """A matplotlib figure with a bar a layer, from input to output: the shares of dead and of silent units.

    Args:
        rows: name, share of dead units, share of units silent for as many samples; NaN where not known yet.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("the picture needs matplotlib: pip install 'leaky[plot]'") from None
    figure = Figure(figsize=(6, 0.6 + 0.28 * max(len(rows), 1)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [0.0 if s != s else s for _, _, s in rows], color="#e8a87c", label="silent")
    axes.barh(places, [0.0 if d != d else d for _, d, _ in rows], color="#c0392b", height=0.45, label="dead")
    axes.set_yticks(list(places), [name for name, _, _ in rows], fontsize=7)
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.set_xlabel("share of the layer's units")
    axes.legend(fontsize=7, loc="lower right")
    return figure

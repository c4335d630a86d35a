"""The picture of the Leaky ReLU and its derivative.

Must be readable in print and by the colour-blind: every slope has a colour of the Okabe–Ito palette and a line style of
its own. Must draw the points that `formula` gives and nothing else, and leave pyplot's state alone.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leaky.activation import arguments, formula
from leaky.errors import InputError, MissingExtraError
from leaky.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".pdf")

# Okabe & Ito 2008 without yellow, which is hard to see on white, and black, which is every slope's common part.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# As many styles as share no divisor with the colours, so that 30 slopes differ.
STYLES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2)), (0, (3, 1.4, 1.2, 1.4, 1.2, 1.4)))
COMMON, QUIET = "#1A1A1A", "#9A9A9A"
POINTS = 41


def plot(
    slopes: Sequence[float] = (0.0, 0.01, 0.1, 0.3),
    gain: float = 1.0,
    clamp: float | None = None,
    out: str | os.PathLike[str] | None = None,
) -> Figure:
    """Draw the Leaky ReLU and its derivative, side by side, for several slopes.

    Args:
        slopes: α of each line.
        gain: factor on the output, > 0.
        clamp: bound on |y| after the gain, > 0; None for no bound.
        out: where to save the picture, if anywhere; the format follows from the suffix, .svg, .png or .pdf.

    Returns:
        The figure, a `matplotlib.figure.Figure` that pyplot does not know of.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        InputError: for no slope, one that is not finite, a gain or clamp that is not positive, or another suffix.
    """
    alphas = _checked(slopes)
    gain, clamp = arguments.positive_gain(gain), arguments.positive_clamp(clamp)
    picture_format = None if out is None else _format(out)
    figure = _empty_figure()
    left, right = figure.subplots(1, 2)
    reach = 4.0 if clamp is None else max(4.0, 1.5 * clamp / gain)
    _draw(left, formula.value, alphas, gain, clamp, reach)
    _draw(right, formula.derivative, alphas, gain, clamp, reach)
    _mark_the_derivative_at_zero(right, alphas, gain)
    _write_formulas(left, right, gain, clamp)
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=min(len(alphas) + 1, 6), frameon=False
    )
    if out is not None and picture_format is not None:
        write_whole(out, _encoded(figure, picture_format))
    return figure


def _draw(
    axes: Axes, curve: Callable[..., Any], alphas: Sequence[float], gain: float, clamp: float | None, reach: float
) -> None:
    """One panel: the part that all slopes share, and each slope's own part at and below 0."""
    axes.axhline(0, color=QUIET, linewidth=0.6, zorder=0)
    axes.axvline(0, color=QUIET, linewidth=0.6, zorder=0)
    shared = _with_gaps(_points(0.0, reach, gain, clamp, 1.0)[1:], clamp)
    axes.plot(shared, curve(shared, 0.0, gain=gain, clamp=clamp), color=COMMON, linewidth=2.2, label="$x > 0$")
    for index, alpha in enumerate(alphas):
        x = _with_gaps(_points(-reach, 0.0, gain, clamp, alpha), clamp)
        axes.plot(
            x,
            curve(x, alpha, gain=gain, clamp=clamp),
            color=COLOURS[index % len(COLOURS)],
            linestyle=STYLES[index % len(STYLES)],
            linewidth=2.2,
            label=rf"$\alpha = {alpha:g}$",
        )
    axes.set_xlim(-reach, reach)
    axes.margins(y=0.07)
    axes.set_xlabel("$x$")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(QUIET)
    axes.tick_params(color=QUIET)
    axes.grid(color="#EBEBEB", linewidth=0.7)
    axes.set_axisbelow(True)


def _points(low: float, high: float, gain: float, clamp: float | None, alpha: float) -> np.ndarray[Any, Any]:
    """Evenly spread points, and both sides of every kink between `low` and `high`."""
    kinks = [0.0]
    if clamp is not None and alpha != 0.0:
        kinks += [clamp / (gain * alpha), -clamp / (gain * alpha)]
    sides = [side for kink in kinks for side in (np.nextafter(kink, -math.inf), kink, np.nextafter(kink, math.inf))]
    spread = np.concatenate([np.linspace(low, high, POINTS), sides])
    return np.unique(spread[(spread >= low) & (spread <= high)])


def _with_gaps(x: np.ndarray[Any, Any], clamp: float | None) -> np.ndarray[Any, Any]:
    """A gap where the derivative jumps at a bound, so that no upright line is drawn that is no value."""
    if clamp is None:
        return x
    jumps = np.flatnonzero(np.diff(x) < 1e-9) + 1
    return np.insert(x, jumps, np.nan)


def _mark_the_derivative_at_zero(axes: Axes, alphas: Sequence[float], gain: float) -> None:
    """A full dot is the value at 0, an open one is not reached."""
    axes.plot([0.0], [gain], "o", markersize=7, markerfacecolor="white", markeredgecolor=COMMON, zorder=4)
    for index, alpha in enumerate(alphas):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot([0.0], formula.derivative([0.0], alpha, gain=gain), "o", markersize=6, color=colour, zorder=4)


def _write_formulas(left: Axes, right: Axes, gain: float, clamp: float | None) -> None:
    name = "f" if gain == 1.0 and clamp is None else "y"
    factor = "" if gain == 1.0 else rf"{gain:.4g}\,"
    value = f"{name}(x) = " + _cases(factor + "x", factor + r"\alpha x")
    slope = rf"\dfrac{{\mathrm{{d}}{name}}}{{\mathrm{{d}}x}} = " + _cases(f"{gain:.4g}", factor + r"\alpha")
    if clamp is not None:
        value += rf"\quad \mathrm{{held\;at}}\;\pm {clamp:g}"
        slope += r"\quad \mathrm{0\;beyond\;the\;bound}"
    left.set_title(f"${value}$", fontsize=13, math_fontfamily="stix", pad=20)
    right.set_title(f"${slope}$", fontsize=13, math_fontfamily="stix", pad=20)


def _cases(above: str, below: str) -> str:
    return rf"\genfrac{{\{{}}{{.}}{{0}}{{0}}{{{above}\quad\; x > 0}}{{{below}\quad x \leq 0}}"


def _checked(slopes: Sequence[float]) -> list[float]:
    alphas = [arguments.slope_number(slope) for slope in slopes]
    if not alphas or not all(map(math.isfinite, alphas)):
        raise InputError(f"slopes must hold one finite number or more, not {list(slopes)}")
    return alphas


def _format(out: str | os.PathLike[str]) -> str:
    suffix = Path(out).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"the picture's suffix must be one of {', '.join(SUFFIXES)}, not {suffix or 'none'!r}")
    return suffix[1:]


def _empty_figure() -> Figure:
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise MissingExtraError("the diagram needs matplotlib: pip install 'leaky[plot]'") from error
    return Figure(figsize=(9.0, 4.6), layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))


def _encoded(figure: Figure, picture_format: str) -> bytes:
    """The picture as a file's content, the same bytes for the same picture."""
    import matplotlib

    undated: dict[str, dict[str, Any]] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None},
        "png": {},
    }
    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "leaky"}):
        figure.savefig(stream, format=picture_format, dpi=200, metadata=undated[picture_format])
    return stream.getvalue()

"""The page of the function itself: its diagram and its derivative, with a slider for the slope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def diagram_content(slopes: Sequence[float], gain: float, clamp: float | None) -> dict[str, Any]:
    """What the page of the function shows."""
    held = "" if clamp is None else f", held at ±{clamp:g}"
    factor = "" if gain == 1 else f"{gain:g} · "
    return {
        "kind": "diagram",
        "title": "Leaky ReLU",
        "verdict": f"f(x) = {factor}x above 0, {factor}αx at and below it{held}",
        "level": "info",
        "subtitle": "The Leaky ReLU and its derivative; move α",
        "slopes": list(slopes),
        "gain": gain,
        "clamp": clamp,
    }

"""A site's firing rates in ten characters: a histogram whose ends are "never" and "always".

The two ends must stand apart from the rest: a unit that never fires and one that fires on every sample are what a
reader looks for, and neither may hide in a bin beside units that are merely rare or frequent.
"""

from __future__ import annotations

import numpy as np

from leaky.record import FloatArray

RAMP = " ▁▂▃▄▅▆▇█"
ASCII_RAMP = " .:-=+*#%@"
BINS = 8
"""Cells between the ends: equal parts of (0, 1)."""


def histogram(firing_rate: FloatArray) -> list[int]:
    """Units that never fire, units in each of `BINS` equal parts of (0, 1), units that always fire."""
    rates = firing_rate[np.isfinite(firing_rate)]
    inner = rates[(rates > 0) & (rates < 1)]
    # A rate of exactly 1 is an end of its own, so the last part is open on both sides as the others are half-open.
    parts = np.bincount(np.minimum((inner * BINS).astype(int), BINS - 1), minlength=BINS)
    return [int((rates == 0).sum()), *parts.tolist(), int((rates == 1).sum())]


def strip(firing_rate: FloatArray, ramp: str = RAMP) -> str:
    """One character a bin, as high as its share of the fullest bin; a bin with any unit is never blank."""
    counts = np.array(histogram(firing_rate))
    if not counts.any():
        return ""
    top = len(ramp) - 1
    levels = np.where(counts > 0, np.maximum(1, np.rint(counts / counts.max() * top)), 0)
    return "".join(ramp[int(level)] for level in levels)

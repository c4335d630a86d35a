"""What is usual of a size that comes step by step, so that an odd one is noticed when it comes. Without torch."""

from __future__ import annotations

import math

KNOWN = 8
"""Sizes without which none is called odd."""
REMEMBERED = 32
"""Over about so many sizes the usual one is a mean."""


class Usual:
    """A running mean that odd sizes do not enter."""

    def __init__(self) -> None:
        self._seen = 0
        self._mean = 0.0

    def see(self, size: float) -> float:
        """Take in a size; how many times the usual one it is, 0 where that is not known."""
        if not math.isfinite(size):
            return 0.0
        jump = size / self._mean if self._seen >= KNOWN and self._mean > 0 else 0.0
        if jump < KNOWN:
            self._seen += 1
            self._mean += (size - self._mean) / min(self._seen, REMEMBERED)
        return jump

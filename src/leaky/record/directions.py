"""How alike the samples look at a site: the mean cosine of two samples' pre-activations, from one streaming sum.

Must merge in any order and not depend on how samples were put into batches.
"""

from __future__ import annotations

from dataclasses import dataclass

from leaky.record.statistics import FloatArray

MOST_COORDINATES = 128
"""Entries of a sample's pre-activation that are looked at, evenly chosen among its units and positions."""


@dataclass(frozen=True, eq=False)
class Directions:
    """Σ z/‖z‖ over the samples, z the pre-activation of one sample as a vector.

    Attributes:
        samples: counted; those whose z is 0 or not finite have no direction.
        sums: of their directions, shape (coordinates,).
    """

    samples: int
    sums: FloatArray

    @property
    def cosine(self) -> float | None:
        """Mean cosine of two different samples' z, (‖Σ z/‖z‖‖² − n)/(n(n−1)): 1 where all samples look the same."""
        n = self.samples
        return None if n < 2 else float((self.sums @ self.sums - n) / (n * (n - 1)))

    def merge(self, other: Directions) -> Directions | None:
        """Over both sets of samples; None where their vectors differ in length."""
        if self.sums.shape != other.sums.shape:
            return None
        return Directions(self.samples + other.samples, self.sums + other.sums)

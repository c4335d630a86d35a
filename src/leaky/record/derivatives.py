"""How often a loss or a forward pass differentiates what the network computes: forces, residuals of an equation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Derivatives:
    """The derivatives that the user's own code takes.

    Attributes:
        order: the highest: 1 of forces or a gradient penalty, 2 of a second derivative.
        zero: whether all that was taken of that order was exactly 0, or depended on nothing.
    """

    order: int
    zero: bool

    def merge(self, other: Derivatives) -> Derivatives:
        """What holds on both sets of samples."""
        if self.order != other.order:
            return max(self, other, key=lambda one: one.order)
        return Derivatives(self.order, self.zero and other.zero)

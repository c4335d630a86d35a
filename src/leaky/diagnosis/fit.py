"""How well the network's outputs fit the targets that the loss compared them with: whether it has learned.

Waste and harm part here: dead units in a network that has learned cost nothing that anybody misses.
"""

from __future__ import annotations

from dataclasses import dataclass

from leaky.diagnosis.thresholds import Thresholds
from leaky.record import LossTerm, Record
from leaky.text import percentage


@dataclass(frozen=True)
class Fit:
    """One comparison's fit.

    Attributes:
        term: the comparison.
        score: R², or the share of the errors of "always the commonest class" that are avoided: 1 is perfect, 0 is what
            a constant does.
        words: the same for a reader.
    """

    term: LossTerm
    score: float
    words: str


def fits(record: Record) -> list[Fit]:
    """The fit of every comparison that tells one."""
    found = []
    for term in record.terms:
        right, explained = term.right, term.explained
        if right is not None:
            share, chance = right
            words = f"{percentage(share)} right where always the commonest class would be {percentage(chance)}"
            found.append(Fit(term, (share - chance) / max(1 - chance, 1e-12), words))
        elif explained is not None:
            found.append(Fit(term, explained, f"R² {explained:.3g} where each target's mean has 0"))
    return found


def has_learned(record: Record, thresholds: Thresholds) -> bool | None:
    """True if every comparison fits well, False if one fits no better than a constant, None where that is not known."""
    scores = [fit.score for fit in fits(record)]
    if not scores:
        return None
    if min(scores) < thresholds.stalled:
        return False
    return True if min(scores) >= thresholds.learned else None

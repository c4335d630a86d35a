"""Which units of a site are in trouble, from what was seen of them: the candidates of a repair.

Must not ask for proof, which a metric gives later: a unit that has been silent on too few samples to be called dead is
a candidate too. What is sparse by design is none; see `leaky.repairing.design`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leaky.diagnosis import UnitVerdicts
from leaky.diagnosis.verdicts import active_samples, one_sided
from leaky.record import BEYOND_HIGH, Site

DEAD_DERIVATIVE = 1e-3
"""An effective derivative of at most this size is practically 0, as `leaky.check` has it by default."""

RARELY = 0.01
"""A unit that is active on at most this share of the samples is stuck."""

SATURATED = 0.1
"""A unit of a smooth activation of which at most this share of the elements has a derivative that is not small."""

MOST_LEFT = 0.2
"""The share of stuck units up to which a site is left alone: healthy networks carry as many."""

MOST_LOCKED = 0.5
"""The share of locked units up to which a site is left alone: a linear unit passes on what it gets."""


@dataclass(frozen=True)
class Trouble:
    """The units of one site that a repair may be for.

    Attributes:
        gone: dead or constant on enough samples: nothing is lost by taking them away.
        stuck: hardly ever active, capped or saturated, or silent so far.
        locked: always on one side, with a derivative that is not small.
        units: of the site.
    """

    gone: tuple[int, ...]
    stuck: tuple[int, ...]
    locked: tuple[int, ...]
    units: int

    @property
    def candidates(self) -> tuple[int, ...]:
        """The units to do something about; none where healthy networks have as many."""
        still = {*self.gone, *self.stuck}
        chosen = set(still) if len(still) > MOST_LEFT * self.units else set()
        if len(self.locked) > MOST_LOCKED * self.units:
            chosen |= {*still, *self.locked}
        return tuple(sorted(chosen))

    @property
    def reason(self) -> str:
        """What the candidates are, in words."""
        chosen = set(self.candidates)
        kinds = (("dead or constant", self.gone), ("stuck or silent so far", self.stuck), ("locked", self.locked))
        found = [(word, len(chosen.intersection(units))) for word, units in kinds]
        some = [(word, count) for word, count in found if count]
        if len(some) == 1:
            return f"they are {some[0][0]} on the evidence"
        return f"they are {', '.join(f'{word} ({count})' for word, count in some)} on the evidence"


def trouble_of(site: Site, verdicts: UnitVerdicts | None = None) -> Trouble:
    """What is wrong with the units of a site.

    Args:
        site: what was seen.
        verdicts: of a checkup, which knows how much evidence is needed; without it, what is stuck is not told from
            what is gone.
    """
    gone = set() if verdicts is None else {*verdicts.dead, *verdicts.constant}
    sides = one_sided(site, DEAD_DERIVATIVE)
    locked = _units(sides.locked_negative | sides.locked_positive) - gone
    stuck = _units(_stuck(site)) - gone - locked
    return Trouble(tuple(sorted(gone)), tuple(sorted(stuck)), tuple(sorted(locked)), site.units)


def _stuck(site: Site) -> NDArray[np.bool_]:
    seen = site.statistics.elements > 0
    rarely = active_samples(site, DEAD_DERIVATIVE) <= RARELY * site.samples
    if not site.smooth:
        capped = site.statistics.counts[BEYOND_HIGH] > 0
        beyond = capped & (site.statistics.counts[BEYOND_HIGH] >= (1 - RARELY) * site.statistics.elements)
        return np.asarray(seen & (rarely | beyond))
    small = np.abs(site.derivative) <= DEAD_DERIVATIVE
    active = np.where(small, 0, site.statistics.counts).sum(axis=0)
    return np.asarray(seen & (rarely | (active <= SATURATED * site.statistics.elements)))


def _units(mask: NDArray[np.bool_]) -> set[int]:
    return {int(unit) for unit in np.flatnonzero(mask)}

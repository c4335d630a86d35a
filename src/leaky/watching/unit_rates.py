"""How often each unit fired, at moments of a training: a byte a unit and moment, so that a picture of it stays small.

Neither memory nor a log may grow with the steps: beyond `MOST_CELLS` every second moment is dropped, and from then on
only every second one is kept.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from leaky.errors import InputError
from leaky.record import FloatArray, IntArray
from leaky.text import named

MOST_CELLS = 2_000_000
"""Cells, a unit at a moment, of all sites together, unless two moments alone have more."""
MOST_MOMENTS = 512
UNSEEN, MOST = 255, 254
"""The byte of a unit of which nothing was seen, and of one that fired on every sample."""

Levels = NDArray[np.uint8]


def levels(fired: FloatArray, samples: float | IntArray) -> Levels:
    """Firing rates as bytes: 0 exactly where a unit never fired, `MOST` where it always did, `UNSEEN` without samples.

    Args:
        fired: samples on which each unit fired, shape (units,).
        samples: that were seen, by all units or by each.
    """
    rates = np.rint(np.minimum(fired / np.maximum(samples, 1), 1.0) * MOST)
    found: Levels = np.maximum(rates, fired > 0).astype(np.uint8)
    if not np.all(samples):
        found[np.broadcast_to(np.equal(samples, 0), found.shape)] = UNSEEN
    return found


@dataclass(frozen=True, eq=False)
class UnitRates:
    """Firing rates unit by unit, at some of a run's reports.

    Attributes:
        steps: of each moment, shape (moments,).
        cells: by site, (moments × units) bytes of `levels` in base64.
    """

    steps: IntArray
    cells: dict[str, str]

    def __post_init__(self) -> None:
        for name, text in self.cells.items():
            if len(_bytes(name, text)) % max(1, len(self.steps)):
                raise InputError(f"the unit rates of {named(name)} must hold a byte a unit and moment")

    def units(self, site: str) -> int:
        """How many units of a site are held."""
        return len(_bytes(site, self.cells[site])) // max(1, len(self.steps))

    def levels(self, site: str) -> Levels:
        """The bytes of a site, shape (moments, units)."""
        return np.frombuffer(_bytes(site, self.cells[site]), np.uint8).reshape(len(self.steps), -1)

    def rates(self, site: str) -> FloatArray:
        """Share of the samples on which each unit fired, shape (moments, units), to 1/254; NaN where not seen."""
        found = self.levels(site)
        return np.where(found == UNSEEN, np.nan, found / MOST)


def _bytes(name: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"the unit rates of {named(name)} must be bytes in base64") from None


@dataclass(eq=False)
class KeptMoments:
    """The moments of a running training that are kept."""

    _kept: list[tuple[int, dict[str, Levels]]] = field(default_factory=list)
    _seen: int = 0
    _stride: int = 1

    def due(self) -> bool:
        """Whether the report that comes now is one that is kept; call it once a report."""
        self._seen += 1
        return (self._seen - 1) % self._stride == 0

    def add(self, step: int, found: Mapping[str, Levels]) -> None:
        """Keep a moment; thins out the earlier ones where they become too many."""
        self._kept.append((step, dict(found)))
        cells = sum(len(each) for each in found.values())
        while len(self._kept) > max(2, min(MOST_MOMENTS, MOST_CELLS // max(1, cells))):
            del self._kept[1::2]
            self._stride *= 2

    def document(self, units: Mapping[str, int]) -> UnitRates | None:
        """What was kept, of these sites; None without a moment."""
        if not self._kept:
            return None
        steps = np.array([step for step, _ in self._kept], np.int64)
        cells = {
            name: base64.b64encode(b"".join(_moment(found.get(name), count) for _, found in self._kept)).decode()
            for name, count in units.items()
        }
        return UnitRates(steps, cells)


def _moment(found: Levels | None, units: int) -> bytes:
    """The bytes of a site at a moment; a site that had not come yet, or had other units then, was not seen."""
    return bytes([UNSEEN]) * units if found is None or len(found) != units else found.tobytes()

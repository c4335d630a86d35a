"""The sums of one site on the device of its tensors, until a report brings those of all sites to the host at once.

Nothing in here may ask a device for a value except `bring`: asking holds the training up until all that was sent to the
device is done. The sums lie in tensors that are made once; where the device has no float64, each is a pair of float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from leaky.activation.kernels.statistics import GRADIENT_ROWS
from leaky.observation.reduction import as_units
from leaky.record import FloatArray
from leaky.structure.activations import Activation
from leaky.watching.bounds import OPEN, Edges
from leaky.watching.sums import (
    FIRED,
    LAST_FIRED,
    MAXIMUM,
    MINIMUM,
    NONFINITE,
    ROWS,
    Reading,
    Rows,
    plain_gradient_rows,
    plain_rows,
    precision,
)


class Holder(Protocol):
    """A site: its rows on the host, and what lies on a device beside them."""

    units: int
    activation: Activation
    rows: Rows
    afar: Afar | None
    nonfinite_since: float


class Total:
    """A sum of tables, without the rounding that a long sum of float32 would have.

    Args:
        rows, units: of the table.
        device: where it lies.
    """

    def __init__(self, rows: int, units: int, device: torch.device) -> None:
        self.sums = torch.zeros(rows, units, dtype=precision(device), device=device)
        self.rest = None if self.sums.dtype == torch.float64 else torch.zeros_like(self.sums)

    def add(self, part: Tensor) -> None:
        """Add a table; of a pair the second takes what the first is too coarse for, exactly."""
        if self.rest is None:
            self.sums += part
            return
        total = self.sums + part
        shown = total - self.sums
        lost = (self.sums - (total - shown)) + (part - shown)
        self.rest += torch.where(torch.isfinite(lost), lost, 0.0)
        self.sums.copy_(total)

    def value(self) -> Tensor:
        """The sum so far, as near as one number of the device comes."""
        return self.sums.clone() if self.rest is None else self.sums + self.rest

    def clear(self) -> None:
        """Begin anew."""
        for each in self.parts():
            each.zero_()

    def parts(self) -> list[Tensor]:
        """What is brought to the host."""
        return [self.sums] if self.rest is None else [self.sums, self.rest]

    def read(self, pieces: Iterator[FloatArray]) -> FloatArray:
        """The sum, from what was brought."""
        found: FloatArray = np.sum([next(pieces).reshape(self.sums.shape) for _ in self.parts()], axis=0)
        return found


class Seen:
    """The rows of `leaky.watching.sums` of one tensor: sums, and extremes beside them."""

    def __init__(self, units: int, device: torch.device) -> None:
        self._total = Total(ROWS, units, device)
        self._least, self._last = (torch.zeros(1, units, dtype=precision(device), device=device) for _ in range(2))
        self._most = torch.zeros_like(self._least)
        self.clear()

    def add(self, part: Tensor) -> None:
        """Add the rows of one call."""
        torch.minimum(self._least, part[MINIMUM : MINIMUM + 1], out=self._least)
        torch.maximum(self._most, part[MAXIMUM : MAXIMUM + 1], out=self._most)
        torch.maximum(self._last, part[LAST_FIRED:], out=self._last)
        part[MINIMUM:NONFINITE] = part[LAST_FIRED:] = 0.0
        self._total.add(part)

    def clear(self) -> None:
        """Begin anew."""
        self._total.clear()
        self._least.fill_(math.inf)
        self._most.fill_(-math.inf)
        self._last.fill_(-1.0)

    def parts(self) -> list[Tensor]:
        """What is brought to the host."""
        return [*self._total.parts(), self._least, self._most, self._last]

    def read(self, pieces: Iterator[FloatArray]) -> FloatArray:
        """The rows, from what was brought."""
        rows = self._total.read(pieces)
        rows[MINIMUM], rows[MAXIMUM], rows[LAST_FIRED] = (next(pieces) for _ in range(3))
        return rows


class Afar:
    """What one site has shown since it was brought last, on its device.

    Args:
        units: of the site.
        smooth: whether sums of its output are taken.
        device: where its tensors are.

    Attributes:
        device: where its tensors are.
        flags: (samples, units) of a pass in which the site runs several times: who fired, by the number of samples.
    """

    def __init__(self, units: int, smooth: bool, device: torch.device) -> None:
        self.device = device
        self.flags: dict[int, Tensor] = {}
        with torch.inference_mode(False):
            self.seen = Seen(units, device)
            self.output = Seen(units, device) if smooth else None
            # Of the gradient, what a scaler's scale was taken out of, and what arrived after that.
            self.unscaled, self.arrived = (Total(GRADIENT_ROWS, units, device) for _ in range(2))
            self._first = torch.full((1,), math.inf, dtype=precision(device), device=device)
        self._scaled = False
        self.empty = True

    def take(self, z: Tensor, reading: Reading, bounds: Edges, step: int, of_pass: int, repeated: bool) -> None:
        """Take in a pre-activation."""
        self.empty = False
        rows, fired = plain_rows(as_units(z, reading.layout), bounds, step)
        ill = torch.where(rows[NONFINITE].sum(0, keepdim=True) > 0, float(of_pass), math.inf)
        torch.minimum(self._first, ill.to(self._first), out=self._first)
        if repeated:
            known = self.flags.get(reading.samples)
            self.flags[reading.samples] = fired if known is None else known | fired
            rows[FIRED], rows[LAST_FIRED] = 0.0, -1.0
        self.seen.add(rows)

    def take_output(self, h: Tensor, reading: Reading) -> None:
        """Take in the output of a smooth activation."""
        assert self.output is not None
        self.output.add(plain_rows(as_units(h, reading.layout), OPEN, 0)[0])

    def take_gradient(self, gradient: Tensor, value: Tensor, reading: Reading, bounds: Edges) -> None:
        """Take in a gradient, by the regions of the value beside it."""
        self.empty = False
        layout = reading.layout
        self.arrived.add(plain_gradient_rows(as_units(gradient, layout), as_units(value, layout), bounds))

    def end_pass(self, step: int, completed: bool) -> int:
        """Count a pass in which the site may have run several times, where it was completed; its samples."""
        ended, self.flags = self.flags if completed else {}, {}
        for flags in ended.values():
            fires = flags.sum(0).to(self._first.dtype)
            part = torch.zeros(ROWS, len(fires), dtype=fires.dtype, device=fires.device)
            part[MINIMUM], part[MAXIMUM] = math.inf, -math.inf
            part[FIRED], part[LAST_FIRED] = fires, torch.where(fires > 0, float(step), -1.0)
            self.seen.add(part)
        return sum(ended)

    def unscale(self, scale: Tensor | float) -> None:
        """Divide what has arrived of the gradient since the last call by the scale that the loss had."""
        if isinstance(scale, Tensor):
            scale = scale.to(self._first)
        part = self.arrived.value()
        part[:4] /= scale
        part[4:8] /= scale**2
        self.unscaled.add(part)
        self.arrived.clear()
        self._scaled = True

    def clear(self) -> None:
        """Begin anew."""
        for each in (self.seen, self.output, self.unscaled, self.arrived):
            if each is not None:
                each.clear()
        self._first.fill_(math.inf)
        self._scaled, self.empty = False, True

    def parts(self) -> list[Tensor]:
        """What is brought to the host."""
        tables = (self.seen, self.output, self.unscaled, self.arrived)
        return [*(part for each in tables if each is not None for part in each.parts()), self._first]

    def read(self, pieces: Iterator[FloatArray], into: Rows) -> float:
        """Add what was brought to the rows on the host; the first pass with NaN or infinity, ∞ for none."""
        seen = self.seen.read(pieces)
        output = None if self.output is None else self.output.read(pieces)
        unscaled, arrived = self.unscaled.read(pieces), self.arrived.read(pieces)
        if self._scaled:
            into.unscaled = unscaled if into.unscaled is None else into.unscaled + unscaled
        into.merge(Rows(seen, output, unscaled + arrived))
        return float(next(pieces)[0])


def afar_of(site: Holder, value: Tensor) -> Afar:
    """The sums of a site on the device of a tensor."""
    if site.afar is None or site.afar.device != value.device:
        bring([site])
        site.afar = Afar(site.units, site.activation.smooth, value.device)
    return site.afar


def bring(sites: Iterable[Holder]) -> None:
    """Bring the sums of all sites to their rows on the host, in one transfer from each device."""
    away = [(site, site.afar) for site in sites if site.afar is not None and not site.afar.empty]
    for device in dict.fromkeys(afar.device for _, afar in away):
        here = [(site, afar) for site, afar in away if afar.device == device]
        parts = [part for _, afar in here for part in afar.parts()]
        values = torch.cat([part.flatten() for part in parts]).cpu().double().numpy()
        pieces = iter(np.split(values, np.cumsum([part.numel() for part in parts])[:-1]))
        for site, afar in here:
            site.nonfinite_since = min(site.nonfinite_since, afar.read(pieces, site.rows))
            afar.clear()


def clear(sites: Iterable[Holder]) -> None:
    """Forget what the sites have shown."""
    for site in sites:
        site.rows.clear()
        site.nonfinite_since = math.inf
        if site.afar is not None:
            site.afar.clear()


def unscale(sites: Iterable[Holder], scaler: Any) -> None:
    """Divide what has arrived of the gradients since the last step by the scale that the loss had.

    Args:
        sites: of the model.
        scaler: a GradScaler, which tells its scale on the device where it can.
    """
    tell = getattr(scaler, "_get_scale_async", None)
    for site in sites:
        if site.afar is not None:
            told = None if tell is None else tell()
            site.afar.unscale(float(scaler.get_scale()) if told is None else told)
        if site.afar is None or site.rows.scaled:
            site.rows.unscale(float(scaler.get_scale()))

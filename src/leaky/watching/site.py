"""One site of a model that trains: takes in what each call shows, and waits for the gradient of its output.

Holds no memory that training would have freed: of a call it keeps what autograd keeps anyway (the output of a ReLU, the
input of the others) until the gradient arrives, or one byte an element where autograd was asked to keep nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leaky.activation.kernels import core
from leaky.observation.riding.layouts import fitted
from leaky.observation.riding.structure import KnownCall
from leaky.structure.activations import Activation
from leaky.structure.listening import SiteCall
from leaky.watching.afar import Afar, afar_of
from leaky.watching.arrival import Arrival, wait_for_gradient
from leaky.watching.bounds import OPEN, Edges
from leaky.watching.clock import Clock
from leaky.watching.described import DescribedSite
from leaky.watching.measures import Measures
from leaky.watching.quick import Quick, kept, quick_for
from leaky.watching.slopes import monotone
from leaky.watching.sums import FIRED, GRADIENT_NONFINITE, LAST_FIRED, NONFINITE, Reading, Rows, add, add_gradient

Flags = np.ndarray[Any, np.dtype[np.uint8]]

_MOST_READINGS = 64
_NONFINITE = 2
"""The reader's answer where it has met NaN or infinity since the last report."""


class WatchedSite(DescribedSite):
    """A site and its sums since the last report.

    Args:
        call: its first call, as the tracer saw it.
        shape: of the pre-activation then.
        clock: shared by all sites.

    Attributes:
        rows: the sums on the host.
        afar: those on a device, which `leaky.watching.afar.bring` adds to them; None without.
        nonfinite_since: the first pass with NaN or infinity since the last report that a device told of; ∞ for none.
        measures: what was asked for beyond them; None for nothing.
        quick: what does by the core at once what `take` and `follow` do, by call.
    """

    def __init__(self, call: SiteCall, shape: tuple[int, ...], clock: Clock) -> None:
        super().__init__(call, shape)
        self.rows = Rows.empty(self.units, call.activation.smooth)
        # The arrays are cleared in place, never replaced.
        self._addresses = self.rows.seen.ctypes.data, self.rows.gradient.ctypes.data
        self._total = getattr(core(), "gradient_total", None)
        self.afar: Afar | None = None
        self.nonfinite_since = np.inf
        self.measures: Measures | None = None
        self._repeated = True
        self.quick: Quick = {}
        self._clock, self.failed = clock, clock.failed
        self._bounds = Edges.of(call.activation, self.units)
        self._readings: dict[tuple[Any, ...], Reading | None] = {}
        self._reading: Reading | None = None
        self._recent: dict[KnownCall, Reading] = {}
        self._flags: dict[int, tuple[Flags, int]] = {}
        self._monotone, self._relu = monotone(call.activation.name), call.activation.name == "ReLU"
        self._mask: Tensor | None = None
        self._passes = 0
        self._gradient_pass = self._awaited = -1

    def also(self, call: SiteCall) -> None:
        """A further call was traced; weights that are behind it are behind the site."""
        for production in call.node.productions:
            self._productions.setdefault(production.weight, production)
        if call.activation.name != self.activation.name and call.activation.smooth == self.activation.smooth:
            self._become(call.activation)

    def _become(self, activation: Activation) -> None:
        """Another rectifier stands in its place."""
        self.activation, self._bounds = activation, Edges.of(activation, self.units)
        self._monotone, self._relu = monotone(activation.name), activation.name == "ReLU"
        self.__dict__.pop("_bounds_of_output", None)
        self._forget_forms()

    def _forget_forms(self) -> None:
        for known in (self._readings, self._recent, self.quick):
            known.clear()

    @property
    def repeated(self) -> bool:
        """Whether it runs several times a pass."""
        return self._repeated

    @repeated.setter
    def repeated(self, repeated: bool) -> None:
        self._repeated = repeated
        if repeated:
            self.quick.clear()

    def take(self, z: Tensor, call: KnownCall) -> bool:
        """Take in a pre-activation; False where its shape is not one that the structure can explain."""
        reading = self._recent.get(call)
        answer = 0
        if reading is not None and reading.reader is not None:
            new = self._repeated and reading.samples not in self._flags
            fired = self._flags_of(reading.samples)[1] if self._repeated else 0
            answer = reading.reader.add(z, fired, self._clock.step)
            if new and not answer:
                del self._flags[reading.samples]
        if not answer:
            reading = self._take_slowly(z, call)
            if reading is None:
                return False
        elif answer == _NONFINITE:
            self._clock.nonfinite = True
        assert reading is not None
        self._reading = reading
        rows = self.rows
        if self._repeated:
            self._passes = 1
        else:
            rows.samples += reading.samples
            rows.passes += 1
            self._quicken(reading, call)
        if call.in_place and not self._monotone:
            self._mask = z.detach() > self.activation.threshold
        return True

    def _take_slowly(self, z: Tensor, call: KnownCall) -> Reading | None:
        """The same where no reader of the core knows the tensor's form yet, or none can."""
        key = (call, z.shape, z.stride(), z.dtype)
        reading = self._readings.get(key)
        if reading is None or not reading.fits(z):
            reading = self._read(key, z, call)
            if reading is None:
                return None
        self._recent[call] = reading
        self.quick.pop(call, None)
        if reading.waits:
            clock = self._clock
            afar_of(self, z).take(z, reading, self._bounds, clock.step, clock.passes, self._repeated)
            return reading
        fired = self._flags_of(reading.samples)[0] if self._repeated else None
        add(self.rows.seen, z, reading, self._bounds, fired, self._clock.step, self._addresses[0])
        self._clock.nonfinite |= bool(self.rows.seen[NONFINITE].any())
        return reading

    def _quicken(self, reading: Reading, call: KnownCall) -> None:
        """Have the next calls of this form met by the core, where that is all there is to do."""
        if call in self.quick or call.in_place or self.measures is not None or self.rows.output is not None:
            return
        quick = quick_for(self, reading, self._relu, self._clock)
        if quick is not None:
            self.quick[call] = quick

    def follow(self, z: Tensor | None, output: Tensor, call: KnownCall) -> None:
        """Take in the output of a smooth activation, and wait for the gradient."""
        reading = self._reading
        if reading is None:
            return
        if self.measures is not None:
            self.measures.output(z, output, reading.layout)
        if self.rows.output is not None:
            h = output if self.activation.overscale == 1 else output / self.activation.overscale
            as_output = reading if reading.fits(h) else Reading(h, reading.layout)
            if as_output.waits:
                afar_of(self, h).take_output(h.detach(), as_output)
            else:
                add(self.rows.output, h.detach(), as_output, OPEN, None, 0)
        if output.requires_grad:
            passes = self._awaited = self._clock.passes
            if self._relu and kept(False) is None:
                value, bounds = output.detach(), self._bounds
            else:
                value, bounds = self._beside(z, output)
            wait_for_gradient(output, Arrival(self, reading, value, bounds, passes))

    def follow_again(self, z: Tensor | None, output: Tensor, call: KnownCall) -> None:
        """Wait for the gradient of a call that a checkpoint computes once more."""
        reading = self._readings.get((call, output.shape, output.stride(), output.dtype))
        awaited = max([self._awaited, *(meet.args[0].awaited for meet in self.quick.values())])
        if reading is not None and output.requires_grad and awaited != self._clock.passes:
            value, bounds = self._beside(z, output)
            wait_for_gradient(output, Arrival(self, reading, value, bounds, self._clock.passes))

    def _beside(self, z: Tensor | None, output: Tensor) -> tuple[Tensor, Edges]:
        """What the gradient's elements are parted by, and where: the one that autograd keeps as well."""
        if self._mask is not None:
            mask, self._mask = self._mask, None
            return mask, _HALF
        if self._relu or z is None:
            value, bounds = output.detach(), self._bounds if self._relu else self._bounds_of_output
        else:
            value, bounds = z.detach(), self._bounds
        if kept(False) is not None and bounds.cap is None:
            return value > bounds.threshold, _HALF
        return value, bounds

    @cached_property
    def _bounds_of_output(self) -> Edges:
        """The regions by the output of an activation that never falls: it is at its cap where z is at or beyond it."""
        cap = self._bounds.cap
        return Edges(0.0, None, None if cap is None else np.nextafter(cap, 0.0))

    def arrived(self, gradient: Tensor, value: Tensor, by_output: bool, call: KnownCall, of_pass: int) -> None:
        """Take in the gradient of a call in compiled code, parted by its output, a mask or its pre-activation."""
        key = (call, gradient.shape, gradient.stride(), gradient.dtype)
        reading = self._readings.get(key) or self._read(key, gradient, call)
        if reading is None:
            return
        beside = self._bounds_of_output if by_output and not self._relu else self._bounds
        bounds = _HALF if value.dtype == torch.uint8 else beside
        if reading.reader is not None and reading.reader.add_gradient(gradient, value, *bounds.addresses):
            self.count_gradient(reading, of_pass)
        else:
            self.gradient_arrived(gradient, reading, value, bounds, of_pass)

    def gradient_arrived(self, gradient: Tensor, reading: Reading, value: Tensor, bounds: Edges, of_pass: int) -> None:
        """Take in ∂L/∂h of one call; several calls of one pass have the same samples."""
        if not reading.fits(gradient) or type(gradient) is not Tensor:
            spread = torch.empty_strided(value.shape, value.stride(), dtype=reading.dtype, device=value.device)
            gradient = spread.copy_(gradient.detach())
        if value.dtype != gradient.dtype or value.stride() != gradient.stride():
            value = torch.empty_like(gradient).copy_(value)
        if not reading.fits(gradient):
            reading = Reading(gradient, reading.layout)
        if reading.waits:
            afar_of(self, gradient).take_gradient(gradient, value, reading, bounds)
        else:
            add_gradient(self.rows.gradient, gradient, value, reading, bounds, self._addresses[1])
        self.count_gradient(reading, of_pass)

    def gradient_total(self) -> tuple[float, bool]:
        """Σg² of what has arrived on the host since the last report, and whether any g was not finite."""
        if self._total is None:
            gradient = self.rows.gradient
            return float(gradient[4:8].sum()), bool(gradient[GRADIENT_NONFINITE].any())
        found: tuple[float, bool] = self._total(self._addresses[1], self.units)
        return found

    def count_gradient(self, reading: Reading, of_pass: int) -> None:
        """Count the samples whose gradient has arrived; several calls of one pass have the same."""
        if of_pass != self._gradient_pass:
            self._gradient_pass = of_pass
            self.rows.gradient_samples += reading.samples

    def end_pass(self, completed: bool) -> None:
        """Count a pass in which the site may have run several times."""
        if self.afar is not None:
            self.rows.samples += self.afar.end_pass(self._clock.step, completed)
        if self._flags and completed:
            for samples, (flags, _) in self._flags.items():
                self._count(flags)
                self.rows.samples += samples
        self._flags.clear()
        self.rows.passes += self._passes
        self._passes = 0
        self._reading = None

    def _read(self, key: tuple[Any, ...], z: Tensor, call: KnownCall) -> Reading | None:
        layout = fitted(call.layout, call.shape, z.shape, self._clock.samples)
        if layout is None or layout.units != self.units:
            return None
        if len(self._readings) >= _MOST_READINGS:
            self._forget_forms()
        reading = self._readings[key] = Reading(z, layout).read_for(self.rows, self._bounds)
        return reading

    def _flags_of(self, samples: int) -> tuple[Flags, int]:
        """What fired on which sample of this pass, and where that lies."""
        if samples not in self._flags:
            flags = np.zeros((samples, self.units), np.uint8)
            self._flags[samples] = flags, flags.ctypes.data
        return self._flags[samples]

    def _count(self, flags: Flags) -> None:
        fires = flags.sum(axis=0, dtype=np.int64)
        seen = self.rows.seen
        seen[FIRED] += fires
        np.maximum(seen[LAST_FIRED], np.where(fires > 0, self._clock.step, -1), out=seen[LAST_FIRED])


_HALF = replace(OPEN, threshold=0.5)
"""Parts a mask of zeros and ones."""

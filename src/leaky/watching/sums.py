"""The sums of one site since the last report, as rows of one double a unit.

Must cost next to nothing a call: on the CPU the compiled core adds a tensor's elements in one pass over its memory;
elsewhere plain torch operations take the same sums.
On a device that would have to be waited for they stay there: `leaky.watching.afar`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from leaky.activation.kernels import core
from leaky.activation.kernels.statistics import FLOAT32, GRADIENT_ROWS
from leaky.observation.reduction import as_units
from leaky.observation.running import dense
from leaky.record import FloatArray, GradientStatistics, IntArray, UnitStatistics
from leaky.structure.axes import Layout
from leaky.watching.bounds import Edges, region_masks

COUNTS, SUMS, SQUARES = slice(0, 4), slice(4, 8), slice(8, 12)
MINIMUM, MAXIMUM, NONFINITE, FIRED, LAST_FIRED = range(12, 17)
ROWS = 17
GRADIENT_NONFINITE = 8
_NOTHING = np.zeros((ROWS, 1))
_NOTHING[[MINIMUM, MAXIMUM, LAST_FIRED], 0] = np.inf, -np.inf, -1.0


def empty_rows(units: int) -> FloatArray:
    """Rows of which nothing was seen yet."""
    rows = np.zeros((ROWS, units))
    clear(rows)
    return rows


def clear(rows: FloatArray) -> None:
    """Begin anew."""
    rows[:] = _NOTHING


def merge(into: FloatArray, rows: FloatArray) -> None:
    """Add what was seen to what had been seen before."""
    into[:MINIMUM] += rows[:MINIMUM]
    into[NONFINITE : FIRED + 1] += rows[NONFINITE : FIRED + 1]
    np.minimum(into[MINIMUM], rows[MINIMUM], out=into[MINIMUM])
    np.maximum(into[MAXIMUM], rows[MAXIMUM], out=into[MAXIMUM])
    np.maximum(into[LAST_FIRED], rows[LAST_FIRED], out=into[LAST_FIRED])


def _count(place: int) -> Any:
    """One of the counts of `Rows`, as a number."""

    def get(self: Rows) -> int:
        return int(self.counts[place])

    def put(self: Rows, value: int) -> None:
        self.counts[place] = value

    return property(get, put)


class Rows:
    """What a site showed over some steps.

    Attributes:
        seen: of the pre-activation, shape (ROWS, units).
        output: the same of a smooth activation's output; None elsewhere.
        gradient: shape (GRADIENT_ROWS, units), of ∂L/∂h as it arrived.
        counts: samples, passes and gradient_samples, where the core adds to them.
        samples: seen.
        passes: in which they came.
        gradient_samples: whose gradient arrived.
        unscaled: the part of `gradient` that has been divided by a scaler's scale.
    """

    samples, passes, gradient_samples = (_count(place) for place in range(3))

    def __init__(
        self, seen: FloatArray, output: FloatArray | None, gradient: FloatArray, counts: IntArray | None = None
    ) -> None:
        self.seen, self.output, self.gradient = seen, output, gradient
        self.counts: IntArray = np.zeros(3, np.int64) if counts is None else counts
        self.unscaled: FloatArray | None = None

    @classmethod
    def empty(cls, units: int, smooth: bool) -> Rows:
        """Nothing seen yet."""
        return cls(empty_rows(units), empty_rows(units) if smooth else None, np.zeros((GRADIENT_ROWS, units)))

    def merge(self, other: Rows) -> None:
        """Add another stretch of steps."""
        merge(self.seen, other.seen)
        if self.output is not None and other.output is not None:
            merge(self.output, other.output)
        self.gradient += other.gradient
        self.counts += other.counts

    def copy(self) -> Rows:
        """The same in memory of its own."""
        output = None if self.output is None else self.output.copy()
        return Rows(self.seen.copy(), output, self.gradient.copy(), self.counts.copy())

    def clear(self) -> None:
        """Begin anew."""
        clear(self.seen)
        if self.output is not None:
            clear(self.output)
        self.gradient[:] = 0.0
        self.unscaled = None
        self.counts[:] = 0

    @property
    def scaled(self) -> bool:
        """Whether some of the gradient still has a scaler's scale."""
        return bool((self.gradient != (0.0 if self.unscaled is None else self.unscaled)).any())

    def unscale(self, scale: float) -> None:
        """Divide what has arrived of the gradient since the last call by the scale that the loss had."""
        before = np.zeros_like(self.gradient) if self.unscaled is None else self.unscaled
        self.gradient[:4] = before[:4] + (self.gradient[:4] - before[:4]) / scale
        self.gradient[4:8] = before[4:8] + (self.gradient[4:8] - before[4:8]) / scale**2
        self.unscaled = self.gradient.copy()

    def statistics(self) -> UnitStatistics:
        """As the record holds it; the gradient as if the loss, a mean over the batch, were one sample's."""
        a, out = self.seen, self.output
        gradient = None
        if self.gradient_samples:
            batch = self.gradient_samples / max(1, self.passes)
            gradient = GradientStatistics(
                self.gradient_samples, self.gradient[:4] * batch, self.gradient[4:8] * batch**2
            )
        return UnitStatistics(
            samples=self.samples,
            fired=a[FIRED].astype(np.int64),
            counts=a[COUNTS].astype(np.int64),
            sums=a[SUMS].copy(),
            squares=a[SQUARES].copy(),
            minimum=a[MINIMUM].copy(),
            maximum=a[MAXIMUM].copy(),
            nonfinite=a[NONFINITE].astype(np.int64),
            last_fired=a[LAST_FIRED].astype(np.int64),
            output_sums=None if out is None else out[SUMS].sum(axis=0),
            output_absolute_sums=None if out is None else np.asarray(out[6] - out[5]),
            output_squares=None if out is None else out[SQUARES].sum(axis=0),
            gradient=gradient,
        )


def waits(device: torch.device) -> bool:
    """Whether asking a tensor there for a value waits for everything that was sent to the device before."""
    return device.type != "cpu"


class Reading:
    """How one tensor of a shape is read: by the core as it lies in memory, or by plain operations.

    Args:
        value: a tensor of that shape.
        layout: how to see it as (samples, units, positions).

    Attributes:
        reader: adds such a tensor's elements to a site's rows with no word of Python in between; None where the core
            cannot, or nobody asked.
        bounds: that the reader parts elements by.
        meeting: `leaky.watching.quick` keeps here what it has made of the reader.
        waits: whether reading a value of it would hold the training up, so that its sums stay where it is.
    """

    def __init__(self, value: Tensor, layout: Layout) -> None:
        self.reader: Any = None
        self.bounds: Edges | None = None
        self.meeting: Any = None
        self.layout = layout
        self.samples, self.units = layout.samples, layout.units
        self.shape, self.stride = tuple(value.shape), value.stride()
        self.dtype, self.device = value.dtype, value.device
        self.widen = value.dtype in (torch.float16, torch.bfloat16)
        readable = dense(value.detach().float() if self.widen else value, layout)
        self.core = core() if readable is not None else None
        self.kind = FLOAT32 if readable is None else readable.kind
        self.dense: tuple[int, ...] = () if readable is None else tuple(readable.layout)
        self.threads = torch.get_num_threads()
        self.waits = self.core is None and waits(value.device)

    def read_for(self, rows: Rows, bounds: Edges) -> Reading:
        """Have a reader for the rows of a site, whose arrays must live as long as this does."""
        exchange = getattr(Tensor, "__dlpack_c_exchange_api__", None)
        make = getattr(self.core, "Reader", None)
        if make is None or exchange is None or self.widen:
            return self
        shape, stride = list(self.shape), list(self.stride)
        where = *bounds.addresses, rows.seen.ctypes.data, rows.gradient.ctypes.data, self.threads
        self.bounds = bounds
        self.reader = make(exchange, Tensor, self.kind, shape, stride, list(self.dense), *where)
        return self

    def fits(self, value: Tensor) -> bool:
        """Whether another tensor of the shape lies the same way."""
        alike = value.stride() == self.stride and value.dtype == self.dtype and value.device == self.device
        return alike and not value.is_neg()


def add(rows: Any, value: Tensor, reading: Reading, bounds: Edges, fired: Any, step: int, address: int = 0) -> None:
    """Add a tensor's elements to rows, (ROWS, units) on the host.

    Args:
        rows: the array.
        value: the tensor.
        reading: how to read it.
        bounds: of the regions.
        fired: (samples, units) flags to set for a pass in which the site runs several times; None counts at once.
        step: of the training, for the last one that a unit fired in.
        address: of the array, where it is known: NumPy takes as long to tell it as the core to add a small tensor.
    """
    if reading.core is not None:
        if reading.widen:
            value = value.float()
        activation = (0.0, 0, 1.0, np.inf)
        flags = 0 if fired is None else fired.ctypes.data
        where = (*bounds.addresses, address or rows.ctypes.data, flags, step, False, reading.threads)
        reading.core.statistics(reading.kind, value.data_ptr(), 0, *reading.dense, *activation, *where)
        return
    found, flags = plain_rows(as_units(value, reading.layout), bounds, step)
    if fired is not None:
        np.bitwise_or(fired, flags.cpu().numpy().view(np.uint8), out=fired)
        found[FIRED], found[LAST_FIRED] = 0, -1
    merge(rows, found.cpu().numpy())


def precision(device: torch.device) -> torch.dtype:
    """The widest numbers of a device."""
    return torch.float32 if device.type == "mps" else torch.float64


def plain_rows(z: Tensor, bounds: Edges, step: Any) -> tuple[Tensor, Tensor]:
    """The rows of one tensor, (samples, units, positions), and which unit fired on which sample, on its device."""
    precise = precision(z.device)
    z = z.detach().to(precise)
    finite = torch.isfinite(z)
    rows = torch.zeros(ROWS, z.shape[1], dtype=precise, device=z.device)
    rows[MINIMUM] = torch.where(finite, z, torch.inf).amin((0, 2))
    rows[MAXIMUM] = torch.where(finite, z, -torch.inf).amax((0, 2))
    rows[NONFINITE] = (~finite).sum((0, 2))
    z = torch.where(finite, z, 0.0)
    masks = region_masks(z, bounds)
    for region, mask in enumerate(masks):
        part = torch.where(mask & finite, z, 0.0)
        rows[region] = (mask & finite).sum((0, 2))
        rows[4 + region] = part.sum((0, 2))
        rows[8 + region] = part.square().sum((0, 2))
    fired = ((masks[2] | masks[3]) & finite).any(2)
    rows[FIRED] = fired.sum(0)
    rows[LAST_FIRED] = torch.where(rows[FIRED] > 0, step, -1)
    return rows, fired


def add_gradient(
    rows: FloatArray, gradient: Tensor, value: Tensor, reading: Reading, bounds: Edges, address: int = 0
) -> None:
    """Add a gradient's elements to rows, (GRADIENT_ROWS, units) on the host, by the regions of the value beside it."""
    if reading.core is not None:
        if reading.widen:
            gradient, value = gradient.float(), value.float()
        layout = reading.dense
        where = (*layout, *bounds.addresses, address or rows.ctypes.data, reading.threads)
        reading.core.gradient_sums(reading.kind, gradient.data_ptr(), value.data_ptr(), *where)
        return
    rows += (
        plain_gradient_rows(as_units(gradient, reading.layout), as_units(value, reading.layout), bounds).cpu().numpy()
    )


def plain_gradient_rows(gradient: Tensor, value: Tensor, bounds: Edges) -> Tensor:
    """The rows of one gradient, both seen as (samples, units, positions), on their device."""
    precise = precision(gradient.device)
    gradient = gradient.detach().to(precise)
    finite = torch.isfinite(gradient)
    rows = torch.zeros(GRADIENT_ROWS, gradient.shape[1], dtype=precise, device=gradient.device)
    rows[GRADIENT_NONFINITE] = (~finite).sum((0, 2))
    for region, mask in enumerate(region_masks(value.detach().to(precise), bounds)):
        part = torch.where(mask & finite, gradient, 0.0)
        rows[region] = part.abs().sum((0, 2))
        rows[4 + region] = part.square().sum((0, 2))
    return rows

"""What goes into a model that trains: how large each batch is, and at some reports what one batch holds.

Must cost next to nothing: of a batch an even sample of its entries is looked at, by the compiled core where it can, and
what a batch holds is looked at rarely, and of a large batch in some of its samples alone.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from leaky.activation.kernels import core
from leaky.observation.batches import Batch
from leaky.observation.ends import Ends
from leaky.record import TensorStatistics
from leaky.watching.course import CLOSE, Draws
from leaky.watching.usual import KNOWN, Usual

SAMPLED = 1 << 12
"""Entries of a batch that its size is taken of."""
WHOLE = 1 << 18
"""Entries of an input that are looked at, at most: beyond, samples are taken evenly from it."""
APART = 16
"""Reports between two looks, at most, unless a batch is odd: the first ones are looked at after 1, 2, 4, 8."""
FEATURES = LOOKED_AT = 64
"""Features and samples that the mean of a batch is taken of, at most, evenly taken."""
LEAST_SAMPLES = 8
"""Without which nothing is said of how batches differ."""


class InputSizes:
    """The sizes of the batches so far.

    Attributes:
        alone: whether this process watches by itself; ranks see other batches, and their alarms must be the same.
        jump: the largest root mean square of a batch since the last report ÷ the mean of those before it.
        seen: what the batch held that was looked at last.
        of_batch: that batch's number.
        draws: how the batches differ: each of the first ones, then one a report.
    """

    def __init__(self) -> None:
        self.alone = True
        self._asked = _asked()
        self.jump = 0.0
        self.seen: tuple[TensorStatistics, ...] = ()
        self.of_batch = 0
        self.draws = Draws()
        self._reports = self._passes = 0
        self._due = True
        self._usual = Usual()

    def see(self, batch: Batch, samples: int = 0, sample_dim: int | None = None) -> float:
        """Take in a batch; how many times larger it is than those before, 0 where that is not known.

        Elsewhere than on the CPU nothing is known, for asking would wait for the device.

        Args:
            batch: that goes in.
            samples: in it.
            sample_dim: their axis.
        """
        self._passes += 1
        if self.alone and sample_dim is not None and (self._due or self._passes <= CLOSE):
            self._due = False
            self._draw(batch, samples, sample_dim)
        if not batch.args or not self.alone:
            return 0.0
        asked = self._asked
        size = -1.0 if asked is None else asked.size(batch.args[0], SAMPLED)
        if size == -1.0:
            known = _size_of(batch.args[0])
            if known is None:
                return 0.0
            size = known
        jump = self._usual.see(size)
        if jump > self.jump:
            self.jump = jump
        return jump

    def reported(self, batch: Batch | None, number: int, samples: int, sample_dim: int | None) -> float:
        """A report is made: look at what the batch holds, if it is time to; the jump since the last report.

        Args:
            batch: the last one.
            number: of it.
            samples: in it.
            sample_dim: their axis.
        """
        n, self._reports, self._due = self._reports, self._reports + 1, True
        jump, self.jump = self.jump, 0.0
        due = n % APART == 0 or not n & (n - 1) or jump >= KNOWN
        if batch is not None and self.alone and due:
            self.seen, self.of_batch = _held(batch, samples, sample_dim), number
        return jump

    def _draw(self, batch: Batch, samples: int, sample_dim: int) -> None:
        """Keep the mean of the batch's first tensor, and the variance over its samples."""
        value = (
            batch.args[0] if batch.args and type(batch.args[0]) is Tensor else next(iter(batch.named.values()), None)
        )
        if type(value) is not Tensor or value.device.type != "cpu" or value.is_complex() or value.is_quantized:
            return
        if value.is_nested or value.layout is not torch.strided:
            return
        if samples < LEAST_SAMPLES or not -value.ndim <= sample_dim < value.ndim or value.shape[sample_dim] != samples:
            return
        rows = value.detach().movedim(sample_dim, 0)[:: -(-samples // LOOKED_AT)].flatten(1)
        if rows.numel():
            self.draws.add(rows[:, :: -(-rows.shape[1] // FEATURES)].to(torch.float64, copy=True).numpy())


def _size_of(value: Any) -> float | None:
    """√E x² of an even sample of a tensor's entries; None where that cannot be had without waiting or copying."""
    if type(value) is not Tensor or value.device.type != "cpu" or not value.is_floating_point():
        return None
    if value.is_nested or value.layout is not torch.strided or not value.is_contiguous() or not value.numel():
        return None
    flat = value.detach().view(-1)[:: max(1, value.numel() // SAMPLED)]
    return float(torch.linalg.vector_norm(flat.double())) / math.sqrt(flat.numel())


@functools.cache
def _asked() -> Any:
    """The core's way to a tensor's entries; None where there is none."""
    exchange, make = getattr(Tensor, "__dlpack_c_exchange_api__", None), getattr(core(), "Asked", None)
    return None if exchange is None or make is None else make(exchange, Tensor)


def _held(batch: Batch, samples: int, sample_dim: int | None) -> tuple[TensorStatistics, ...]:
    """What a batch holds, or as many of its samples as `WHOLE` allows."""
    ends = Ends()
    for name, value in batch.named.items():
        if value.is_nested or value.layout is not torch.strided or not value.is_floating_point():
            continue
        count, step = samples, math.ceil(value.numel() / WHOLE)
        if step > 1:
            axis = 0 if sample_dim is None else sample_dim
            if not -value.ndim <= axis < value.ndim or value.shape[axis] != samples or step > samples:
                continue
            places = [slice(None)] * value.ndim
            places[axis] = slice(None, None, step)
            value = value.detach()[tuple(places)]
            count = value.shape[axis]
        ends.add({name: value}, count, sample_dim)
    return ends.tensors

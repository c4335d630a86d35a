"""What goes into a model that trains: how large each batch is, and at some reports one batch as a whole.

Must cost next to nothing: of a batch an even sample of its entries is looked at, and a whole batch ever more rarely.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from leaky.observation.batches import Batch
from leaky.observation.ends import Ends
from leaky.record import TensorStatistics
from leaky.watching.usual import Usual

SAMPLED = 1 << 12
"""Entries of a batch that its size is taken of."""
WHOLE = 1 << 18
"""Entries of a batch that are looked at as a whole, at most."""


class Inputs:
    """The sizes of the batches so far.

    Attributes:
        alone: whether this process watches by itself; ranks see other batches, and their alarms must be the same.
        jump: the largest root mean square of a batch since the last report ÷ the mean of those before it.
    """

    def __init__(self) -> None:
        self.alone = True
        self.jump = 0.0
        self._reports = 0
        self._usual = Usual()

    def see(self, batch: Batch) -> float:
        """Take in a batch; how many times larger it is than those before, 0 where that is not known.

        Elsewhere than on the CPU nothing is known, for asking would wait for the device.
        """
        value = batch.args[0] if batch.args and self.alone else None
        if type(value) is not Tensor or value.device.type != "cpu" or not value.is_floating_point():
            return 0.0
        if value.is_nested or value.layout is not torch.strided or not value.is_contiguous() or not value.numel():
            return 0.0
        flat = value.detach().view(-1)[:: max(1, value.numel() // SAMPLED)]
        size = float(torch.linalg.vector_norm(flat.double())) / math.sqrt(flat.numel())
        jump = self._usual.see(size)
        self.jump = max(self.jump, jump)
        return jump

    def reported(self, batch: Batch | None, samples: int, sample_dim: int | None) -> tuple[TensorStatistics, ...]:
        """A report is made: what the batch holds, at the first reports and then ever more rarely; else nothing."""
        n, self._reports = self._reports, self._reports + 1
        jump, self.jump = self.jump, 0.0
        if batch is None or not self.alone or (n & (n - 1) and not jump):
            return ()
        ends = Ends()
        for name, value in batch.named.items():
            plain = not value.is_nested and value.layout is torch.strided
            if plain and value.numel() <= WHOLE and value.is_floating_point():
                ends.add({name: value}, samples, sample_dim)
        return ends.tensors

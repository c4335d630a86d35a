"""The running sums of one site, by the compiled core where possible and by torch operations otherwise.

Both ways hold what `leaky.record.UnitStatistics` holds; nobody downstream can tell which one ran.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leaky.activation.kernels import core
from leaky.activation.kernels.statistics import FLOAT32, FLOAT64, DenseLayout, Regions, UnitSums, dense_layout
from leaky.observation.reduction import output_sums, pre_activation_statistics
from leaky.record import BELOW, LINEAR, UnitStatistics
from leaky.structure.activations import Activation
from leaky.structure.axes import Layout

Flags = NDArray[np.uint8]

KINDS = {torch.float32: FLOAT32, torch.float64: FLOAT64}
"""The core's numbers of the types that it takes sums of."""


@dataclass(frozen=True)
class Dense:
    """A tensor whose memory the compiled core can read without a copy."""

    kind: int
    layout: DenseLayout


def dense(value: Tensor, view: Layout) -> Dense | None:
    """The memory layout of a tensor for the compiled core; None if it cannot read it."""
    if value.dtype not in KINDS or value.device.type != "cpu" or type(value) not in (Tensor, torch.nn.Parameter):
        return None
    if core() is None or value.is_neg() or value.numel() == 0:
        return None
    split = value.detach().reshape(view.shape)
    if split.data_ptr() != value.data_ptr():
        return None
    layout = dense_layout(split.shape, split.stride(), view.order, view.samples, view.units)
    return None if layout is None else Dense(KINDS[value.dtype], layout)


class RunningSums:
    """Statistics of one site, added to call by call.

    Args:
        units: of the site.
        activation: whose threshold and bounds part the regions.
    """

    def __init__(self, units: int, activation: Activation) -> None:
        self._activation = activation
        self._plain = UnitStatistics.empty(units)
        compiled = core()
        self._sums = None if compiled is None else UnitSums(compiled, units)
        self._outputs: UnitSums | None = None
        self._samples = 0
        floor, cap = activation.floor, activation.cap
        self._regions = Regions(
            activation.threshold,
            None if floor is None else np.ascontiguousarray(np.broadcast_to(floor, (units,)), np.float64),
            None if cap is None else np.full(units, cap, np.float64),
        )

    def add(self, pre_activation: Tensor, view: Layout, fired: Flags, batch: int) -> None:
        """Take in the pre-activations of one call and set the flags of the units that fired, (samples, units)."""
        readable = dense(pre_activation, view)
        if readable is not None and self._sums is not None:
            self._compiled(readable, pre_activation, fired, batch)
            return
        statistics, mask = pre_activation_statistics(pre_activation, view, self._activation)
        self._plain = self._plain.merge(statistics)
        np.bitwise_or(fired, mask.numpy().view(np.uint8), out=fired)

    def rectifies(self, pre_activation: Tensor, view: Layout, output: Tensor) -> bool:
        """Whether the core can write the plain activation's values into `output` in the pass that takes the sums."""
        slope, readable = self._activation.negative_slope, dense(pre_activation, view)
        lies_alike = output.stride() == pre_activation.stride()
        return isinstance(slope, float) and readable is not None and self._sums is not None and lies_alike

    def add_and_rectify(self, pre_activation: Tensor, view: Layout, fired: Flags, batch: int, output: Tensor) -> None:
        """As `add`, and the plain activation's values into `output` in one pass, where `rectifies` says that it can be.

        Args:
            pre_activation: z.
            view: how to see it as (samples, units, positions).
            fired: flags, (samples, units).
            batch: index of the batch.
            output: fresh memory of the layout of z, or z itself.
        """
        slope, readable = self._activation.negative_slope, dense(pre_activation, view)
        assert readable is not None
        assert isinstance(slope, float)
        self._compiled(readable, pre_activation, fired, batch, output.data_ptr(), slope)

    def _compiled(
        self, readable: Dense, source: Tensor, fired: Flags, batch: int, target: int = 0, slope: float = 0.0
    ) -> None:
        assert self._sums is not None
        self._sums.add(
            readable.kind,
            source.data_ptr(),
            readable.layout,
            self._regions,
            batch,
            torch.get_num_threads(),
            fired,
            target=target,
            fresh=target != source.data_ptr(),
            slope=slope,
        )

    def reader(self, pre_activation: Tensor, view: Layout) -> Any:
        """The core's reader of tensors of this form, with no word of Python in between; None where there is none."""
        exchange, make = getattr(Tensor, "__dlpack_c_exchange_api__", None), getattr(core(), "Reader", None)
        readable = dense(pre_activation, view)
        if exchange is None or make is None or readable is None or self._sums is None:
            return None
        floor, cap = (0 if bound is None else bound.ctypes.data for bound in (self._regions.floor, self._regions.cap))
        shape, stride, layout = list(pre_activation.shape), list(pre_activation.stride()), list(readable.layout)
        where = self._regions.threshold, floor, cap, self._sums.array.ctypes.data, 0, torch.get_num_threads()
        return make(exchange, Tensor, readable.kind, shape, stride, layout, *where)

    def read(self, pre_activation: Tensor, view: Layout, reader: Any, fired: Flags | None, batch: int) -> None:
        """As `add`, by a reader where it can; without flags, the batch's only call, whose samples count at once."""
        if reader is not None and reader.add(pre_activation, 0 if fired is None else fired.ctypes.data, batch):
            self._samples += 0 if fired is not None else view.samples
            return
        flags = np.zeros((view.samples, view.units), np.uint8) if fired is None else fired
        self.add(pre_activation, view, flags, batch)
        if fired is None:
            self.count(flags, batch)

    def keep(self) -> None:
        """Note the sums as they are now."""
        sums, outputs = (None if each is None else each.array.copy() for each in (self._sums, self._outputs))
        self._kept = self._plain, self._samples, sums, outputs

    def put_back(self) -> None:
        """Forget what came since they were noted."""
        self._plain, self._samples, sums, outputs = self._kept
        if self._sums is not None and sums is not None:
            self._sums.array[:] = sums
        if outputs is None:
            self._outputs = None
        elif self._outputs is not None:
            self._outputs.array[:] = outputs

    def add_output(self, output: Tensor, view: Layout) -> None:
        """Take in the output of a call of a smooth activation."""
        readable, compiled = dense(output, view), core()
        if readable is not None and compiled is not None:
            if self._outputs is None:
                self._outputs = UnitSums(compiled, view.units)
            threads = torch.get_num_threads()
            self._outputs.add(readable.kind, output.data_ptr(), readable.layout, Regions(), 0, threads)
            return
        sums, absolute, squares = output_sums(output, view)
        outputs = replace(
            UnitStatistics.empty(view.units), output_sums=sums, output_absolute_sums=absolute, output_squares=squares
        )
        self._plain = self._plain.merge(outputs)

    def count(self, fired: Flags, batch: int) -> None:
        """Count the samples of a batch and those that each unit fired on."""
        fires = fired.sum(axis=0, dtype=np.int64)
        counted = replace(
            UnitStatistics.empty(fired.shape[1]),
            samples=len(fired),
            fired=fires,
            last_fired=np.where(fires > 0, batch, -1),
        )
        self._plain = self._plain.merge(counted)

    def statistics(self) -> UnitStatistics:
        """Everything so far."""
        samples = self._samples
        found = self._plain if self._sums is None else self._plain.merge(self._sums.statistics(samples))
        return found if self._outputs is None else found.merge(_as_outputs(self._outputs.statistics(0)))


def _as_outputs(seen: UnitStatistics) -> UnitStatistics:
    """What the core has summed of outputs, parted at 0, as the sums of outputs."""
    return replace(
        UnitStatistics.empty(seen.sums.shape[1]),
        output_sums=seen.sums.sum(axis=0),
        output_absolute_sums=np.asarray(seen.sums[LINEAR] - seen.sums[BELOW]),
        output_squares=seen.squares.sum(axis=0),
    )

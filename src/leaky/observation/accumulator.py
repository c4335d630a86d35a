"""Accumulates the statistics of one site over finished batches and the current one.

Several calls of a site within one batch see the same samples (a siamese tower, an RNN cell over time): a sample counts
once, and as firing if any of the calls fired on it. That is why a batch is counted only when it ends.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leaky.observation.directions import DirectionSums
from leaky.observation.reduction import gradient_sums, region_codes
from leaky.observation.running import Flags, RunningSums
from leaky.record import GradientStatistics, Producer, Site
from leaky.structure.activations import Activation
from leaky.structure.axes import Layout


@dataclass(frozen=True, eq=False)
class Part:
    """The samples of a batch that one call of a site saw."""

    ids: NDArray[np.int64]
    samples: int


class SiteAccumulator:
    """Accumulates the calls of one site.

    Args:
        name: of the site.
        activation: what it computes.
        view: how to see its pre-activation, on its first call.
        shape: of the pre-activation, on its first call.
        source: the line of a functional call.
    """

    def __init__(
        self,
        name: str,
        activation: Activation,
        view: Layout,
        shape: tuple[int, ...],
        source: str | None,
    ) -> None:
        self.name = name
        self.units = view.units
        self.is_output = False
        self.is_avoidable: bool | None = True
        self._activation = activation
        self._view = view
        self._shape = shape
        self._source = source
        self.producers: dict[str, Producer] = {}
        self._sums = RunningSums(view.units, activation)
        self._gradients: GradientStatistics | None = None
        self._directions = DirectionSums()
        self._calls = 1
        self._start()

    def _start(self) -> None:
        self._fired: dict[int, Flags] = {}
        self._picked: tuple[Flags, Flags] | None = None
        self._gradient: GradientStatistics | None = None
        self._calls_now = 0
        self._kept = False

    def _flags(self, view: Layout) -> Flags:
        """Which unit fired on which sample of this batch; calls with as many samples see the same ones."""
        return self._fired.setdefault(view.samples, np.zeros((view.samples, self.units), np.uint8))

    def add(self, pre_activation: Tensor, view: Layout, batch: int, part: Part | None = None) -> None:
        """Add the pre-activation of one call, before the site runs.

        Args:
            pre_activation: z.
            view: how to see it as (samples, units, positions).
            batch: index of the batch.
            part: which of the batch's samples they are; None where they are all of them in order.
        """
        self._look(pre_activation, view, part)
        self._calls_now += 1
        if part is None:
            self._sums.add(pre_activation, view, self._flags(view), batch)
            return
        flags = np.zeros((view.samples, self.units), np.uint8)
        self._sums.add(pre_activation, view, flags, batch)
        self._pick(part, flags)

    def add_and_rectify(
        self, pre_activation: Tensor, view: Layout, batch: int, output: Tensor, part: Part | None
    ) -> Tensor | None:
        """As `add`, and write the activation into `output` in the same pass; None if that is not possible."""
        if not self._sums.rectifies(pre_activation, view, output):
            return None
        self._look(pre_activation, view, part)  # before it is written over
        self._calls_now += 1
        flags = self._flags(view) if part is None else np.zeros((view.samples, self.units), np.uint8)
        self._sums.add_and_rectify(pre_activation, view, flags, batch, output)
        if part is not None:
            self._pick(part, flags)
        return output

    def reader(self, pre_activation: Tensor, view: Layout) -> Any:
        """The compiled reader for tensors of this shape and dtype; None if there is none."""
        return self._sums.reader(pre_activation, view)

    def read(self, pre_activation: Tensor, view: Layout, reader: Any, batch: int, alone: bool) -> None:
        """As `add`, but `forget` can undo it.

        Args:
            pre_activation: z.
            view: how to see it as (samples, units, positions).
            reader: of its form.
            batch: index of the batch.
            alone: whether this is the site's only call in the batch.
        """
        if not self._kept:
            self._kept = True
            self._sums.keep()
            self._directions.keep()
        self._look(pre_activation, view, None)
        self._calls_now += 1
        self._sums.read(pre_activation, view, reader, None if alone else self._flags(view), batch)

    def forget(self) -> None:
        """Undo every `read` since the end of the last batch."""
        if self._kept:
            self._sums.put_back()
            self._directions.put_back()
            self._start()

    def _look(self, pre_activation: Tensor, view: Layout, part: Part | None) -> None:
        """Take in the directions of the first call of a batch that sees its samples in order, and how they lie."""
        if self._view.sample_dim is None and view.sample_dim is not None:
            self._view, self._shape = view, tuple(pre_activation.shape)
        if part is None and self._calls_now == 0 and view.sample_dim is not None:
            self._directions.add(pre_activation, view)

    def _pick(self, part: Part, flags: Flags) -> None:
        """Mark the units that fired on the samples of a call; a sample that occurs several times counts once."""
        if self._picked is None or len(self._picked[1]) < part.samples:
            self._picked = (np.zeros((part.samples, self.units), np.uint8), np.zeros(part.samples, np.uint8))
        fired, seen = self._picked
        np.bitwise_or.at(fired, part.ids, flags)
        seen[part.ids] = 1

    def add_output(self, output: Tensor, view: Layout) -> None:
        """Add the output of one call of a smooth activation."""
        self._sums.add_output(output, view)

    def expect_gradient(self, pre_activation: Tensor, view: Layout, activation: Activation) -> GradientCatcher:
        """The hook to register for the gradient of this call's output."""
        return GradientCatcher(self, view, region_codes(pre_activation, view, activation))

    def add_gradient(self, gradient: GradientStatistics) -> None:
        """Take in the gradient of one call, of which no sample is counted yet."""
        self._gradient = gradient if self._gradient is None else self._gradient.merge(gradient)

    def end_batch(self, index: int, gradient_scale: float, samples: int) -> None:
        """Add the current batch to the statistics.

        Args:
            index: of the batch.
            gradient_scale: the factor from the gradient of the batch's loss to that of one sample's loss.
            samples: of the batch, for the gradient.
        """
        if not self._calls_now:
            return
        if self._picked is not None:
            fired, seen = self._picked
            whole = self._fired.pop(len(seen), None)
            self._sums.count(fired[seen > 0] if whole is None else fired | whole, index)
        for flags in self._fired.values():
            self._sums.count(flags, index)
        if self._gradient is not None:
            absolute, squares = self._gradient.absolute_sums, self._gradient.squares
            finished = GradientStatistics(
                samples, absolute * gradient_scale, squares * gradient_scale**2, self._gradient.nonfinite
            )
            self._gradients = finished if self._gradients is None else self._gradients.merge(finished)
        self._calls = max(self._calls, self._calls_now)
        self._start()

    def site(self) -> Site:
        """The statistics so far, as plain data."""
        a, view = self._activation, self._view
        return Site(
            name=self.name,
            **a.of_units(self.units),
            negative_slope=np.broadcast_to(np.asarray(a.negative_slope, np.float64), (self.units,)).copy(),
            statistics=replace(self._sums.statistics(), gradient=self._gradients),
            calls=self._calls,
            is_output=self.is_output,
            bypassed=self.is_avoidable,
            unit_dim=view.unit_dim,
            sample_dim=view.sample_dim,
            shape=self._shape,
            source=self._source,
            producers=tuple(self.producers.values()),
            directions=self._directions.directions(),
        )


class GradientCatcher:
    """Hook that receives the gradient of one call of a site."""

    def __init__(self, accumulator: SiteAccumulator, view: Layout, codes: Tensor) -> None:
        self._accumulator = accumulator
        self._view = view
        self._codes = codes

    def __call__(self, gradient: Tensor) -> None:
        with torch.no_grad():
            self._accumulator.add_gradient(gradient_sums(gradient, self._view, self._codes))

"""What one site has shown so far: statistics over finished batches, and the batch that is running.

Several calls of a site within one batch see the same samples (a siamese tower, an RNN cell over time): a sample counts
once, and as firing if any of the calls fired on it. That is why a batch is counted only when it ends.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from leaky.observation.reduction import (
    gradient_sums,
    output_sums,
    pre_activation_statistics,
    region_codes,
)
from leaky.record import FloatArray, GradientStatistics, Producer, Site, UnitStatistics
from leaky.structure.activations import Activation
from leaky.structure.axes import Layout


class SiteAccumulator:
    """Gathers the calls of one site.

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
        self._activation = activation
        self._view = view
        self._shape = shape
        self._source = source
        self.producers: dict[str, Producer] = {}
        self._statistics = UnitStatistics.empty(view.units)
        self._calls = 1
        self._start()

    def _start(self) -> None:
        self._running = UnitStatistics.empty(self.units)
        self._fired: dict[int, Tensor] = {}
        self._gradient: tuple[FloatArray, FloatArray] | None = None
        self._calls_now = 0

    def add(self, pre_activation: Tensor, view: Layout, activation: Activation) -> None:
        """Take in the pre-activation of one call, before the site runs."""
        statistics, fired = pre_activation_statistics(pre_activation, view, activation)
        self._running = self._running.merge(statistics)
        before = self._fired.get(view.samples)
        self._fired[view.samples] = fired if before is None else before | fired
        self._calls_now += 1

    def add_output(self, output: Tensor, view: Layout) -> None:
        """Take in the output of a call of a smooth activation."""
        sums, absolute, squares = output_sums(output, view)
        empty = UnitStatistics.empty(self.units)
        self._running = self._running.merge(
            replace(empty, output_sums=sums, output_absolute_sums=absolute, output_squares=squares)
        )

    def expect_gradient(self, pre_activation: Tensor, view: Layout, activation: Activation) -> GradientCatcher:
        """What to call with the gradient at the output of this call, once it is there."""
        return GradientCatcher(self, view, region_codes(pre_activation, view, activation))

    def add_gradient(self, absolute: FloatArray, squares: FloatArray) -> None:
        """Take in the gradient of one call."""
        before = self._gradient or (np.zeros((4, self.units)), np.zeros((4, self.units)))
        self._gradient = (before[0] + absolute, before[1] + squares)

    def end_batch(self, index: int, gradient_scale: float, samples: int) -> None:
        """Count the batch.

        Args:
            index: of the batch.
            gradient_scale: the factor from the gradient of the batch's loss to that of one sample's loss.
            samples: of the batch, for the gradient.
        """
        if not self._calls_now:
            return
        finished = self._running
        for count, mask in self._fired.items():
            fired = mask.sum(dim=0).numpy()
            last = np.where(fired > 0, index, -1)
            finished = finished.merge(
                replace(UnitStatistics.empty(self.units), samples=count, fired=fired, last_fired=last)
            )
        if self._gradient is not None:
            absolute, squares = self._gradient
            finished = replace(
                finished,
                gradient=GradientStatistics(samples, absolute * gradient_scale, squares * gradient_scale**2),
            )
        self._statistics = self._statistics.merge(finished)
        self._calls = max(self._calls, self._calls_now)
        self._start()

    def site(self) -> Site:
        """Everything so far, as plain data."""
        a, view = self._activation, self._view
        return Site(
            name=self.name,
            activation=a.name,
            negative_slope=np.broadcast_to(np.asarray(a.negative_slope, np.float64), (self.units,)).copy(),
            statistics=self._statistics,
            threshold=a.threshold,
            value=a.value,
            gain=a.gain,
            floor=None if a.floor is None else np.broadcast_to(a.floor, (self.units,)).astype(np.float64),
            cap=None if a.cap is None else np.full(self.units, a.cap),
            smooth=a.smooth,
            calls=self._calls,
            is_output=self.is_output,
            unit_dim=view.unit_dim,
            sample_dim=view.sample_dim,
            shape=self._shape,
            source=self._source,
            producers=tuple(self.producers.values()),
        )


class GradientCatcher:
    """Waits for the gradient of one call of a site."""

    def __init__(self, accumulator: SiteAccumulator, view: Layout, codes: Tensor) -> None:
        self._accumulator = accumulator
        self._view = view
        self._codes = codes

    def __call__(self, gradient: Tensor) -> None:
        with torch.no_grad():
            self._accumulator.add_gradient(*gradient_sums(gradient, self._view, self._codes))

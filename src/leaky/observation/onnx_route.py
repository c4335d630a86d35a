"""An ONNX model and its data in, a Record out.

Every pre-activation is fetched from the running model and counted at once. A batch is run in parts of few samples, and
the model in as many stages, that what is fetched together stays small whatever the batch.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import leaky
from leaky.observation.accumulator import SiteAccumulator
from leaky.observation.collector import describe
from leaky.observation.onnx_ends import OnnxEnds
from leaky.observation.onnx_inputs import Feed
from leaky.observation.onnx_reader import OnnxReader, RunSettings, tensor
from leaky.observation.onnx_sessions import VERSIONS, seed_operators
from leaky.observation.options import Options
from leaky.observation.reduction import as_units
from leaky.record import Producer, Record
from leaky.structure.axes import Layout
from leaky.structure.onnx.model import Array, OnnxModel
from leaky.structure.onnx.reading import load
from leaky.structure.onnx.trace import SiteView


def observe_onnx(model: str | os.PathLike[str] | bytes, data: Any, options: Options) -> Record:
    """Run an ONNX model over data and record what each unit of each site saw; see `leaky.observe`.

    Args:
        model: path of a file, or its contents.
        data: an array of shape (samples, …) or arrays by input, cut into batches; or an iterable of batches.
        options: how to observe; the seed is that of the model's own random operators.

    Raises:
        InputError: if the model or the data are not what they must be.
    """
    notes: dict[str, None] = {}
    if options.seed is not None:
        seed_operators(options.seed)
    with tempfile.TemporaryDirectory(prefix="leaky-", ignore_cleanup_errors=True) as scratch:
        loaded = load(model, Path(scratch))
        reader = OnnxReader(loaded, options.unit_dim, notes)
        first, opened = reader.inputs.opened(data)
        plan = reader.plan(first, options.assumed_dim, options.dim_given)
        observation = _Observation(loaded, reader, plan)
        for feed in reader.inputs.feeds(opened, plan.sample_dim, options.batch_size, options.max_samples):
            observation.take(feed)
            if options.progress is not None:
                options.progress(observation.samples)
    return replace(observation.record(notes), seed=options.seed)


class _Observation:
    """Gathers what the sites of one model show, batch by batch."""

    def __init__(self, model: OnnxModel, reader: OnnxReader, plan: RunSettings) -> None:
        self.samples = self.batches = 0
        self._model = model
        self._reader = reader
        self._plan = plan
        self._sites: dict[str, SiteAccumulator] = {}
        self._ends = OnnxEnds(model, plan.sample_dim)

    def take(self, feed: Feed) -> None:
        """Run the model on one batch and count it."""
        rows = self._plan.rows(feed)
        for start in range(0, feed.samples, rows):
            self._take(feed.rows(start, start + rows))
        for accumulator in self._sites.values():  # those without a sample axis: the whole batch is their one sample
            accumulator.end_batch(self.batches, 1.0, 1)
        self.samples += feed.samples
        self.batches += 1

    def _take(self, part: Feed) -> None:
        """Run the model on some samples, filled up to as many as it insists on."""
        fed = part if self._plan.fixed is None else part.padded(self._plan.fixed)
        views = self._reader.views(fed)
        for group, values in zip(self._plan.groups, self._plan.pipeline.run(fed.arrays), strict=True):
            for name in group:
                if name in views:
                    self._add(name, views[name], values, part.samples)
            if not group:
                self._ends.add(part, values, fed.samples)
            values.clear()  # before the next stage runs

    def _add(self, name: str, view: SiteView, values: Mapping[str, Array], samples: int) -> None:
        """Count the first samples of a run at one site."""
        site, layout = self._reader.sites[name], view.layout
        accumulator = self._accumulator(name, view, values[site.pre_activation].shape)
        if accumulator is None:
            return
        pre_activation, kept = _first(tensor(values[site.pre_activation]), layout, samples)
        accumulator.add(pre_activation, kept, self.batches)
        if view.activation.smooth:
            accumulator.add_output(_first(tensor(values[site.output]), layout, samples)[0], kept)
        if layout.sample_dim is not None:
            accumulator.end_batch(self.batches, 1.0, samples)

    def _accumulator(self, name: str, view: SiteView, shape: tuple[int, ...]) -> SiteAccumulator | None:
        known = self._sites.get(name)
        if known is None:
            known = SiteAccumulator(name, view.activation, view.layout, shape, None)
            known.is_output = self._reader.sites[name].is_output
            known.is_avoidable = None
            known.producers.update(self._producers(view))
            self._sites[name] = known
        if known.units == view.layout.units:
            return known
        reason = f"it had {known.units} units on its first call and {view.layout.units} on a later one"
        self._reader.leave_out(name, f"some of its calls were left out: {reason}")
        return None

    def _producers(self, view: SiteView) -> Iterator[tuple[str, Producer]]:
        for production in view.productions:
            name = production.weight
            if name in self._model.weights:
                described = describe(production, tensor(self._model.weight(name)))
                if described is not None:
                    yield name, described

    def record(self, notes: Mapping[str, None]) -> Record:
        """What was seen."""
        # A node runs once a pass; where a batch was run in parts, they are no calls of their own.
        sites = tuple(replace(self._sites[name].site(), calls=1) for name in self._reader.sites if name in self._sites)
        return Record(
            model=self._model.name,
            data=f"{self.samples:,} sample{'' if self.samples == 1 else 's'}",
            mode="eval",
            samples=self.samples,
            batches=self.batches,
            sites=sites,
            not_examined=self._reader.not_examined,
            notes=tuple(notes),
            inputs=self._ends.inputs,
            outputs=self._ends.outputs,
            versions={
                "leaky": leaky.__version__,
                **VERSIONS,
                "torch": torch.__version__,
                "numpy": np.__version__,
            },
        )


def _first(value: torch.Tensor, layout: Layout, samples: int) -> tuple[torch.Tensor, Layout]:
    """The first samples of a value, without those that only filled up a batch."""
    if layout.sample_dim is None or layout.samples <= samples:
        return value, layout
    kept = as_units(value, layout)[:samples]
    shape = (samples, layout.units, layout.positions)
    return kept, replace(layout, shape=shape, order=(0, 1, 2), samples=samples)

"""How to look at an ONNX model: its sites, which axes of them are samples and units, and how much of it to run at once.

All of it is found out before the observation starts, from the graph and from a run of very few samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from leaky.errors import InputError
from leaky.observation.onnx_ends import outputs_of
from leaky.observation.onnx_inputs import EMPTY, Feed, OnnxInputs
from leaky.observation.onnx_sessions import Pipeline, ShapeReader, constant_values
from leaky.observation.reduction import as_units
from leaky.record import NotExamined
from leaky.structure.onnx.activations import OnnxSite, arrays_of, hidden, numbers_of, sites_of
from leaky.structure.onnx.model import Array, OnnxModel
from leaky.structure.onnx.trace import OnnxTracer, SiteView

Views: TypeAlias = dict[str, SiteView]
Key: TypeAlias = tuple[tuple[int, ...], ...]

BUDGET = 2 << 20
"""Bytes of pre-activations that are fetched together, as far as a single one allows."""
_RETRIES = 2


@dataclass(frozen=True, eq=False)
class RunSettings:
    """How the model is run.

    Attributes:
        sample_dim: axis of the samples; None where each batch is one sample.
        fixed: the samples that the model insists on running together; None where any number will do.
        growth: bytes that are fetched for a byte of input.
        mixes: whether the samples of a batch influence one another, so that a batch must be run whole.
        groups: the sites whose values are fetched together; the last has none, with which the outputs are.
        pipeline: that fetches them.
    """

    sample_dim: int | None
    fixed: int | None
    growth: float
    mixes: bool
    groups: list[list[str]]
    pipeline: Pipeline

    def rows(self, feed: Feed) -> int:
        """The samples to run together."""
        if self.fixed is not None:
            return self.fixed
        if self.mixes:
            return feed.samples
        return max(1, int(BUDGET / max(1.0, self.growth * _size(feed) / feed.samples)))


def _size(feed: Feed) -> int:
    return sum(array.nbytes for array in feed.arrays.values())


class OnnxReader:
    """Looks at one model.

    Args:
        model: the model.
        unit_dim: axis of every pre-activation that holds the units, where the user knows better.
        notes: gets remarks for the reader of the record.
    """

    def __init__(self, model: OnnxModel, unit_dim: int | None, notes: dict[str, None]) -> None:
        if not model.inputs:
            raise InputError("the ONNX model must have an input, and it has none")
        values = constant_values(model)
        numbers = numbers_of(values)
        self.inputs = OnnxInputs(model.inputs, notes)
        self.sites = {site.name: site for site in sites_of(model, numbers, arrays_of(values))}
        self._hidden = hidden(model, numbers)
        self._unseen: dict[str, NotExamined] = {}
        self._model = model
        self._notes = notes
        self._tracer = OnnxTracer(model, values, unit_dim)
        self._shapes = ShapeReader(model)
        self._views: dict[Key, Views] = {}
        self._alike: dict[Key, Views] = {}

    @property
    def not_examined(self) -> tuple[NotExamined, ...]:
        """What cannot be looked at, and why."""
        return (*self._hidden, *self._unseen.values())

    def leave_out(self, name: str, reason: str) -> None:
        """Note that a site, or some of it, cannot be looked at."""
        self._unseen[name] = NotExamined(name, reason)

    def views(self, feed: Feed) -> Views:
        """How to look at each site for inputs of these shapes."""
        key = _key(feed)
        if key not in self._views:
            one = _key(feed.rows(0, 1))
            self._views[key] = self._resampled(one, feed.samples) or self._traced(feed)
            self._alike.setdefault(one, self._views[key])
        return self._views[key]

    def _traced(self, feed: Feed) -> Views:
        nodes, _ = self._tracer.trace(self._shapes.of(feed.arrays), feed.dims)
        found = {name: self._tracer.view(site, nodes) for name, site in self.sites.items()}
        self._unseen |= {name: view for name, view in found.items() if isinstance(view, NotExamined)}
        return {name: view for name, view in found.items() if isinstance(view, SiteView)}

    def _resampled(self, one: Key, samples: int) -> Views | None:
        """The views that are known for another number of samples alike; None where the number changes more."""
        found: Views = {}
        for name, view in self._alike.get(one, {}).items():
            layout = view.layout.resampled(samples)
            if layout is None:
                return None
            found[name] = replace(view, layout=layout)
        return found or None

    def plan(self, first: Any, sample_dim: int | None, given: bool) -> RunSettings:
        """Find out how to run the model.

        Args:
            first: the first batch, or all data where they are one array.
            sample_dim: axis of the samples, as the user says or as it is by default.
            given: whether the user said so.
        """
        sample_dim = sample_dim if given else self._sample_axis(first, sample_dim)
        few = self._few(first, sample_dim)
        views = self.views(few)
        fetched = {name: _fetched(self.sites[name], view) for name, view in views.items()}
        shapes = self._shapes.of(few.arrays)
        sizes = {value: _bytes(self._model, value, shapes[value]) for name in views for value in fetched[name]}
        fixed = self.inputs.fixed(sample_dim)
        growth = sum(sizes.values()) / max(1, _size(few))
        together = fixed or max(1, BUDGET * few.samples // max(1, sum(sizes.values())))
        made = {name: max(self._model.producers.get(value, -1) for value in fetched[name]) for name in views}
        costs = {name: sum(sizes[value] for value in fetched[name]) * together // few.samples for name in views}
        groups = list(_grouped(sorted(views, key=made.__getitem__), costs))
        wanted = [list(dict.fromkeys(value for name in group for value in fetched[name])) for group in groups]
        groups.append([])  # no site: the outputs
        wanted.append(outputs_of(self._model))
        pipeline = Pipeline(self._model, wanted)
        mixes = few.samples > 1 and self._mixes(few, groups, pipeline)
        if mixes:
            cut = "" if fixed is None else f", which takes {fixed} at a time; a shorter batch was filled up to that"
            self._notes.setdefault(f"the samples of a batch influence one another in this model{cut}")
        return RunSettings(sample_dim, fixed, growth, mixes, groups, pipeline)

    def _sample_axis(self, first: Any, assumed: int | None) -> int | None:
        """The axis of the samples: the assumed one, unless an operator says otherwise."""
        for _ in range(_RETRIES):
            few = self._few(first, assumed)
            _, evidence = self._tracer.trace(self._shapes.of(few.arrays), few.dims)
            if evidence is None or evidence.sample_dim == assumed:
                break
            self._notes.setdefault(evidence.note)
            assumed = evidence.sample_dim
        return assumed

    def _few(self, first: Any, sample_dim: int | None) -> Feed:
        """The first two samples, or as many as the model insists on."""
        feed = self.inputs.feed(first, sample_dim)
        if not feed.samples:
            raise InputError(EMPTY)
        fixed = self.inputs.fixed(sample_dim)
        few = self.inputs.converted(feed.rows(0, fixed or 2))
        return few if fixed is None else few.padded(fixed)

    def _mixes(self, few: Feed, groups: Sequence[Sequence[str]], pipeline: Pipeline) -> bool:
        """Whether a sample's pre-activations change with the other samples of its batch."""
        half = (few.samples + 1) // 2
        before = self._sums(few, groups, pipeline)
        after = self._sums(few.replaced_after(half), groups, pipeline)
        return not all(_alike(before[name][:half], after[name][:half]) for name in before)

    def _sums(self, feed: Feed, groups: Sequence[Sequence[str]], pipeline: Pipeline) -> dict[str, Tensor]:
        """Σz of each sample and unit, at the sites whose samples can be told apart."""
        views, found = self.views(feed), {}
        for group, values in zip(groups, pipeline.run(feed.arrays), strict=True):
            for name in group:
                layout = views[name].layout
                if layout.sample_dim is not None:
                    z = tensor(values[self.sites[name].pre_activation])
                    found[name] = as_units(z, layout).sum(dim=2, dtype=torch.float64)
            values.clear()
        return found


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two sums are the same up to rounding."""
    size = float(one.nan_to_num(0.0, 0.0, 0.0).abs().amax()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4 * size, equal_nan=True)


def _key(feed: Feed) -> Key:
    return tuple(array.shape for array in feed.arrays.values())


def tensor(array: Array) -> Tensor:
    """The array as a tensor, without a copy where it may be written to."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _fetched(site: OnnxSite, view: SiteView) -> list[str]:
    """The values that a site needs: its pre-activation, and of a smooth one the output too."""
    return [site.pre_activation, site.output] if view.activation.smooth else [site.pre_activation]


def _bytes(model: OnnxModel, name: str, shape: tuple[int, ...]) -> int:
    size = {10: 2, 11: 8, 16: 2}.get(model.types.get(name, 1), 4)  # ONNX's numbers for float16, float64, bfloat16
    return size * int(torch.Size(shape).numel())


def _grouped(names: Sequence[str], costs: dict[str, int]) -> Iterator[list[str]]:
    """Names in order, together as long as their bytes stay within the budget."""
    group: list[str] = []
    for name in names:
        if group and sum(costs[other] for other in group) + costs[name] > BUDGET:
            yield group
            group = []
        group.append(name)
    if group:
        yield group

"""Which of the batch's samples each entry of a sample axis is, where it is cut, picked from, repeated or put together.

An axis of samples that nobody touched holds each sample once, in order. A slice holds some of them, an index may hold
one of them many times (the edges of a graph), a loop over samples one at a time, and `stack` or `cat` puts them
together again. Followed by value: the key of a sample factor stands for an array of sample numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leaky.structure.axes import Axes, Axis, factor, has, replaced
from leaky.structure.graph import Call, Node

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Sampled:
    """Of one result: its axes, and the one sample that it belongs to where the sample axis was taken off."""

    axes: Axes
    sample: int | None = None


class SampleIds:
    """The sample numbers of one pass, by the key of the sample factor; a key that is not there holds all, in order."""

    def __init__(self) -> None:
        self._ids: dict[int, Ids] = {}

    def clear(self) -> None:
        """Forget the pass."""
        self._ids.clear()

    def of(self, axis: Axis) -> Ids | None:
        """The samples along an axis; None where it has no sample factor of its own or holds them all in order."""
        keys = [f.key for f in axis if f.role == "sample"]
        return self._ids.get(keys[0]) if len(keys) == 1 else None

    def follow(self, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled]:
        """The results of an operation with the samples that they hold.

        Args:
            call: the operation.
            values: its positional arguments with their tensors, for indices.
            results: the axes of each result.
        """
        rule = _RULES.get(call.name)
        if rule is not None:
            try:
                followed = rule(self, call, values, results)
            except (IndexError, TypeError, ValueError, RuntimeError):
                followed = None
            if followed is not None:
                return followed
        alone = {node.sample for node in call.nodes if node.from_data}
        sample = next(iter(alone)) if len(alone) == 1 else None
        return [Sampled(axes, sample) for axes in results]

    def _kept(self, axis: Axis, chosen: Callable[[Ids], Ids]) -> Axis | None:
        """A sample axis of which some entries were chosen; None where the axis holds more than samples.

        Where a sample has several entries along the axis (positions folded into it), each keeps its sample.
        """
        samples = [f for f in axis if f.role == "sample"]
        if len(samples) != 1 or any(f.role == "unit" for f in axis):
            return None
        inside = int(np.prod([f.size for f in axis[axis.index(samples[0]) + 1 :]], initial=1))
        outside = int(np.prod([f.size for f in axis[: axis.index(samples[0])]], initial=1))
        own = self._ids.get(samples[0].key, np.arange(samples[0].size))
        if len(own) != samples[0].size:
            return None
        kept = chosen(np.tile(np.repeat(own, inside), outside))
        return self.axis(kept)

    def picked(self, axis: Axis, entries: Ids) -> Axis | None:
        """The axis with these of its entries alone; None where it holds no samples or more than those."""
        return self._kept(axis, lambda own: own[entries])

    def axis(self, ids: Ids) -> Axis:
        """A fresh sample axis that holds these samples."""
        made = factor(len(ids), "sample")
        self._ids[made.key] = ids
        return (made,)


Rule = Callable[[SampleIds, Call, Sequence[Any], list[Axes]], "list[Sampled] | None"]


def _cut(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """slice, narrow, split, chunk: parts of the axis, one after another."""
    node: Node = call.args[0]
    dims = [d for d, size in enumerate(call.shapes[0]) if size != node.shape[d]]
    if len({*dims}) != 1 or not has(node.axes[dims[0]], "sample"):
        return None
    dim, cut, start = dims[0], [], 0
    step = int(call.get("step", 1)) if call.name == "slice" else 1
    if call.name in ("slice", "narrow"):
        start = int(call.get("start", 0) or 0)
        start += node.shape[dim] if start < 0 else 0
    for axes, shape in zip(results, call.shapes, strict=True):
        picked = np.arange(start, start + step * shape[dim], step)
        axis = ids._kept(node.axes[dim], lambda own, p=picked: own[p])  # type: ignore[misc]
        cut.append(Sampled(axes if axis is None else replaced(axes, dim, axis), node.sample))
        start += shape[dim]
    return cut


def _take_off(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """select, unbind: one sample at a time, without its axis."""
    node: Node = call.args[0]
    dim = int(call.get("dim", 0)) % len(node.axes)
    axis = node.axes[dim]
    if len(axis) != 1 or axis[0].role != "sample":
        return None
    own = ids._ids.get(axis[0].key, np.arange(axis[0].size))
    first = int(call.get("index")) if call.name == "select" else 0
    return [Sampled(axes, int(own[first + i])) for i, axes in enumerate(results)]


def _picked(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """index_select, x[i], x[mask]: entries picked by number, repeats included."""
    node: Node = call.args[0]
    if call.name == "index_select":
        dim, index = int(call.get("dim")) % len(node.axes), values[2]
    else:
        given = [(d, index) for d, index in enumerate(values[1]) if index is not None]
        if len(given) != 1:
            return None
        dim, index = given[0]
    if not isinstance(index, Tensor) or index.ndim != 1 or not has(node.axes[dim], "sample"):
        return None
    numbers = index.detach().cpu().numpy()
    axis = ids._kept(node.axes[dim], lambda own: own[numbers])
    shape = call.shapes[0]
    if axis is None or len(shape) != len(node.shape) or shape[dim] != axis[0].size:
        return None
    others = (*node.axes[:dim], axis, *node.axes[dim + 1 :])
    return [Sampled(others, node.sample)]


def _joined(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """Cat along the axis of the samples."""
    nodes = [node for node in call.args[0] if len(node.shape) == len(call.shapes[0])]
    dim = int(call.get("dim", 0)) % len(call.shapes[0])
    if len(nodes) < 2 or not all(has(node.axes[dim], "sample") and node.from_data for node in nodes):
        return None
    parts = []
    for node in nodes:
        axis = ids._kept(node.axes[dim], lambda own: own)
        if axis is None:
            return None
        parts.append(ids._ids[axis[0].key])
    return [Sampled(replaced(results[0], dim, ids.axis(np.concatenate(parts))))]


def _stacked(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """Stack of single samples: their axis comes back."""
    nodes = list(call.args[0])
    dim = int(call.get("dim", 0)) % len(call.shapes[0])
    samples = [node.sample for node in nodes]
    if any(sample is None for sample in samples) or (len(nodes) > 1 and len(set(samples)) == 1):
        return None
    return [Sampled(replaced(results[0], dim, ids.axis(np.asarray(samples, np.int64))))]


def _nested(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """A nested tensor of single samples: its first axis is theirs."""
    return [Sampled(replaced(results[0], 0, ids.axis(_each(call.args[0]))))]


def _each(nodes: Sequence[Node]) -> Ids:
    samples = [node.sample for node in nodes]
    if any(sample is None for sample in samples):
        raise ValueError("not one sample each")
    return np.asarray(samples, np.int64)


def _packed(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """A packed sequence: for each time step the samples that are as long, the longest first."""
    node: Node = call.args[0]
    first, lengths = bool(call.args[2]), values[1]
    axis = node.axes[0 if first else 1]
    own = ids._kept(axis, lambda own: own)
    if own is None:
        return None
    numbers, long = ids._ids[own[0].key], np.asarray(lengths)
    rows = np.concatenate([numbers[: int((long > t).sum())] for t in range(int(long.max()))])
    return [Sampled((ids.axis(rows), *results[0][1:])), *(Sampled(axes) for axes in results[1:])]


def _single(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """Unsqueeze of one sample stays one sample; cat of such along that axis is handled as a stack."""
    node: Node = call.args[0]
    if node.sample is None:
        return None
    dim = int(call.get("dim")) % len(call.shapes[0])
    return [Sampled(replaced(results[0], dim, ids.axis(np.asarray([node.sample], np.int64))))]


def _repeated(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """Repeat along the axis of the samples."""
    node: Node = call.args[0]
    shape, ahead = call.shapes[0], len(call.shapes[0]) - len(node.shape)
    axes = results[0]
    for dim, axis in enumerate(node.axes):
        if has(axis, "sample"):
            times = shape[dim + ahead] // max(1, node.shape[dim])
            made = ids._kept(axis, lambda own, t=times: np.tile(own, t))  # type: ignore[misc]
            if made is None or times < 2:
                return None
            axes = replaced(axes, dim + ahead, made)
    return [Sampled(axes, node.sample)]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("slice", "narrow", "split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk"), _cut),
    **dict.fromkeys(("select", "unbind"), _take_off),
    **dict.fromkeys(("index_select", "index"), _picked),
    "cat": _joined,
    "stack": _stacked,
    "_nested_tensor_from_tensor_list": _nested,
    "_pack_padded_sequence": _packed,
    "unsqueeze": _single,
    "repeat": _repeated,
}

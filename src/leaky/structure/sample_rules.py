"""What operators do to the axis of samples: cut, picked from, taken off, put together, packed.

A rule says of each result which samples its axis holds; an operator without one keeps what the axes tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leaky.structure.axes import Axes, Axis, has, replaced, reshape
from leaky.structure.graph import Call, Node
from leaky.structure.operators import operator_named
from leaky.structure.samples import Ids, Positions, Sampled, SampleIds


def samples_of(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled]:
    """The results of an operation with the samples that they hold.

    Args:
        ids: what is known of the samples of the pass.
        call: the operation.
        values: its positional arguments with their tensors, for indices.
        results: the axes of each result.
    """
    rule = RULES.get(operator_named(call.name).samples)
    if rule is not None:
        try:
            followed = rule(ids, call, values, results)
        except (IndexError, TypeError, ValueError, RuntimeError):
            followed = None
        if followed is not None:
            return followed
    alone = {node.sample for node in call.nodes if node.from_data}
    sample = next(iter(alone)) if len(alone) == 1 else None
    return [Sampled(axes, sample) for axes in results]


SampleRule = Callable[[SampleIds, Call, Sequence[Any], list[Axes]], "list[Sampled] | None"]


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
        axis = ids.kept(node.axes[dim], picked)
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
    own = ids.numbers(axis)
    first = int(call.get("index")) if call.name == "select" else 0
    return [Sampled(axes, int(own[first + i])) for i, axes in enumerate(results)]


def _picked(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """index_select, x[i], x[mask], x[i, t]: entries picked by number, repeats included."""
    node: Node = call.args[0]
    if call.name == "index_select":
        given = [(int(call.get("dim")) % len(node.axes), values[2])]
    else:
        given = _numbers_along(values[1])
    (dim, first), *more = given
    if not more and isinstance(first, Tensor) and first.ndim > 1 and not first.is_floating_point():
        return _picked_in_a_block(ids, node, dim, first)
    if not all(isinstance(index, Tensor) and index.ndim == 1 for _, index in given):
        return None
    numbers = first.detach().cpu().numpy()
    shape, axes = call.shapes[0], node.axes
    if len(more) == 1 and more[0][0] == dim + 1:
        axis = _both(ids, axes[dim], axes[dim + 1], numbers, more[0][1].detach().cpu().numpy())
    else:
        axis = ids.kept(axes[dim], numbers) if not more and has(axes[dim], "sample") else None
    if axis is None or len(shape) != len(node.shape) - len(more) or shape[dim] != axis[0].size:
        return None
    return [Sampled((*axes[:dim], axis, *axes[dim + 1 + len(more) :]), node.sample)]


def _picked_in_a_block(ids: SampleIds, node: Node, dim: int, index: Tensor) -> list[Sampled] | None:
    """x[i] with numbers of several axes: the samples that each expert takes, the neighbours of each node."""
    axis = ids.kept(node.axes[dim], index.detach().cpu().numpy().reshape(-1)) if has(node.axes[dim], "sample") else None
    if axis is None:
        return None
    block = ids.parted(reshape((axis,), tuple(index.shape)))
    return [Sampled((*node.axes[:dim], *block, *node.axes[dim + 1 :]), node.sample)]


def _parted(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """view, reshape: rows that were put together are parted."""
    node = call.args[0]
    return [Sampled(ids.parted(axes), node.sample) for axes in results]


def _chosen(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """A product with a matrix of data that has one entry a row at most: each row is that sample, or of none."""
    operands = operator_named(call.name).operands
    assert operands is not None
    names = {name: place for place, name in enumerate(call.names)}
    left, right = call.get(operands[1]), call.get(operands[2])
    matrix = values[names[operands[1]]]
    plain = all(isinstance(node, Node) and node.from_data and len(node.shape) > 1 for node in (left, right))
    if not plain or matrix.numel() != math.prod(matrix.shape[-2:]) or has(left.axes[-2], "sample"):
        return None
    axis = right.axes[-2]
    own = ids.kept(axis, np.arange(right.shape[-2])) if has(axis, "sample") else None
    entries = matrix.detach().reshape(matrix.shape[-2:]) != 0
    if own is None or not entries.numel() or int(entries.sum(1).max()) > 1:
        return None
    taken, column = entries.any(1).cpu().numpy(), entries.to(torch.uint8).argmax(1).cpu().numpy()
    made = ids.axis(np.where(taken, ids.numbers(own)[column], -1))
    return [Sampled((*results[0][:-2], made, right.axes[-1]))]


def _numbers_along(indices: Sequence[Any]) -> list[tuple[int, Any]]:
    """The axes that are indexed, each with its numbers; a mask over several stands for numbers along each of them."""
    found: list[tuple[int, Any]] = []
    dim = 0
    for index in indices:
        if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8):
            found += [(dim + d, numbers) for d, numbers in enumerate(index.nonzero(as_tuple=True))]
            dim += index.ndim
            continue
        if index is not None:
            found.append((dim, index))
        dim += 1
    return found


def _both(ids: SampleIds, first: Axis, second: Axis, rows: Ids, columns: Ids) -> Axis | None:
    """Entries picked by the numbers of sample and position, whichever comes first; a mask comes as such numbers."""
    samples, positions, order = (first, second, True) if has(first, "sample") else (second, first, False)
    if (
        len(samples) != 1
        or samples[0].role != "sample"
        or len(positions) > 1
        or any(f.role != "other" for f in positions)
    ):
        return None
    chosen, places = (rows, columns) if order else (columns, rows)
    own = ids.numbers(samples)
    return ids.axis(own[chosen], Positions(positions[0].key, places) if positions else None)


def _joined(ids: SampleIds, call: Call, values: Sequence[Any], results: list[Axes]) -> list[Sampled] | None:
    """Cat along the axis of the samples, or of single samples along their positions."""
    nodes = [node for node in call.args[0] if len(node.shape) == len(call.shapes[0])]
    dim = int(call.get("dim", 0)) % len(call.shapes[0])
    single = [
        node.sample for node in nodes if node.sample is not None and not {*_roles(node, dim)} & {"sample", "unit"}
    ]
    if 1 < len({*single}) == len(nodes) and len(call.shapes[0]) > 1:
        rows = np.repeat(np.asarray(single, np.int64), [node.shape[dim] for node in nodes])
        return [Sampled(replaced(results[0], dim, ids.axis(rows)))]
    if len(nodes) < 2 or not all(has(node.axes[dim], "sample") and node.from_data for node in nodes):
        return None
    parts, places = [], []
    for node in nodes:
        axis = ids.kept(node.axes[dim], np.arange(node.shape[dim]))
        if axis is None:
            return None
        parts.append(ids.numbers(axis))
        places.append(ids.places_of(axis))
    known = [place for place in places if place is not None]
    one = len(known) == len(places) and len({place.key for place in known}) == 1
    joined = Positions(known[0].key, np.concatenate([place.numbers for place in known])) if one else None
    return [Sampled(replaced(results[0], dim, ids.axis(np.concatenate(parts), joined)))]


def _roles(node: Node, dim: int) -> Iterator[str]:
    return (f.role for f in node.axes[dim])


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
    first, lengths = bool(call.get("batch_first")), values[1]
    axis = node.axes[0 if first else 1]
    own = ids.kept(axis, np.arange(node.shape[0 if first else 1]))
    if own is None:
        return None
    numbers, long = ids.numbers(own), np.asarray(lengths)
    counts = [int((long > t).sum()) for t in range(int(long.max()))]
    rows = np.concatenate([numbers[:count] for count in counts])
    steps = node.axes[1 if first else 0]
    places = Positions(steps[0].key, np.repeat(np.arange(len(counts)), counts)) if len(steps) == 1 else None
    return [Sampled((ids.axis(rows, places), *results[0][1:])), *(Sampled(axes) for axes in results[1:])]


def packed(ids: SampleIds, call: Call, values: Sequence[Any]) -> tuple[Axis, Tensor]:
    """The axis of time of a sequence that is packed, and which of its steps are real, of shape (samples, steps)."""
    node: Node = call.args[0]
    batch, time = (0, 1) if call.get("batch_first") else (1, 0)
    real = torch.arange(node.shape[time]) < torch.as_tensor(values[1]).reshape(-1, 1)
    numbers = ids.of(node.axes[batch])
    if numbers is None:
        return node.axes[time], real
    placed = torch.zeros(max(len(real), int(numbers.max()) + 1), real.shape[1], dtype=torch.bool)
    return node.axes[time], placed.index_copy(0, torch.from_numpy(numbers), real)


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
            made = ids.kept(axis, np.tile(np.arange(node.shape[dim]), times))
            if made is None or times < 2:
                return None
            axes = replaced(axes, dim + ahead, made)
    return [Sampled(axes, node.sample)]


RULES: dict[str, SampleRule] = {
    "cut": _cut,
    "taken_off": _take_off,
    "picked": _picked,
    "joined": _joined,
    "stacked": _stacked,
    "nested": _nested,
    "packed": _packed,
    "single": _single,
    "repeated": _repeated,
    "parted": _parted,
    "chosen": _chosen,
}
"""By the word that stands in the row of an operator."""

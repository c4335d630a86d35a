"""Which slice of a stacked parameter each entry of a value was made with: experts, ensembles, layers in one tensor.

`w[i]`, `w[ids]`, a grouped product and a batched one over routed samples use the matrices of a stack one by one, by
value. A unit is then a feature of one of them, and what the entries show belongs to the units of theirs. Followed from
the parameter to the site by the factors of the axes along which the slices differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from leaky.structure.axes import Axes, Factor, Layout, factor, layout
from leaky.structure.graph import Call, Members, Node
from leaky.structure.operators import operator_named
from leaky.structure.samples import Ids, Positions, SampleIds
from leaky.structure.tiling import tiled


@dataclass(frozen=True)
class Arrangement:
    """How to see a tensor as rows that each belong to one member, and what is left of it beside them.

    Attributes:
        shape: the tensor's shape with every axis split into its factors.
        order: a permutation of those: first the ones whose entries are the rows.
        rows: how many those are.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    rows: int

    def of(self, value: Tensor) -> Tensor:
        """The tensor so, of shape (rows, …)."""
        arranged = value.reshape(self.shape).permute(self.order)
        lead = next(n for n in range(len(self.order) + 1) if math.prod(arranged.shape[:n]) == self.rows)
        return arranged.reshape(self.rows, *arranged.shape[lead:])


@dataclass(frozen=True, eq=False)
class MemberCall:
    """The rows of one call of a site that one member made.

    Attributes:
        member: which.
        members: how many there are.
        rows: their numbers among the rows of the arrangement; None for all of the pre-activation as it is.
        layout: of those rows alone.
        ids: which of the batch's samples each of the layout's samples is; None for all of them in order.
        places: at which position each of the layout's samples stands, where that is known.
        arrangement: of the pre-activation as rows.
    """

    member: int
    members: int
    rows: Ids | None
    layout: Layout
    ids: Ids | None
    places: Positions | None = None
    arrangement: Arrangement | None = None


def members_of(
    call: Call, values: Sequence[Any], axes: Axes, shape: tuple[int, ...], samples: SampleIds, number: int
) -> Members | None:
    """The members of a result.

    Args:
        call: the operation.
        values: its positional arguments with their tensors.
        axes: of the result.
        shape: of the result.
        samples: what is known of the samples of the pass.
        number: which of the operation's results it is.
    """
    taken = _taken(call, values, axes, shape, number)
    if taken is not None:
        return taken
    stacks = [(node, node.members) for node in call.nodes if node.members is not None]
    if call.produced:
        return _produced(call, values, [(n, m) for n, m in stacks if m.is_weight], axes, shape)
    row = operator_named(call.name)
    if row.numbers == "takes" or not stacks:
        return tiled(call, values, axes, samples) if row.numbers in ("joins", "scales") else None
    node, first = next(((n, m) for n, m in stacks if not m.is_weight), stacks[0])
    if any(not _same(m, first) and not m.is_weight for _, m in stacks):
        return None  # what several members made is put together
    if (row.signal == "sum" or row.numbers == "places") and any(
        node.from_data and node.members is None and node.productions for node in call.nodes
    ):
        return None  # so is what was put together before: the sum over relations or offsets, one of them at a time
    if first.ids is None:
        return first
    elementwise = row.numbers in ("joins", "scales", "compares")
    return _here(first, axes) or (_rekeyed(first, node, axes) if elementwise else None)


def _same(one: Members, other: Members) -> bool:
    if one is other:
        return True
    if one.ids is None or other.ids is None:
        return one.ids is other.ids and one.member == other.member
    return one.source is other.source or np.array_equal(one.ids.reshape(-1), other.ids.reshape(-1))


def _flat(axes: Axes) -> list[Factor]:
    return [f for axis in axes for f in axis]


def _is(one: Factor, other: Factor) -> bool:
    return (one.key, one.size, one.step) == (other.key, other.size, other.step)


def _in(one: Factor, axis: Sequence[Factor]) -> bool:
    return any(_is(one, f) for f in axis)


def _here(members: Members, axes: Axes) -> Members | None:
    """The members along the factors that these axes have, some of them perhaps in parts; None where one is gone."""
    assert members.ids is not None
    present = _flat(axes)
    found: list[Factor] = []
    for wanted in members.factors:
        same = [f for f in present if _is(f, wanted)]
        inside = [
            f
            for f in present
            if f.key == wanted.key and wanted.step <= f.step < wanted.step * wanted.size and f.size < wanted.size
        ]
        parts = same[:1] or sorted(inside, key=lambda f: -f.step)
        if math.prod(f.size for f in parts) != wanted.size:
            return None
        found += parts
    if len({(f.key, f.step) for f in found}) != len(found):
        return None
    return replace(members, factors=tuple(found), ids=members.ids.reshape([f.size for f in found]))


def _rekeyed(members: Members, node: Node, axes: Axes) -> Members | None:
    """The members along the factors that stand in a result where those of an operand stood, axis by axis."""
    assert members.ids is not None
    found: list[Factor] = []
    left = list(members.factors)
    while left:
        back = next((len(node.axes) - d for d, axis in enumerate(node.axes) if _in(left[0], axis)), None)
        if back is None or back > len(axes):
            return None
        own, new = node.axes[-back], axes[-back]
        if _in(left[0], new):
            found.append(left.pop(0))
            continue
        gone = [f for f in own if f.size > 1 and not _in(f, new)]
        come = [f for f in new if f.size > 1 and not _in(f, own)]
        fits = math.prod(f.size for f in come) == math.prod(f.size for f in gone)
        if not fits or len(gone) > len(left) or not all(_is(f, g) for f, g in zip(gone, left, strict=False)):
            return None
        found += come
        left = left[len(gone) :]
    return replace(members, factors=tuple(found), ids=members.ids.reshape([f.size for f in found]))


def _of_axes(members: Members, ids: Ids, axes: Axes) -> Members | None:
    """Members by their numbers along whole axes."""
    factors = tuple(f for f in _flat(axes) if f.size > 1)
    if math.prod(f.size for f in factors) != ids.size:
        return None
    return replace(members, ids=ids.reshape([f.size for f in factors]), factors=factors, source=ids)


def _taken(call: Call, values: Sequence[Any], axes: Axes, shape: tuple[int, ...], number: int) -> Members | None:
    """A slice of a stack of matrices, by number, or one for each entry of some numbers."""
    node = call.args[0] if call.args else None
    if not isinstance(node, Node) or not node.is_stack:
        return None
    members = Members(node.weights[0], node.shape[0])
    if call.name == "unbind" and int(call.get("dim", 0)) % len(node.shape) == 0:
        return replace(members, member=number)
    if call.name == "select" and int(call.get("dim", 0)) % len(node.shape) == 0:
        return replace(members, member=int(call.get("index")) % node.shape[0])
    if call.name == "slice" and int(call.get("dim", 0) or 0) % len(node.shape) == 0 and shape[0] == 1 < node.shape[0]:
        return replace(members, member=int(call.get("start", 0) or 0) % node.shape[0])
    index = None
    if call.name == "index" and values[1] and all(other is None for other in values[1][1:]):
        index = values[1][0]
    elif call.name == "index_select" and int(call.get("dim")) % len(node.shape) == 0:
        index = values[2]
    if isinstance(index, Tensor) and index.ndim and index.dtype.is_signed and not index.dtype.is_floating_point:
        ids = index.detach().cpu().numpy().astype(np.int64) % node.shape[0]
        return _of_axes(members, ids, axes[: index.ndim])
    return None


def _produced(
    call: Call, values: Sequence[Any], stacks: list[tuple[Node, Members]], axes: Axes, shape: tuple[int, ...]
) -> Members | None:
    """The members of a product: those of its weight."""
    if stacks:
        ((node, first), *_) = stacks
        if first.ids is None:
            return replace(first, is_weight=False)
        made = _rekeyed(first, node, axes)
        return None if made is None else replace(made, is_weight=False)
    for stack in call.nodes:
        if stack.is_stack and call.name in ("bmm", "baddbmm") and len(axes[0]) == 1 and is_routed(axes[0][0]):
            return _of_axes(Members(stack.weights[0], stack.shape[0], is_weight=False), np.arange(shape[0]), axes[:1])
    weight = call.get("mat2")
    offsets = values[2] if len(values) > 2 else None
    if call.name != "_grouped_mm" or not isinstance(offsets, Tensor) or len(weight.shape) != 3:
        return None
    ends = np.minimum(offsets.detach().cpu().numpy().astype(np.int64), shape[0])
    ids = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    if len(ids) != shape[0]:
        return None
    return _of_axes(
        Members(weight.weights[0] if weight.weights else "", weight.shape[0], is_weight=False), ids, axes[:1]
    )


def is_routed(f: Factor) -> bool:
    """Whether a factor is a part of one that holds samples: the experts that they were sent to."""
    return f.role == "sample" and f.size < f.whole


def parts_of(node: Node, view: Layout, samples: SampleIds, ids: Ids | None) -> tuple[MemberCall, ...]:
    """The rows of a pre-activation by their member; empty where it has none and every row is of a sample.

    Args:
        node: the pre-activation.
        view: the layout of all of it.
        samples: what is known of the samples of the pass.
        ids: which of the batch's samples those of the layout are; −1 for a row that is of none, an expert's free place.
    """
    members = node.members
    free = ids is not None and bool((ids < 0).any())
    if members is None or members.is_weight:
        if not free:
            return ()
        members = Members("", 1, ids=np.zeros((), np.int64), is_weight=False)
    if members.ids is None:
        return (MemberCall(members.member, members.count, None, view, ids),)
    factors = _flat(node.axes)
    lead = [next((i for i, f in enumerate(factors) if _is(f, wanted)), -1) for wanted in members.factors]
    if -1 in lead or math.prod(f.size for f in factors) != math.prod(node.shape):
        return ()
    own = len(lead)
    lead += [i for i, f in enumerate(factors) if f.role == "sample" and i not in lead]
    beside = [i for i in range(len(factors)) if i not in lead]
    rest = [factors[i] for i in beside]
    leading = [factors[i] for i in lead]
    grid = np.indices([f.size for f in leading]).reshape(len(lead), -1)
    member_of = np.broadcast_to(members.ids[tuple(grid[:own])], grid.shape[1:])
    sample_of = samples.numbered(leading, grid)
    places = samples.places_of(node.axes[0]) if leading == list(node.axes[0]) else None
    arrangement = Arrangement(tuple(f.size for f in factors), (*lead, *beside), grid.shape[1])
    parts = []
    for member in np.unique(member_of):
        chosen = member_of == member
        rows = np.flatnonzero(chosen if sample_of is None else chosen & (sample_of >= 0))
        if not len(rows):
            continue
        axis = (factor(len(rows)),) if sample_of is None else samples.axis(sample_of[rows])
        part = layout((axis, *((f,) for f in rest)), (len(rows), *(f.size for f in rest)))
        if part is None or part.units != view.units:
            return ()
        own_places = None if places is None else places.at(rows)
        parts.append(MemberCall(int(member), members.count, rows, part, samples.of(axis), own_places, arrangement))
    return tuple(parts)

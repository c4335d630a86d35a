"""Which slice of a stacked parameter each row of a value was made with: experts, ensembles, layers in one tensor.

`w[i]`, `w[ids]` and a grouped product use the matrices of a stack one by one, by value. A unit is then a feature of one
of them, and what the rows show belongs to the units of theirs. Followed from the parameter to the site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from leaky.structure.axes import Axes, Layout, factor, layout, replaced
from leaky.structure.graph import Call, Members, Node
from leaky.structure.operators import operator_named
from leaky.structure.samples import Ids, Places, SampleIds


@dataclass(frozen=True, eq=False)
class MemberCall:
    """The rows of one call of a site that one member made.

    Attributes:
        member: which.
        members: how many there are.
        rows: their numbers along the pre-activation's first axis; None for all of it.
        layout: of those rows alone.
        ids: which of the batch's samples each of the layout's samples is; None for all of them in order.
        places: at which position each of the layout's samples stands, where that is known.
    """

    member: int
    members: int
    rows: Ids | None
    layout: Layout
    ids: Ids | None
    places: Places | None = None


def members_of(
    call: Call, values: Sequence[Any], axes: Axes, shape: tuple[int, ...], number: int = 0
) -> Members | None:
    """The members of a result.

    Args:
        call: the operation.
        values: its positional arguments with their tensors.
        axes: of the result.
        shape: of the result.
        number: which of the operation's results it is.
    """
    taken = _taken(call, values, axes, shape, number)
    if taken is not None:
        return taken
    stacks = [node.members for node in call.nodes if node.members is not None]
    if call.produced:
        return _produced(call, values, [m for m in stacks if m.is_weight], axes, shape)
    if operator_named(call.name).numbers == "takes" or not stacks:
        return None
    first = next((m for m in stacks if not m.is_weight), stacks[0])
    if any(m is not first and (m.member != first.member or m.ids is not first.ids) and not m.is_weight for m in stacks):
        return None  # what several members made is put together
    row = operator_named(call.name)
    if (row.signal == "sum" or row.numbers == "places") and any(
        node.from_data and node.members is None and node.productions for node in call.nodes
    ):
        return None  # so is what was put together before: the sum over relations or offsets, one of them at a time
    if first.ids is None:
        return first
    if not shape or len(first.ids) != shape[0]:
        return None
    keys = frozenset(f.key for f in axes[0])
    elementwise = operator_named(call.name).numbers in ("joins", "scales", "compares")
    ranks = {len(node.shape) for node in call.nodes if node.members is first}
    if first.is_weight or keys >= first.keys or (elementwise and ranks == {len(shape)}):
        return replace(first, keys=keys)
    return None


def _taken(call: Call, values: Sequence[Any], axes: Axes, shape: tuple[int, ...], number: int) -> Members | None:
    """A slice of a stack of matrices, by number, or one for each row."""
    node = call.args[0] if call.args else None
    if not isinstance(node, Node) or node.operation != "weight" or not node.learned or len(node.shape) < 3:
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
    if isinstance(index, Tensor) and index.ndim == 1 and index.dtype.is_signed and not index.dtype.is_floating_point:
        ids = index.detach().cpu().numpy().astype(np.int64) % node.shape[0]
        return replace(members, ids=ids, keys=frozenset(f.key for f in axes[0]))
    return None


def _produced(
    call: Call, values: Sequence[Any], stacks: list[Members], axes: Axes, shape: tuple[int, ...]
) -> Members | None:
    """The members of a product: those of its weight, a row each."""
    keys = frozenset(f.key for f in axes[0]) if axes else frozenset()
    if stacks:
        (first, *_) = stacks
        return replace(first, is_weight=False, keys=keys if first.ids is not None else frozenset())
    weight = call.get("mat2")
    offsets = values[2] if len(values) > 2 else None
    if call.name != "_grouped_mm" or not isinstance(offsets, Tensor) or len(weight.shape) != 3:
        return None
    ends = np.minimum(offsets.detach().cpu().numpy().astype(np.int64), shape[0])
    ids = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    if len(ids) != shape[0]:
        return None
    return Members(weight.weights[0] if weight.weights else "", weight.shape[0], ids=ids, is_weight=False, keys=keys)


def parts_of(node: Node, view: Layout, ids: Ids | None, samples: SampleIds) -> tuple[MemberCall, ...]:
    """The rows of a pre-activation by their member; empty where it has none.

    Args:
        node: the pre-activation.
        view: the layout of all of it.
        ids: which of the batch's samples those of the layout are.
        samples: what is known of the samples of the pass.
    """
    members = node.members
    if members is None or members.is_weight:
        return ()
    if members.ids is None:
        return (MemberCall(members.member, members.count, None, view, ids),)
    parts = []
    for member in np.unique(members.ids):
        rows = np.flatnonzero(members.ids == member)
        axis = samples.kept(node.axes[0], rows) or (factor(len(rows)),)
        axes = replaced(node.axes, 0, axis)
        part = layout(axes, (len(rows), *node.shape[1:]))
        if part is None or part.units != view.units:
            return ()
        parts.append(MemberCall(int(member), members.count, rows, part, samples.of(axis), samples.places_of(axis)))
    return tuple(parts)

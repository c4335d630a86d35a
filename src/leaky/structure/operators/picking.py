"""Operators that pick entries of an axis by their numbers, or place them: embeddings of nodes, messages, routing."""

from __future__ import annotations

from leaky.structure.axes import Axes, factor, has, plain, renewed, replaced
from leaky.structure.graph import Call, Node
from leaky.structure.operators.moving import part
from leaky.structure.operators.operator import Operator, family, like_the_data


def _index_select(call: Call) -> list[Axes]:
    node, dim = call.args[0], call.get("dim")
    axes = part(node, call.shapes[0])
    return [replaced(axes, dim, renewed(node.axes[dim], call.shapes[0][dim], ("sample", "unit")))]


def _index(call: Call) -> list[Axes]:
    """One index of one axis picks entries of it; samples stay samples, units are units of their own."""
    node, shape = call.args[0], call.shapes[0]
    given = [(dim, index) for dim, index in enumerate(call.get("indices")) if isinstance(index, Node)]
    dim, index = given[0]
    if len(given) == 1 and dim == 0 and node.is_stack and shape == (*index.shape, *node.shape[1:]):
        return [(*index.axes, *node.axes[1:])]  # a matrix for each of the numbers
    if len(given) > 1 or not has(node.axes[dim], "sample") or len(index.shape) != 1 or len(shape) != len(node.shape):
        return like_the_data(call)
    return [replaced(node.axes, dim, renewed(node.axes[dim], shape[dim], ("sample", "unit")))]


def _gather(call: Call) -> list[Axes]:
    """gather, topk, sort: along one axis entries are picked, for each place of the others by itself.

    The largest of each sample's units are slots: one of them is another unit for each sample.
    """
    node, shape = call.args[0], call.shapes[0]
    dim = call.get("dim", -1) % len(node.shape)
    axes = tuple(
        renewed(axis, size, ("sample",)) if size != before else axis
        for axis, size, before in zip(node.axes, shape, node.shape, strict=True)
    )
    ranked = call.name in ("topk", "sort") and has(node.axes[dim], "unit") and shape[dim] > 1
    along = (factor(shape[dim], "slot"),) if ranked else plain([shape[dim]])[0]
    return [replaced(axes, dim, along)] * len(call.shapes)


def _scatter(call: Call) -> list[Axes]:
    """Entries of the source come to other places along one axis: messages to nodes, which are samples as well."""
    node = call.get("src", call.get("source"))
    shape = call.shapes[0]
    dim = call.get("dim") % len(shape)
    base = call.args[0]
    own = base.axes[dim] if base.from_data else renewed(node.axes[dim], shape[dim], ("sample",))
    others = tuple(
        axis if size == before else renewed(axis, size, ())
        for axis, size, before in zip(node.axes, shape, node.shape, strict=True)
    )
    return [replaced(others, dim, own)]


def _index_put(call: Call) -> list[Axes]:
    """A buffer that is filled: its axes are the source's where the buffer itself tells nothing."""
    base, values = call.args[0], call.get("values")
    if base.from_data or len(values.shape) != len(base.shape):
        return [base.axes]
    given = [dim for dim, index in enumerate(call.get("indices")) if index is not None]
    return [
        tuple(
            renewed(axis, size, ("sample",)) if dim in given else (axis if size == before else base.axes[dim])
            for dim, (axis, size, before) in enumerate(zip(values.axes, base.shape, values.shape, strict=True))
        )
    ]


ROWS = [
    Operator("index_select", _index_select, "picks", "same", samples="picked", arguments=("self", "dim", "index")),
    Operator("index", _index, "picks", "same", samples="picked"),
    Operator("gather", _gather, "picks", "same"),
    *family(Operator("", _gather, chooses=True), "topk sort kthvalue"),
    Operator("scatter", _scatter, "places", chooses=True, source="src"),
    *family(Operator("", _scatter, "places", source="src"), "scatter_add scatter_reduce"),
    *family(Operator("", _scatter, "places", source="source"), "index_add index_copy"),
    Operator("index_put", _index_put, "places", chooses=True, source="values"),
]

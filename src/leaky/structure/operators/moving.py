"""Operators that put elements elsewhere: reshapes, permutations, slices, repetitions, padding."""

from __future__ import annotations

from dataclasses import replace

from leaky.structure.axes import (
    Axes,
    Axis,
    broadcast,
    factor,
    has,
    permute,
    plain,
    renewed,
    replaced,
    reshape,
    stacked,
    summed,
)
from leaky.structure.graph import Call, Node
from leaky.structure.operators.operator import Operator, dims_of, family, like_the_data


def _reshape(call: Call) -> list[Axes]:
    return [reshape(call.args[0].axes, call.shapes[0])]


def _permute(call: Call) -> list[Axes]:
    return [permute(call.args[0].axes, call.get("dims"))]


def _transpose(call: Call) -> list[Axes]:
    order = list(range(len(call.args[0].axes)))
    first, second = call.get("dim0", call.get("axis0")), call.get("dim1", call.get("axis1"))
    order[first], order[second] = order[second], order[first]
    return [permute(call.args[0].axes, order)]


def _turned(call: Call) -> list[Axes]:
    return [call.args[0].axes[::-1]]


def _unsqueeze(call: Call) -> list[Axes]:
    axes = call.args[0].axes
    given = call.get("dim")
    rank = len(call.shapes[0])
    fresh = {dim % rank for dim in ([given] if isinstance(given, int) else given)}
    rest = iter(axes)
    return [tuple(() if dim in fresh else next(rest, ()) for dim in range(rank))]


def _squeeze(call: Call) -> list[Axes]:
    node: Node = call.args[0]
    asked = dims_of(call.get("dim"), len(node.shape))
    gone = {d for d, size in enumerate(node.shape) if size == 1 and (asked is None or d in asked)}
    kept = tuple(axis for d, axis in enumerate(node.axes) if d not in gone)
    return [summed(kept, [node.axes[d] for d in gone])]


def _expand(call: Call) -> list[Axes]:
    """An axis of size 1 that is repeated holds positions; if it was the one unit, it still is."""
    node, shape = call.args[0], call.shapes[0]
    axes = broadcast([(node.axes, node.shape)], shape)
    for dim, axis in enumerate(node.axes, len(shape) - len(node.axes)):
        if has(axis, "unit") and shape[dim] != node.shape[dim - len(shape) + len(node.axes)]:
            axes = replaced(axes, dim, (*axis, factor(shape[dim])))
    return [axes]


def _repeat(call: Call) -> list[Axes]:
    """Whole copies one behind another: those of an axis are positions in front of what it holds."""
    node, shape = call.args[0], call.shapes[0]
    ahead = len(shape) - len(node.shape)
    repeated = [shape[dim + ahead] // size if size else 1 for dim, size in enumerate(node.shape)]
    axes = [axis if times == 1 else (factor(times), *axis) for axis, times in zip(node.axes, repeated, strict=True)]
    return [(*plain(shape[:ahead]), *axes)]


def _select(call: Call) -> list[Axes]:
    axes, dim = call.args[0].axes, call.get("dim", 0)
    dim %= len(axes)
    return [summed(axes[:dim] + axes[dim + 1 :], [axes[dim]])] * len(call.shapes)


def part(node: Node, shape: tuple[int, ...]) -> Axes:
    """A part of the units is a unit axis of its own; a part of the samples still is one."""
    return tuple(
        renewed(axis, length, ("sample", "unit")) if length != whole else axis
        for axis, length, whole in zip(node.axes, shape, node.shape, strict=True)
    )


def _slice(call: Call) -> list[Axes]:
    return [part(call.args[0], shape) for shape in call.shapes]


def _windows(call: Call) -> list[Axes]:
    """unfold: windows along an axis, and what is in them as a new last axis; neither is a unit or a sample any more."""
    node, dim = call.args[0], call.get("dimension")
    shape = call.shapes[0]
    return [(*replaced(node.axes, dim, *plain([shape[dim % len(node.shape)]])), *plain(shape[-1:]))]


def _columns(call: Call) -> list[Axes]:
    """im2col: the channels with every position of the kernel behind each, and the places of the kernel."""
    node, shape = call.args[0], call.shapes[0]
    if len(shape) != 3 or len(node.shape) != 4:
        return like_the_data(call)
    kernel = shape[1] // node.shape[1]
    return [(node.axes[0], (*node.axes[1], *plain([kernel])[0]), *plain(shape[2:]))]


def _pixel_shuffle(call: Call) -> list[Axes]:
    """Every channel is spread over the pixels of a square, or gathered from one: of the units, its share is left."""
    axes, shape = call.args[0].axes, call.shapes[0]
    return [(*axes[:-3], renewed(axes[-3], shape[-3], ("unit",)), *plain(shape[-2:]))]


def _shuffled(call: Call) -> list[Axes]:
    """Another order along the axis of the channels, which holds units all the same."""
    axes, shape = call.args[0].axes, call.shapes[0]
    return [replaced(axes, 1, renewed(axes[1], shape[1], ("unit",)))]


def _turned_about(call: Call) -> list[Axes]:
    """Flip and roll: another order along some axes; samples lose their numbers there, units only their order."""
    node: Node = call.args[0]
    dims = dims_of(call.get("dims"), len(node.shape))
    moved = range(len(node.shape)) if dims is None else dims
    return [
        tuple(
            renewed(axis, node.shape[d], ("sample", "unit")) if d in moved else axis for d, axis in enumerate(node.axes)
        )
    ]


def _diagonal(call: Call) -> list[Axes]:
    node: Node = call.args[0]
    gone = {call.get("dim1", 0) % len(node.shape), call.get("dim2", 1) % len(node.shape)}
    kept = tuple(axis for d, axis in enumerate(node.axes) if d not in gone)
    return [(*kept, *plain(call.shapes[0][-1:]))]


def _cat(call: Call) -> list[Axes]:
    nodes = [node for node in call.args[0] if len(node.shape) == len(call.shapes[0])]
    dim = call.get("dim", 0) % len(call.shapes[0])
    merged = broadcast([(node.axes, node.shape) for node in nodes], call.shapes[0])
    joined = tuple(f for node in nodes for f in node.axes[dim])
    role = next((role for role in ("unit", "sample") if has(joined, role)), "other")
    fresh: Axis = (factor(call.shapes[0][dim], role),)  # type: ignore[arg-type]
    if _are_copies(nodes) and dim == 0:
        return [replaced(merged, dim, (factor(len(nodes), "copy"), *nodes[0].axes[0]))]
    beside = replaced(merged, dim, ())
    if role == "unit" and any(
        has(axis, "unit") for axis in beside
    ):  # units are parted over several axes: so is a whole
        return [stacked((*beside[:dim], *beside[dim + 1 :]), dim, call.shapes[0][dim])]
    return [replaced(merged, dim, fresh)]


def _are_copies(nodes: list[Node]) -> bool:
    """Whether all are one weight whose rows were moved about at most, each within itself: rotated, mirrored."""
    rows = {node.axes[0] for node in nodes if node.is_stack}
    return len(nodes) > 1 and all(node.is_stack for node in nodes) and len(rows) == 1


def _stack(call: Call) -> list[Axes]:
    """Values beside each other on a new axis: of the units of several layers, each layer's; else positions."""
    nodes, shape = call.args[0], call.shapes[0]
    dim = call.get("dim", 0) % len(shape)
    inner = shape[:dim] + shape[dim + 1 :]
    axes = broadcast([(node.axes, node.shape) for node in nodes], inner)
    if _are_copies(nodes) and dim > 0:
        return [(*axes[:dim], (factor(shape[dim], "copy"),), *axes[dim:])]
    makers = [(node.productions, node.members and node.members.member) for node in nodes if node.from_data]
    if len(makers) == len(nodes) > 1 and all(made for made, _ in makers) and len(set(makers)) == len(makers):
        return [stacked(axes, dim, shape[dim])]
    new: Axis = (factor(shape[dim]),) if shape[dim] != 1 else ()
    return [(*axes[:dim], new, *axes[dim:])]


_VALUE = Operator("", like_the_data, "moves", "same", same_value=True)
_PAD = Operator("", like_the_data, "pads", "pads")

ROWS = [
    *family(
        Operator("", _reshape, "moves", "same", same_value=True, samples="parted"),
        "view _unsafe_view reshape _reshape_alias flatten unflatten",
    ),
    Operator("permute", _permute, "moves", "same", same_value=True, reorders=True, arguments=("self", "dims")),
    *family(Operator("", _transpose, "moves", "same", same_value=True, reorders=True), "transpose swapaxes"),
    *family(Operator("", _turned, "moves", "same", same_value=True, reorders=True), "t numpy_T"),
    replace(_VALUE, name="unsqueeze", axes=_unsqueeze, samples="single", arguments=("self", "dim")),
    Operator("squeeze", _squeeze, "moves", "same", same_value=True, arguments=("self", "dim")),
    *family(_VALUE, "alias detach"),
    Operator("expand", _expand, "moves", "same"),
    Operator("repeat", _repeat, "moves", "same", samples="repeated"),
    Operator("select", _select, "moves", "same", samples="taken_off", arguments=("self", "dim")),
    Operator("unbind", _select, "moves", "same", samples="taken_off"),
    *family(
        Operator("", _slice, "moves", "same", samples="cut"),
        "slice narrow split split_with_sizes chunk unsafe_split unsafe_chunk unsafe_split_with_sizes",
    ),
    Operator("unfold", _windows, "moves", "same"),
    *family(Operator("", _turned_about, "moves", "same"), "flip roll"),
    Operator("rot90", like_the_data, "moves", "same"),
    Operator("diagonal", _diagonal, "moves", "same"),
    *family(Operator("", _pixel_shuffle, "moves", "same"), "pixel_shuffle pixel_unshuffle"),
    *family(Operator("", _shuffled, "moves", "same"), "channel_shuffle native_channel_shuffle"),
    Operator("cat", _cat, "moves", "concatenation", samples="joined", arguments=("tensors", "dim")),
    Operator("stack", _stack, "moves", "concatenation", samples="stacked"),
    replace(_PAD, name="constant_pad_nd"),
    *family(
        replace(_PAD, mirrors=True),
        "reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d",
    ),
    Operator("im2col", _columns, "pads", "pads"),
    Operator("_pack_padded_sequence", like_the_data, samples="packed"),
    Operator("_nested_tensor_from_tensor_list", like_the_data, samples="nested"),
]

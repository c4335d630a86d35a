"""What each operator does to the axes of its arguments: one small rule a family of operators.

An operator without a rule keeps the axes that correspond one to one and forgets the others; forgetting makes a site
"not examined" or its verdicts slower, never wrong. Operators are named as torch's dispatcher names them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from leaky.structure.axes import (
    Axes,
    Axis,
    Factor,
    broadcast,
    demoted,
    factor,
    has,
    keep_equal,
    permute,
    plain,
    renewed,
    replaced,
    reshape,
)
from leaky.structure.graph import Call, Node

Rule = Callable[[Call], list[Axes]]
_RULES: dict[str, Rule] = {}


def axes_of(call: Call) -> list[Axes]:
    """The axes of each tensor that the operation returned."""
    rule = _RULES.get(call.name, _default)
    try:
        results = rule(call)
    except (IndexError, TypeError, ValueError):  # a signature that the rule does not know
        results = _default(call)
    complete = [results[i] if i < len(results) else plain(shape) for i, shape in enumerate(call.shapes)]
    return [
        axes if len(axes) == len(shape) else plain(shape) for axes, shape in zip(complete, call.shapes, strict=True)
    ]


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def _default(call: Call) -> list[Axes]:
    nodes = [node for node in call.nodes if node.from_data] or call.nodes
    return [_like(nodes, shape) for shape in call.shapes]


def _like(nodes: list[Node], shape: tuple[int, ...]) -> Axes:
    if not nodes:
        return plain(shape)
    if any(node.shape == shape for node in nodes) or (
        len(nodes) > 1 and len(shape) == max(len(n.shape) for n in nodes)
    ):
        return broadcast([(node.axes, node.shape) for node in nodes], shape)
    first = nodes[0]
    if len(first.shape) == len(shape):
        return keep_equal(first.axes, first.shape, shape)
    if shape and first.shape and shape[0] == first.shape[0] and has(first.axes[0], "sample"):
        return (first.axes[0], *plain(shape[1:]))
    return plain(shape)


@_rule("view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten")
def _reshape(call: Call) -> list[Axes]:
    return [reshape(call.args[0].axes, call.shapes[0])]


@_rule("permute")
def _permute(call: Call) -> list[Axes]:
    return [permute(call.args[0].axes, call.get("dims"))]


@_rule("transpose", "swapaxes")
def _transpose(call: Call) -> list[Axes]:
    order = list(range(len(call.args[0].axes)))
    first, second = call.get("dim0", call.get("axis0")), call.get("dim1", call.get("axis1"))
    order[first], order[second] = order[second], order[first]
    return [permute(call.args[0].axes, order)]


@_rule("t", "numpy_T")
def _t(call: Call) -> list[Axes]:
    return [call.args[0].axes[::-1]]


@_rule("unsqueeze")
def _unsqueeze(call: Call) -> list[Axes]:
    axes = call.args[0].axes
    dim = call.get("dim") % (len(axes) + 1)
    return [(*axes[:dim], (), *axes[dim:])]


@_rule("squeeze")
def _squeeze(call: Call) -> list[Axes]:
    node, dims = call.args[0], call.get("dim")
    rank = len(node.shape)
    asked = range(rank) if dims is None else {d % rank for d in ([dims] if isinstance(dims, int) else dims)}
    gone = {d for d in asked if node.shape[d] == 1}
    return [tuple(axis for d, axis in enumerate(node.axes) if d not in gone)]


@_rule("expand")
def _expand(call: Call) -> list[Axes]:
    node = call.args[0]
    return [broadcast([(node.axes, node.shape)], call.shapes[0])]


@_rule("select", "unbind")
def _select(call: Call) -> list[Axes]:
    axes, dim = call.args[0].axes, call.get("dim", 0)
    dim %= len(axes)
    return [axes[:dim] + axes[dim + 1 :]] * len(call.shapes)


@_rule("slice", "narrow", "split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_chunk", "index_select")
def _slice(call: Call) -> list[Axes]:
    """A part of the units is a unit axis of its own; a part of the samples still is one."""
    node = call.args[0]
    return [
        tuple(
            renewed(axis, length, ("sample", "unit")) if length != whole else axis
            for axis, length, whole in zip(node.axes, shape, node.shape, strict=True)
        )
        for shape in call.shapes
    ]


@_rule("index")
def _index(call: Call) -> list[Axes]:
    """A boolean mask over the samples picks some of them; any other index may pick one twice."""
    node, indices = call.args[0], call.get("indices")
    shape = call.shapes[0]
    mask = indices[0] if len(indices) == 1 else None
    if not isinstance(mask, Node) or len(mask.shape) != 1 or shape[0] == mask.shape[0] or len(shape) != len(node.shape):
        return _default(call)
    return [(renewed(node.axes[0], shape[0], ("sample", "unit")), *node.axes[1:])]


@_rule("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(call: Call) -> list[Axes]:
    axes, shape = call.args[0].axes, call.shapes[0]
    return [(*axes[:-3], renewed(axes[-3], shape[-3], ("unit",)), *plain(shape[-2:]))]


@_rule("cat")
def _cat(call: Call) -> list[Axes]:
    nodes = [node for node in call.args[0] if len(node.shape) == len(call.shapes[0])]
    dim = call.get("dim", 0) % len(call.shapes[0])
    merged = broadcast([(node.axes, node.shape) for node in nodes], call.shapes[0])
    joined = tuple(f for node in nodes for f in node.axes[dim])
    role = next((role for role in ("unit", "sample") if has(joined, role)), "other")
    return [replaced(merged, dim, (factor(call.shapes[0][dim], role),))]  # type: ignore[arg-type]


@_rule("stack")
def _stack(call: Call) -> list[Axes]:
    nodes, shape = call.args[0], call.shapes[0]
    dim = call.get("dim", 0) % len(shape)
    inner = shape[:dim] + shape[dim + 1 :]
    axes = broadcast([(node.axes, node.shape) for node in nodes], inner)
    return [(*axes[:dim], (factor(shape[dim]),) if shape[dim] != 1 else (), *axes[dim:])]


@_rule("sum", "mean", "amax", "amin", "max", "min", "var", "std", "norm", "logsumexp", "argmax", "prod", "any", "all")
def _reduce(call: Call) -> list[Axes]:
    node, dims = call.args[0], call.get("dim")
    shape = call.shapes[0]
    if not isinstance(dims, (int, list, tuple)) or isinstance(dims, bool) or node.shape == shape:
        return _default(call)
    gone = {d % len(node.shape) for d in ([dims] if isinstance(dims, int) else dims)}
    if len(shape) == len(node.shape):
        kept: Axes = tuple(() if d in gone else axis for d, axis in enumerate(node.axes))
    else:
        kept = tuple(axis for d, axis in enumerate(node.axes) if d not in gone)
    return [kept] * len(call.shapes)


@_rule("mm", "bmm", "matmul")
def _matmul(call: Call) -> list[Axes]:
    return [_product(call, call.args[0], call.args[1])]


@_rule("addmm", "baddbmm", "addbmm", "addmv")
def _add_matmul(call: Call) -> list[Axes]:
    return [_product(call, call.args[1], call.args[2])]


@_rule("mv")
def _mv(call: Call) -> list[Axes]:
    return [_product(call, call.args[0], call.args[1])]


def _product(call: Call, left: Node, right: Node) -> Axes:
    """(…, M, K) · (…, K, P): the axis that comes from a weight is a fresh unit axis.

    A constant that nobody learns (a graph's adjacency) on the left mixes rows; they stay what they were.
    """
    if not right.from_data and len(right.shape) > 1:
        call.contracts(left.axes, left.axes[-1], left.axes[:-1])
        unit = call.produce(right, "linear", right.shape[-1], right.shape[-2:])
        return _stacked(demoted(left.axes[:-1]), right, unit)
    row = -2 if len(right.shape) > 1 else -1
    if not left.from_data and left.learned:
        stays = (*right.axes[:row], *right.axes[row:][1:])
        call.contracts(right.axes, right.axes[row], stays)
        unit = call.produce(left, "linear", left.shape[-2], left.shape[:-3:-1])
        return (*demoted(right.axes[:row]), unit, *demoted(right.axes[row:][1:]))
    if not left.from_data:
        return keep_equal(right.axes, right.shape, call.shapes[0])
    if len(right.shape) == 1:
        return left.axes[:-1]
    batch = broadcast([(n.axes[:-2], n.shape[:-2]) for n in (left, right)], call.shapes[0][:-2])
    last: Axes = (left.axes[-2], right.axes[-1])
    if has(last[0], "unit") and has(last[1], "unit"):  # scores between units are units of neither
        last = demoted(last)
    return (*batch, *last)


def _stacked(kept: Axes, weight: Node, unit: Axis) -> Axes:
    """The kept axes and the units; a stack of weights (an ensemble, grouped experts) has units of its own a member."""
    if len(kept) != 2 or len(weight.shape) != 3 or weight.shape[0] == 1 or has(kept[0], "sample"):
        return (*kept, unit)
    whole = weight.shape[0] * unit[0].size
    member = Factor(weight.shape[0], "unit", unit[0].key, whole)
    return ((member,), kept[1], (replace(unit[0], whole=whole),))


@_rule("linear", "mkldnn_linear", "_mkl_linear")
def _linear(call: Call) -> list[Axes]:
    value, weight = call.args[0], call.args[1]
    call.contracts(value.axes, value.axes[-1], value.axes[:-1])
    return [(*demoted(value.axes[:-1]), call.produce(weight, "linear", call.shapes[0][-1], weight.shape[::-1]))]


@_rule("convolution", "_convolution", "mkldnn_convolution", "conv1d", "conv2d", "conv3d", "convolution_overrideable")
def _convolution(call: Call) -> list[Axes]:
    value, weight, shape = call.args[0], call.args[1], call.shapes[0]
    transposed, groups = bool(call.get("transposed", False)), int(call.get("groups", 1))
    first = value.axes[1][:1]
    if weight.from_data and has(first, "sample") and first[0].size == groups:
        # one kernel a sample, as a modulated convolution has it: the groups are the samples
        return [(value.axes[0], (*first, factor(shape[1] // groups, "unit")), *plain(shape[2:]))]
    if any(has(axis, "sample") for axis in value.axes[1:]):
        call.evidence.append((value.axes[:1], f"{call.name} takes its samples along another axis"))
    kind = "transposed_convolution" if transposed else "convolution"
    unit = call.produce(weight, kind, shape[1], _fans(call, weight.shape, transposed, groups), groups)
    return [(*demoted(value.axes[:1]), unit, *plain(shape[2:]))]


def _fans(call: Call, shape: tuple[int, ...], transposed: bool, groups: int) -> tuple[float, float]:
    """fan_in and fan_out of a convolution: He et al. count every position of the kernel, within one group.

    A stride s lets an input element enter 1 of s positions of the kernel, and those of a transposed convolution make
    an output element of 1 in s.
    """
    rank, kernel = len(shape) - 2, math.prod(shape[2:])
    given = call.get("stride") or 1
    stride = given**rank if isinstance(given, int) else math.prod(given) ** (rank // len(given))
    strided, other = shape[0] // groups * kernel / stride, shape[1] * kernel
    return (strided, other) if transposed else (other, strided)


@_rule("embedding")
def _embedding(call: Call) -> list[Axes]:
    weight, indices = call.args[0], call.args[1]
    return [(*demoted(indices.axes), call.produce(weight, "embedding", weight.shape[-1], (1, weight.shape[-1])))]


@_rule("mkldnn_rnn_layer")
def _rnn_layer(call: Call) -> list[Axes]:
    value, weight = call.args[0], call.args[1]
    return [(*demoted(value.axes[:-1]), call.produce(weight, "linear", call.shapes[0][-1], weight.shape[::-1]))]

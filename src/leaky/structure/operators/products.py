"""Operators in which a weight sums over an axis and makes units: products, convolutions, embeddings; and attention."""

from __future__ import annotations

import math
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
    plain,
    renewed,
    summed,
)
from leaky.structure.graph import Call, Node
from leaky.structure.operators.operator import Operator, family


def _product(call: Call) -> list[Axes]:
    """(…, M, K) · (…, K, P): the axis that comes from a weight is a fresh unit axis.

    A constant that nobody learns (a graph's adjacency) on the left mixes rows; they stay what they were.
    """
    _, left_name, right_name = _OPERANDS[call.name]
    left, right = call.get(left_name), call.get(right_name)
    if right.stack is not None and right.from_data:
        return [_slices_on_the_right(call, left, right)]
    if left.stack is not None and left.from_data:
        return [_slices_on_the_left(call, left, right)]
    if not right.from_data:
        return [_weight_on_the_right(call, left, right)]
    if not left.from_data and left.learned:
        return [_weight_on_the_left(call, left, right)]
    if not left.from_data:
        return [keep_equal(right.axes, right.shape, call.shapes[0])]
    return [_of_data(left, right, call.shapes[0])]


def _weight_on_the_right(call: Call, left: Node, right: Node) -> Axes:
    kept = left.axes[:-1]
    call.contracts(left.axes[-1], kept)
    if len(right.shape) == 1:
        unit = call.produce(right, "linear", 1, (right.shape[0], 1))
        return summed(demoted(kept), [unit])
    unit = call.produce(right, "linear", right.shape[-1], right.shape[-2:])
    return _stacked(demoted(kept), right, unit)


def _weight_on_the_left(call: Call, left: Node, right: Node) -> Axes:
    row = -2 if len(right.shape) > 1 else -1
    stays = (*right.axes[:row], *right.axes[row:][1:])
    call.contracts(right.axes[row], stays)
    unit = call.produce(left, "linear", left.shape[-2], left.shape[:-3:-1])
    return (*demoted(right.axes[:row]), unit, *demoted(right.axes[row:][1:]))


def _slices_on_the_right(call: Call, left: Node, right: Node) -> Axes:
    """Rows with a matrix each, picked from a stack of them."""
    beside, units = _beside_units(right, right.axes[-1])
    unit = call.produce(right, "linear", units, (right.shape[-2], units))
    return (*demoted(left.axes[:-1]), _with_units(beside, unit))


def _slices_on_the_left(call: Call, left: Node, right: Node) -> Axes:
    beside, units = _beside_units(left, left.axes[-2])
    unit = call.produce(left, "linear", units, (left.shape[-1], units))
    return (*demoted(right.axes[:-2]), _with_units(beside, unit), *demoted(right.axes[-1:]))


def _beside_units(slices: Node, axis: Axis) -> tuple[list[Factor | None], int]:
    """The axis of a slice's rows: what tells the slices apart stays, the rest are the units, which None stands for."""
    own = slices.members.factors if slices.members is not None else ()
    kept: list[Factor | None] = []
    units = 1
    for f in axis:
        if any((f.key, f.step) == (g.key, g.step) for g in own):
            kept.append(f)
            continue
        units *= f.size
        if None not in kept:
            kept.append(None)
    return (kept if None in kept else [*kept, None]), units


def _with_units(beside: list[Factor | None], unit: Axis) -> Axis:
    return tuple(f for each in beside for f in (unit if each is None else (each,)))


def _of_data(left: Node, right: Node, shape: tuple[int, ...]) -> Axes:
    """Scores between units are units of neither; of heads side by side each is one, and a score without heads is."""
    if len(right.shape) == 1:
        return summed(left.axes[:-1], [left.axes[-1]])
    units_right = has(right.axes[-1], "unit")
    operands = (right, left) if units_right else (left, right)
    batch = broadcast([(n.axes[:-2], n.shape[:-2]) for n in operands], shape[:-2])
    last: Axes = (left.axes[-2], right.axes[-1])
    if has(last[0], "unit") and units_right:
        last = demoted(last)
    return summed((*batch, *last), [left.axes[-1], right.axes[-2]])


def _stacked(kept: Axes, weight: Node, unit: Axis) -> Axes:
    """The kept axes and the units; a stack of weights (an ensemble, grouped experts) has units of its own a member."""
    if len(kept) != 2 or len(weight.shape) != 3 or weight.shape[0] == 1:
        return (*kept, unit)
    stack = weight.axes[0]
    if any(f.role == "sample" and f.size < f.whole for f in kept[0]):
        return (*kept, unit)  # samples that were sent to the members: `leaky.structure.members` parts them
    if not has(kept[0], "sample"):
        whole = weight.shape[0] * unit[0].size
        member = Factor(weight.shape[0], "unit", unit[0].key, whole)
        return ((member,), kept[1], (replace(unit[0], whole=whole),))
    if [f.size for f in stack] != [f.size for f in kept[0]] or not has(stack, "member"):
        return (*kept, unit)
    # samples and members folded into one axis, as a broadcast product has them
    whole = unit[0].size * math.prod(f.size for f in stack if f.role == "member")
    mixed = tuple(
        Factor(own.size, "unit", unit[0].key, whole) if of.role == "member" else own
        for own, of in zip(kept[0], stack, strict=True)
    )
    return (mixed, kept[1], (replace(unit[0], whole=whole),))


def _linear(call: Call) -> list[Axes]:
    value, weight = call.args[0], call.args[1]
    call.contracts(value.axes[-1], value.axes[:-1])
    return [(*demoted(value.axes[:-1]), call.produce(weight, "linear", call.shapes[0][-1], weight.shape[::-1]))]


def _grouped(call: Call) -> list[Axes]:
    """Rows in groups, a matrix for each group."""
    value, weight = call.args[0], call.args[1]
    call.contracts(value.axes[-1], value.axes[:-1])
    unit = call.produce(weight, "linear", weight.shape[-1], weight.shape[-2:])
    return [(*demoted(value.axes[:-1]), unit)]


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
    return [(*demoted(value.axes[:1]), _of_copies(weight, unit), *plain(shape[2:]))]


def _of_copies(weight: Node, unit: Axis) -> Axis:
    """The units of a convolution: those of its copies are one, which is seen in several positions."""
    rows = weight.axes[0]
    if not has(rows, "copy") or {f.role for f in rows} != {"copy", "member"} or len(unit) != 1:
        return unit
    own = math.prod(f.size for f in rows if f.role == "member")
    return tuple(
        replace(unit[0], size=f.size, whole=own) if f.role == "member" else replace(f, role="other") for f in rows
    )


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


def _embedding(call: Call) -> list[Axes]:
    weight, indices = call.args[0], call.args[1]
    unit = call.produce(weight, "embedding", weight.shape[-1], (1, weight.shape[-1]))
    return [(*demoted(indices.axes), unit)]


def _embedding_bag(call: Call) -> list[Axes]:
    """A row a bag: the bags are the samples where the indices, flattened, begin with those."""
    weight, indices = call.args[0], call.args[1]
    bags, axis = call.shapes[0][0], indices.axes[0]
    own = axis[:1] if has(axis[:1], "sample") and axis[0].size == bags else renewed(axis, bags, ("sample",))
    unit = call.produce(weight, "embedding", weight.shape[-1], (1, weight.shape[-1]))
    return [(own, unit)]


def _rnn_layer(call: Call) -> list[Axes]:
    """The output at every step, then the last hidden state and the last cell, which have no axis of steps."""
    value, weight = call.args[0], call.args[1]
    unit = call.produce(weight, "linear", call.shapes[0][-1], weight.shape[::-1])
    steps, samples = demoted(value.axes[:-1])
    return [(steps, samples, unit), (samples, unit), (samples, unit)]


def _attention(call: Call) -> list[Axes]:
    query, value = call.args[0], call.args[2]
    return [(*value.axes[:-2], query.axes[-2], value.axes[-1])]


_MATRIX = Operator("", _product, "takes", "product", samples="chosen")
_CONVOLUTION = ("input", "weight", "bias", "stride", "padding", "dilation", "transposed", "output_padding", "groups")

ROWS = [
    *family(replace(_MATRIX, operands=("", "self", "mat2")), "mm bmm"),
    Operator("matmul", _product, "takes", "product", operands=("", "self", "other"), arguments=("self", "other")),
    Operator(
        "addmm", _product, "takes", "product", operands=("self", "mat1", "mat2"), arguments=("self", "mat1", "mat2")
    ),
    *family(replace(_MATRIX, operands=("self", "batch1", "batch2")), "baddbmm addbmm"),
    replace(_MATRIX, name="mv", operands=("", "self", "vec")),
    replace(_MATRIX, name="addmv", operands=("self", "mat", "vec")),
    Operator("linear", _linear, "takes", "product", operands=("bias", "input", "weight"), rows=True),
    *family(Operator("", _linear, "takes", "product", rows=True), "mkldnn_linear _mkl_linear"),
    *family(Operator("", _grouped, "takes", "product"), "_grouped_mm"),
    Operator(
        "convolution", _convolution, "takes", "product", operands=("bias", "input", "weight"), arguments=_CONVOLUTION
    ),
    *family(
        Operator("", _convolution, "takes", "product"),
        "_convolution mkldnn_convolution cudnn_convolution miopen_convolution conv1d conv2d conv3d "
        "convolution_overrideable",
    ),
    Operator("embedding", _embedding, "takes", "product", arguments=("weight", "indices")),
    *family(Operator("", _embedding_bag, "takes"), "_embedding_bag _embedding_bag_forward_only"),
    Operator("mkldnn_rnn_layer", _rnn_layer, "takes"),
    *family(
        Operator("", _attention),
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
        "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
        "_scaled_dot_product_fused_attention_overrideable scaled_dot_product_attention",
    ),
]

_OPERANDS = {row.name: row.operands for row in ROWS if row.operands is not None}

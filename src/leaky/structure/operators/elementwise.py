"""Operators that work on each element by itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from leaky.structure.axes import Axes, demoted, has, replaced
from leaky.structure.graph import Call, Node
from leaky.structure.operators.operator import Operator, family, like_the_data


def _multiplied(call: Call) -> list[Axes]:
    """A learned factor that brings axes of its own makes a unit of each of its elements, as a layer does."""
    return [_with_own_units(call, like_the_data(call)[0], call.nodes)]


def _product_added(call: Call) -> list[Axes]:
    """addcmul: the same of the product that it adds."""
    factors = [node for node in map(call.get, ("tensor1", "tensor2")) if isinstance(node, Node)]
    return [_with_own_units(call, like_the_data(call)[0], factors)]


def _added(call: Call) -> list[Axes]:
    """A learned summand likewise: the bins of a feature, the centres of a kernel, of what goes in or of each unit.

    Of units it makes more only by one axis behind theirs; positions that are learned lie in front of features, or are
    the pixels of a channel.
    """
    axes = like_the_data(call)[0]
    before = [d for d, axis in enumerate(axes) if has(axis, "unit")]
    last = len(axes) - 1
    own = [_sizes(node, len(axes)) for node in call.nodes if node.learned and not node.from_data]
    bins = before == [last - 1] and any(
        sizes[-2:] == call.shapes[0][-2:] and sizes[:-2].count(1) == last - 1 for sizes in own
    )
    fresh = not any(has(axis, "unit") for node in call.nodes if node.from_data for axis in node.axes)
    return [_with_own_units(call, axes, call.nodes) if fresh or bins else axes]


def _with_own_units(call: Call, axes: Axes, nodes: Sequence[Node]) -> Axes:
    shape = call.shapes[0]
    weight = next((node for node in nodes if node.stack or (node.learned and not node.from_data)), None)
    others = [node for node in nodes if node is not weight and node.from_data]
    if weight is None or len(others) != 1:
        return axes
    value = _sizes(others[0], len(shape))
    own = [d for d, size in enumerate(_sizes(weight, len(shape))) if size > 1 and not has(axes[d], "sample")]
    scaled = (
        call.name == "mul" and len(own) == 2 and sum(has(axes[d], "unit") for d in own) == 1
    )  # an ensemble's members
    if not scaled and not any(value[d] == 1 for d in own):
        return axes
    whole = math.prod(shape[d] for d in own)
    (unit,) = call.produce(weight, "parameter", whole, (1, whole))
    axes = demoted(axes)
    for d in own:
        axes = replaced(axes, d, (replace(unit, size=shape[d]),))
    return axes


def _sizes(node: Node, rank: int) -> tuple[int, ...]:
    return (*(1,) * (rank - len(node.shape)), *node.shape)


_JOINS = Operator("", like_the_data, "joins")
_SCALES = Operator("", like_the_data, "scales", "scales", keeps_scale=True, arguments=("self", "other"))

ROWS = [
    *family(
        Operator("", like_the_data, "joins", "same", same_value=True, keeps_scale=True),
        "clone contiguous _to_copy lift_fresh dropout",
    ),
    Operator("native_dropout", like_the_data, "joins", "same", keeps_scale=True),
    Operator("neg", like_the_data, "joins", "same", keeps_scale=True),
    *family(Operator("", _added, "joins", "sum", keeps_scale=True, arguments=("self", "other")), "add sub rsub"),
    replace(_SCALES, name="mul", axes=_multiplied, activation="mul", arithmetic=True),
    replace(_SCALES, name="div"),
    Operator("copy", like_the_data, "compares", "same", keeps_scale=True),
    *family(Operator("", like_the_data, "compares", side="positive"), "gt ge"),
    *family(Operator("", like_the_data, "compares", side="negative"), "lt le"),
    *family(Operator("", like_the_data, "compares"), "eq ne"),
    *family(
        _JOINS,
        "abs exp log sqrt rsqrt square pow tanh sign reciprocal log1p expm1 sin cos erf isnan logical_not "
        "nan_to_num minimum fmin addcdiv clamp_max hardsigmoid",
    ),
    *family(replace(_JOINS, squashes=True), "sigmoid log_sigmoid_forward"),
    *family(replace(_JOINS, activation="maximum", arithmetic=True), "maximum fmax"),
    *family(replace(_JOINS, activation="where", arithmetic=True), "where"),
    *family(replace(_JOINS, activation="masked_fill", arithmetic=True), "masked_fill"),
    Operator("addcmul", _product_added, "joins"),
    *family(replace(_JOINS, activation="clamp", arithmetic=True, arguments=("self", "min", "max")), "clamp clip"),
    *family(replace(_JOINS, activation="clamp", arithmetic=True, arguments=("self", "min")), "clamp_min"),
    *family(replace(_JOINS, activation="prelu"), "prelu _prelu_kernel"),
    *family(replace(_JOINS, activation="rrelu"), "rrelu rrelu_with_noise"),
    *[
        replace(_JOINS, name=name, activation=name, arguments=("self", *arguments.split()))
        for name, arguments in {
            "relu": "",
            "relu6": "",
            "leaky_relu": "negative_slope",
            "hardtanh": "min_val max_val",
            "threshold": "threshold value",
            "gelu": "",
            "silu": "",
            "mish": "",
            "hardswish": "",
            "elu": "alpha scale input_scale",
            "selu": "",
            "celu": "alpha",
            "softplus": "beta",
        }.items()
    ],
]

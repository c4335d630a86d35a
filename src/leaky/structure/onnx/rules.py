"""What each ONNX operator does to the axes of its values.

Most operators are torch's under another name: they are translated into the call that `leaky.structure.operators`
knows. The few that torch takes apart or does not have get a rule here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias

from leaky.structure.axes import Axes, Axis, broadcast, demoted, has, plain
from leaky.structure.graph import Call, Node
from leaky.structure.onnx.model import Array, OnnxOperation
from leaky.structure.operators import axes_of, operator_named

Translation: TypeAlias = Callable[[OnnxOperation, Sequence[Any], Mapping[str, Array]], tuple[str, list[Any]]]


def call_of(
    op: OnnxOperation, arguments: Sequence[Node | None], values: Mapping[str, Array], shapes: list[tuple[int, ...]]
) -> Call:
    """The operation as torch's dispatcher would name it.

    Args:
        op: the operation.
        arguments: its inputs as nodes; None where one is left out or nothing is known of it.
        values: the constants of the graph that are known.
        shapes: of its outputs.
    """
    translate = _TRANSLATIONS.get(op.kind)
    name, translated = _NAMES.get(op.kind, op.kind), list(arguments)
    if translate is not None:
        with suppress(*_UNEXPECTED):  # inputs of which nothing is known
            name, translated = translate(op, arguments, values)
    return Call(name, translated, {}, shapes, operator_named(name).arguments)


def axes_of_operation(op: OnnxOperation, call: Call) -> list[Axes]:
    """The axes of each of its outputs."""
    own = _OWN.get(op.kind)
    if own is None:
        return axes_of(call)
    try:
        axes = own(op, call)
    except _UNEXPECTED:
        axes = []
    return [a if len(a) == len(s) else plain(s) for a, s in zip(axes, call.shapes, strict=False)] + [
        plain(s) for s in call.shapes[len(axes) :]
    ]


_UNEXPECTED = (AttributeError, IndexError, KeyError, TypeError, ValueError)

_NAMES = {
    "Identity": "clone",
    "Cast": "_to_copy",
    "Dropout": "dropout",
    "Add": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "Neg": "neg",
    "Reshape": "reshape",
    "Flatten": "flatten",
    "DepthToSpace": "pixel_shuffle",
    "Expand": "expand",
    "Slice": "slice",
    "Split": "split",
    "MatMul": "matmul",
    "MatMulInteger": "matmul",
}
"""Operators whose arguments are where torch has them, as far as the rules look."""


def _numbers(values: Mapping[str, Array], name: str) -> list[int] | None:
    value = values.get(name)
    return None if value is None else [int(number) for number in value.reshape(-1)]


def _axes_given(op: OnnxOperation, values: Mapping[str, Array]) -> list[int] | None:
    """The axes that an operator works on: an attribute in old versions, an input in new ones."""
    own = op.attributes.get("axes")
    return [int(axis) for axis in own] if own is not None else _numbers(values, op.input(1))


def _reduction(op: OnnxOperation, arguments: Sequence[Any], values: Mapping[str, Array]) -> tuple[str, list[Any]]:
    given = _axes_given(op, values)
    if "axis" in op.attributes:
        given = [int(op.attributes["axis"])]
    return "sum", [arguments[0], given]


def _transpose(op: OnnxOperation, arguments: Sequence[Any], values: Mapping[str, Array]) -> tuple[str, list[Any]]:
    order = op.attributes.get("perm") or range(len(arguments[0].axes))[::-1]
    return "permute", [arguments[0], [int(axis) for axis in order]]


def _squeeze(op: OnnxOperation, arguments: Sequence[Any], values: Mapping[str, Array]) -> tuple[str, list[Any]]:
    return "squeeze", [arguments[0], _axes_given(op, values)]


def _concatenation(op: OnnxOperation, arguments: Sequence[Any], values: Mapping[str, Array]) -> tuple[str, list[Any]]:
    return "cat", [[a for a in arguments if isinstance(a, Node)], int(op.attributes.get("axis", 1))]


def _gather(op: OnnxOperation, arguments: Sequence[Any], values: Mapping[str, Array]) -> tuple[str, list[Any]]:
    """A row of a weight for each index, one entry of an axis, or several."""
    source, index = arguments
    axis = int(op.attributes.get("axis", 0))
    if index.from_data and not source.from_data and len(source.shape) == 2 and axis == 0:
        return "embedding", [source, index]
    return {0: "select", 1: "index_select"}.get(len(index.shape), "Gather"), [source, axis, index]


def _convolution(op: OnnxOperation, arguments: Sequence[Any], values: Mapping[str, Array]) -> tuple[str, list[Any]]:
    bias = arguments[2] if len(arguments) > 2 else None
    transposed = op.kind == "ConvTranspose"
    groups = int(op.attributes.get("group", 1))
    stride = [int(s) for s in op.attributes.get("strides", ())] or None
    return "convolution", [arguments[0], arguments[1], bias, stride, None, None, transposed, None, groups]


def _gemm(op: OnnxOperation, arguments: Sequence[Any], values: Mapping[str, Array]) -> tuple[str, list[Any]]:
    left, right = (
        _transposed(node) if op.attributes.get(key, 0) else node
        for key, node in zip(("transA", "transB"), arguments, strict=False)
    )
    return "addmm", [arguments[2] if len(arguments) > 2 else None, left, right]


def _transposed(node: Node) -> Node:
    return replace(node, shape=node.shape[::-1], axes=node.axes[::-1])


_REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
_TRANSLATIONS: dict[str, Translation] = {
    **dict.fromkeys((*(f"Reduce{name}" for name in _REDUCTIONS), "ArgMax", "ArgMin"), _reduction),
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Concat": _concatenation,
    "Gather": _gather,
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "ConvInteger": _convolution,
    "Gemm": _gemm,
    "Unsqueeze": lambda op, arguments, values: ("unsqueeze", [arguments[0], _axes_given(op, values)]),
}


def _recurrent(op: OnnxOperation, call: Call) -> list[Axes]:
    """Y of (time, direction, batch, unit) and the last states; the units of both directions are units."""
    value, weight, shape = call.args[0], call.args[1], call.shapes[0]
    batch_first = bool(op.attributes.get("layout", 0))
    time, batch = demoted(value.axes[1::-1] if batch_first else value.axes[:2])
    if has(time, "sample"):
        call.evidence.append(((batch,), f"{op.kind} runs over the axis that was taken for the samples"))
    directions, size = shape[2 if batch_first else 1], shape[-1]
    (whole,) = call.produce(weight, "linear", directions * size, weight.shape[:-3:-1])
    direction = (replace(whole, size=directions),) if directions > 1 else ()
    last = (replace(whole, size=size),)
    if batch_first:
        return [(batch, time, direction, last), (batch, direction, last), (batch, direction, last)]
    return [(time, direction, batch, last), (direction, batch, last), (direction, batch, last)]


def _einsum(op: OnnxOperation, call: Call) -> list[Axes]:
    """Axes go where their letters go; letters that only a weight has make fresh units."""
    left, _, right = op.attributes["equation"].decode().replace(" ", "").partition("->")
    operands = [(term, node) for term, node in zip(left.split(","), call.args, strict=True) if isinstance(node, Node)]
    if "." in left or not right:
        return [plain(call.shapes[0])]
    axes: dict[str, Axis] = {}
    for term, node in operands:
        if node.from_data:
            axes = dict(zip(term, node.axes, strict=True)) | axes
    for term, node in operands:
        sizes = dict(zip(term, node.shape, strict=True))
        fresh = [letter for letter in right if letter in sizes and letter not in axes]
        if fresh and not node.from_data:
            axes = {letter: demoted((axis,))[0] for letter, axis in axes.items()}
            units = math.prod(sizes[letter] for letter in fresh)
            (whole,) = call.produce(node, "linear", units, (math.prod(node.shape) // units, units))
            axes |= {letter: (replace(whole, size=sizes[letter]),) for letter in fresh}
    return [tuple(axes.get(letter, ()) for letter in right)]


def _elementwise(op: OnnxOperation, call: Call) -> list[Axes]:
    """Data tell what an axis is; a constant may still be what gives the result its rank."""
    nodes = sorted(call.nodes, key=lambda node: not node.from_data)
    return [broadcast([(node.axes, node.shape) for node in nodes], call.shapes[0])]


_OWN: dict[str, Callable[[OnnxOperation, Call], list[Axes]]] = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "PRelu"), _elementwise),
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Einsum": _einsum,
}

"""Which operations of an ONNX graph rectify, and what hides a rectifier from view.

Told from the graph alone, before anything runs. Two Relu nodes are two sites; a Clip that is the gate of a hard-swish
is none, the hard-swish is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from leaky.record import NotExamined
from leaky.structure.activations import Activation, recognise
from leaky.structure.graph import Affine, Call, Node
from leaky.structure.onnx.functions import Spelling, same, slopes_spelled, smooth, spelled, spelling_of
from leaky.structure.onnx.model import Array, OnnxModel, OnnxOperation, operations_of
from leaky.structure.operators import operator_named

_LARGEST = 1 << 16
"""Entries of a constant that is looked through for being one number."""
_MOST_UNITS = 1 << 13
"""Entries of a constant that may be one for each unit."""
_UNBOUNDED = 3.4e38
"""What exporters write for no bound."""
RECTIFIERS = {"Relu", "LeakyRelu", "PRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Gelu", "Softplus", "Mish",
              "HardSwish", "Swish"}  # fmt: skip
SQUASHING = {"Sigmoid", "HardSigmoid", "Tanh", "Softsign"}
"""Activations that level off on both sides."""
_STEPS, _STEPPING = 3, {"Mul", "Add", "Sub", "Div"}
"""How far behind such an operation, and through what, the whole activation may end that it is a part of."""
_UNCHANGED = {"Identity", "Cast", "CastLike", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"}
_QUANTISED = {"QLinearConv", "QLinearMatMul"}
_RECURRENT = {"RNN", "LSTM", "GRU"}
_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "BatchNormalization"}


@dataclass(frozen=True, eq=False)
class OnnxSite:
    """One activation of a graph.

    Attributes:
        name: of the operation.
        activation: what it computes; of a PRelu without its slopes.
        pre_activation, output: the values that go in and come out.
        slopes: the value that holds a PRelu's slopes, or these themselves, which broadcast against the pre-activation.
        is_output: whether its output is the graph's, up to the shape.
    """

    name: str
    activation: Activation
    pre_activation: str
    output: str
    slopes: str | Array | None = None
    is_output: bool = False


def numbers_of(values: Mapping[str, Array]) -> dict[str, float]:
    """The constants that are one number throughout."""
    found: dict[str, float] = {}
    for name, value in values.items():
        if 0 < value.size <= _LARGEST and value.dtype.kind in "fiub":
            first = value.reshape(-1)[0]
            if (value == first).all():
                found[name] = float(first)
    return found


def arrays_of(values: Mapping[str, Array]) -> dict[str, Array]:
    """The constants that have several real entries along one axis: slopes or biases of units."""
    return {
        name: value
        for name, value in values.items()
        if value.dtype.kind == "f" and 1 < value.size <= _MOST_UNITS and value.size == max(value.shape)
    }


def sites_of(
    model: OnnxModel, numbers: Mapping[str, float], arrays: Mapping[str, Array] | None = None
) -> list[OnnxSite]:
    """The activations of a graph, in the order in which they run.

    Args:
        model: the model.
        numbers: its constants that are one number throughout.
        arrays: its constants of several entries along one axis.
    """
    found: dict[str, OnnxSite] = {}
    constants = {**numbers, **(arrays or {})}
    outputs = set(_unchanged(model))
    for op in model.operations:
        if any(name in model.constants for name in op.outputs if name):
            continue
        named, spelling = _named(model, numbers, op), None
        slopes: str | Array | None = None
        if named is not None:
            slopes = op.input(1) if op.kind == "PRelu" else None
        elif (arithmetic := spelled(model, numbers, op)) is not None:
            named, spelling = (arithmetic[0], arithmetic[1].root), arithmetic[1]
        elif arrays and (leaks := slopes_spelled(model, constants, op)) is not None:
            named, slopes, spelling = (Activation("PReLU"), leaks[1].root), *leaks
        if named is None:
            continue
        output = op.outputs[0]
        inner = None if spelling is None or slopes is not None else _repeated(model, numbers, found, spelling)
        if inner is not None:
            found[inner] = replace(found[inner], is_output=found[inner].is_output or output in outputs)
            continue
        if spelling is not None:
            _absorb(model, found, op, spelling)
        found[output] = OnnxSite(op.name, *named, output, slopes, output in outputs)
    return list(found.values())


def _unchanged(model: OnnxModel) -> Iterator[str]:
    """The values that are an output of the graph, up to their shape."""
    for name in model.outputs:
        yield name
        while name in model.producers and model.operations[model.producers[name]].kind in _UNCHANGED:
            name = model.operations[model.producers[name]].input(0)
            yield name


def _repeated(
    model: OnnxModel, numbers: Mapping[str, float], found: Mapping[str, OnnxSite], spelling: Spelling
) -> str | None:
    """The output of a site on the way that computes the same already: of the Relu in a Relu times one."""
    for name in spelling.inside & found.keys():
        inner = spelling_of(model, numbers, name, spelling.root)
        if inner is not None and same(inner.function, spelling.function):
            return name
    return None


def _absorb(model: OnnxModel, found: dict[str, OnnxSite], op: OnnxOperation, spelling: Spelling) -> None:
    """Take out the sites that are only steps of a larger one."""
    inside = {model.producers[name] for name in (*spelling.inside, op.outputs[0])}
    for name in spelling.inside & found.keys():
        if name not in model.outputs and inside.issuperset(model.consumers.get(name, [])):
            del found[name]


_CALLS: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    "Relu": ("relu", ()),
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "ThresholdedRelu": ("threshold", (("alpha", 1.0), ("value", 0.0))),
    "Elu": ("elu", (("alpha", 1.0),)),
    "Selu": ("elu", (("alpha", 1.6732632), ("gamma", 1.0507010))),
    "Celu": ("celu", (("alpha", 1.0),)),
    "Gelu": ("gelu", ()),
    "com.microsoft::Gelu": ("gelu", ()),
    "Softplus": ("softplus", ()),
    "Mish": ("mish", ()),
    "HardSwish": ("hardswish", ()),
}
"""Operators as torch names them, with the attributes and defaults that become their arguments."""
_SWISHES = {"Swish": 1.0, "com.microsoft::QuickGelu": 1.702}


def _named(model: OnnxModel, numbers: Mapping[str, float], op: OnnxOperation) -> tuple[Activation, str] | None:
    """The activation of an operator that is one by name, and of which value."""
    found: Activation | None = None
    if op.kind == "PRelu":
        found = Activation("PReLU")
    elif op.kind in _SWISHES:
        scale = float(op.attributes.get("alpha", _SWISHES[op.kind]))
        found = smooth("SiLU" if scale == 1 else "Swish", scale) if scale > 0 else None
    elif op.kind == "Clip":
        low, high = clip_bounds(op, numbers)
        known = high is None or high == high
        found = _recognised("clamp", [_shifted(model, numbers, op.input(0)), low, high]) if known else None
    elif op.kind in _CALLS:
        name, parameters = _CALLS[op.kind]
        arguments = [float(op.attributes.get(key, default)) for key, default in parameters]
        found = _recognised(name, [_shifted(model, numbers, op.input(0)), *arguments])
    return None if found is None else (found, op.input(0))


def _recognised(name: str, arguments: list[Any]) -> Activation | None:
    """What the operator of torch computes that an operator of ONNX is translated into."""
    return recognise(Call(name, arguments, {}, [], operator_named(name).arguments), [])


def clip_bounds(op: OnnxOperation, numbers: Mapping[str, float]) -> tuple[float | None, float | None]:
    """The bounds of a Clip; None for none, NaN for one that is not one known number."""

    def bound(position: int, key: str) -> float | None:
        name = op.input(position)
        value = numbers.get(name, float("nan")) if name else op.attributes.get(key)
        return None if value is None or abs(value) >= _UNBOUNDED else float(value)

    return bound(1, "min"), bound(2, "max")


def _shifted(model: OnnxModel, numbers: Mapping[str, float], name: str) -> Node:
    """A value as a node that knows of which other value it is a scalar affine function."""
    root, scale, shift = name, 1.0, 0.0
    while root in model.producers:
        op = model.operations[model.producers[root]]
        names = [i for i in op.inputs if i]
        data = [i for i in names if i not in numbers]
        if op.kind not in ("Identity", "Add", "Sub", "Mul", "Div") or len(data) != 1 or data[0] in model.constants:
            break
        spelling = spelling_of(model, numbers, name, data[0])
        if spelling is None:
            break
        zero, one, two = spelling.function(np.array([0.0, 1.0, 2.0]))
        if not np.isclose(two - one, one - zero):
            break
        root, scale, shift = data[0], float(one - zero), float(zero)
    return Node(1, "", "", (), (), affine=Affine(0, scale, shift))


def hidden(model: OnnxModel, numbers: Mapping[str, float]) -> list[NotExamined]:
    """What may hide an activation that cannot be looked at, each kind once."""
    found: dict[str, list[str]] = {}
    judged = _outputs_of_sites(model, numbers)
    for op in model.operations:
        if op.kind in SQUASHING and not _ends_in(model, op, judged):
            found.setdefault(f"where its {op.kind} saturates is not judged in ONNX models", []).append(op.name)
        for reason in _hides(model, numbers, op):
            found.setdefault(reason, []).append(op.name)
    return [
        NotExamined(names[0], reason + (f" (and in {len(names) - 1} more)" if len(names) > 1 else ""))
        for reason, names in found.items()
    ]


def _outputs_of_sites(model: OnnxModel, numbers: Mapping[str, float]) -> set[str]:
    if not any(op.kind in SQUASHING for op in model.operations):
        return set()
    return {site.output for site in sites_of(model, numbers)}


def _ends_in(model: OnnxModel, op: OnnxOperation, judged: set[str]) -> bool:
    """Whether an operation is a step of a site (the sigmoid of a SiLU), works on no data, or makes the output."""
    last = {name for name in op.outputs if name}
    if last & {*model.outputs, *model.constants}:
        return True
    for _ in range(_STEPS):
        if last & judged:
            return True
        users = [model.operations[user] for name in last for user in model.consumers.get(name, [])]
        last = {name for user in users if user.kind in _STEPPING for name in user.outputs if name}
    return bool(last & judged)


def _hides(model: OnnxModel, numbers: Mapping[str, float], op: OnnxOperation) -> Iterator[str]:
    inside = list(_rectifiers(op.subgraphs, numbers))
    if op.kind in _RECURRENT:
        given = [name.decode() for name in op.attributes.get("activations", [])]
        inside = [name for name in given if name.lower() in _LOWER]
    if inside:
        yield f"its {', '.join(dict.fromkeys(inside))} runs inside the operator {op.kind}"
    elif ":" in op.kind and op.kind not in _KNOWN:
        activation = op.attributes.get("activation", b"")
        if activation:
            yield f"the fused operator {op.kind} hides its {activation.decode()}"
        else:
            yield f"the custom operator {op.kind} hides what happens inside it"
    elif op.kind in _QUANTISED or _cuts_off(model, numbers, op):
        yield f"the quantised operator {op.kind} may have a rectifier folded into its rounding"


def _cuts_off(model: OnnxModel, numbers: Mapping[str, float], op: OnnxOperation) -> bool:
    """Whether a quantisation has no place for what a layer makes below 0, as after a rectifier that it took in."""
    if op.kind != "QuantizeLinear" or op.input(0) not in model.producers:
        return False
    lowest = {2: 0.0, 3: -128.0}.get(model.types.get(op.input(2), 2))  # ONNX's numbers for uint8 and int8
    layer = model.operations[model.producers[op.input(0)]].kind
    return layer in _LAYERS and lowest is not None and numbers.get(op.input(2), 0.0) == lowest


_KNOWN = {*_CALLS, *_SWISHES}
_LOWER = {kind.lower() for kind in RECTIFIERS}


def _rectifiers(graphs: Iterable[Any], numbers: Mapping[str, float]) -> Iterator[str]:
    """The kinds of rectifiers in subgraphs, however deep."""
    for graph in graphs:
        for op in operations_of(graph):
            if op.kind in RECTIFIERS or (op.kind == "Clip" and clip_bounds(op, numbers)[0] == 0):
                yield op.kind
            yield from _rectifiers(op.subgraphs, numbers)

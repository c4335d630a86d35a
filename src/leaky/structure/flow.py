"""Propagates the properties of nodes from an operation's arguments to its result: origin, weights, gates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from leaky.structure.activations import is_gate
from leaky.structure.axes import Axes, factor, has
from leaky.structure.graph import UNNAMED, Affine, Call, Gate, Node, Production
from leaky.structure.operators import operator_named


def result_node(index: int, call: Call, axes: Axes, shape: tuple[int, ...], module: str, site: str | None) -> Node:
    """The node of a result with these axes."""
    operator = operator_named(call.name)
    nodes = [] if operator.numbers == "creates" else call.nodes
    data = [node for node in nodes if node.from_data]
    constants = [node for node in nodes if not node.from_data]
    weights = _union(node.weights for node in constants)
    produced = set(call.produced)
    learned = not data and any(node.learned for node in constants)
    if learned and operator.numbers != "moves" and not operator.same_value:
        axes = tuple(tuple(factor(f.size, f.role) if f.role == "member" else f for f in axis) for axis in axes)
    return Node(
        index=index,
        operation=call.name,
        module=module,
        shape=shape,
        axes=axes,
        inputs=tuple(node.index for node in nodes),
        from_data=bool(data),
        weights=() if data else weights,
        learned=learned,
        productions=_productions(call, data),
        modifiers=_modifiers(call, data, constants, produced) if data or produced else frozenset(),
        affine=_affine(call) if len(data or [node for node in nodes if node.lost]) == 1 else None,
        gate=_gate(call),
        shaped=any(node.shaped or (node.learned and not node.from_data) for node in nodes),
        site=site or _site_passed_on(call, data),
        lost=operator.random or any(node.lost for node in (data or nodes)),
    )


def as_data(call: Call) -> Call:
    """Take a value of lost origin for data where a learned weight contracts it and nothing else here is data."""
    if any(node.from_data for node in call.nodes):
        return call
    _, *names = operator_named(call.name).operands or ("", "indices", "weight")  # an embedding takes its rows
    left, right = map(call.get, names)
    for value, weight in ((left, right), (right, left)):
        if isinstance(value, Node) and isinstance(weight, Node) and value.lost and weight.learned and not weight.lost:
            known = replace(value, from_data=True, weights=(), learned=False)
            return replace(call, args=[known if argument is value else argument for argument in call.args])
    return call


def from_outside(before: Call, after: Call, values: Sequence[Any]) -> bool:
    """Whether an operation takes real numbers, some for each sample, that were computed outside torch.

    Args:
        before: the operation as it was called.
        after: the same with values of lost origin taken for data.
        values: its arguments.
    """
    return any(
        was is not now
        and isinstance(value, Tensor)
        and value.is_floating_point()
        and any(name.startswith(UNNAMED) for name in was.weights)
        and any(has(axis, "sample") for axis in was.axes)
        for was, now, value in zip(before.args, after.args, values, strict=True)
        if isinstance(was, Node)
    )


def _site_passed_on(call: Call, data: list[Node]) -> str | None:
    if call.name == "copy" and isinstance(call.args[1], Node):
        return call.args[1].site
    return data[0].site if data and operator_named(call.name).same_value else None


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for group in groups for name in group))


def _productions(call: Call, data: list[Node]) -> tuple[Production, ...]:
    """The linear maps behind the result: fresh ones replace those behind what they mapped."""
    kept = _picked_from(call, data) if not call.produced else _added(call, data)
    earlier = (p for node in kept for p in node.productions)
    return tuple(dict.fromkeys((*call.produced, *earlier)))


def _picked_from(call: Call, data: list[Node]) -> list[Node]:
    """What the result's entries come from: of an operator that picks, not the numbers that it picks by."""
    operator = operator_named(call.name)
    source = call.get(operator.source) if operator.numbers == "picks" else None
    return [node for node in data if node is source] if isinstance(source, Node) else data


def _added(call: Call, data: list[Node]) -> list[Node]:
    """What a linear map's operator adds to the product: the first argument of addmm and its kin."""
    operands = operator_named(call.name).operands
    added = call.get(operands[0]) if operands else None
    return [added] if added in data else []


def _modifiers(call: Call, data: list[Node], constants: list[Node], produced: set[Production]) -> frozenset[str]:
    maps = {p.weight for p in produced}
    own = {name for node in constants if node.learned for name in node.weights} - maps
    kept = data if not produced else _added(call, data)
    return frozenset(own).union(*(node.modifiers for node in kept))


def _affine(call: Call) -> Affine | None:
    """Scalar arithmetic on one value; everything else is a root of its own."""
    node = call.args[0] if call.args else None
    other = call.get("other", 0)
    if not isinstance(node, Node) or operator_named(call.name).numbers == "creates":
        return None
    before = node.affine or Affine(node.index)
    if operator_named(call.name).same_value:
        return before
    if call.name == "neg":
        return Affine(before.root, -before.scale, -before.shift)
    if not isinstance(other, (int, float)) or isinstance(other, bool):
        return None
    if call.name in ("add", "sub"):
        by = float(other) * (1.0 if call.name == "add" else -1.0) * float(call.kwargs.get("alpha", 1))
        return Affine(before.root, before.scale, before.shift + by)
    if call.name in ("mul", "div") and not (call.name == "div" and other == 0):
        by = float(other) if call.name == "mul" else 1 / float(other)
        return Affine(before.root, before.scale * by, before.shift * by)
    return None


def _gate(call: Call) -> Gate | None:
    """Of sigmoid(x), clip(x + 3, 0, 6), x > 0 and x < 0: the root x, kept through a scalar factor."""
    node = call.args[0] if call.args else None
    if not isinstance(node, Node):
        return None
    other = call.get("other")
    if node.gate is not None and operator_named(call.name).same_value:
        return node.gate
    if node.gate is not None and call.name in ("mul", "div") and isinstance(other, (int, float)) and other:
        return replace(node.gate, scale=node.gate.scale * (other if call.name == "mul" else 1 / other))
    if call.name in ("sigmoid", "hardsigmoid"):
        return Gate(node.origin, call.name)
    if operator_named(call.name).side and other == 0:
        return Gate(node.origin, operator_named(call.name).side)
    cap = _upper_bound(call)
    if cap is not None and is_gate(node, cap) and node.affine is not None:
        return Gate(node.affine.root, "hardsigmoid", cap)
    return None


def _upper_bound(call: Call) -> float | None:
    kind = operator_named(call.name).activation
    if kind == "relu6":
        return 6.0
    low, high = call.get("min", call.get("min_val")), call.get("max", call.get("max_val"))
    if kind in ("hardtanh", "clamp") and low == 0 and isinstance(high, (int, float)):
        return float(high)
    return None

"""Which operations rectify: one table from an operator to the activation that it computes.

An operator is recognised by what it does to its values, not by its name alone: a clamp is a rectifier where its lower
bound is 0, a maximum where its other side is 0 or a multiple of the value, and ReLU6(x + 3) is the gate of a
hard-swish, not a ReLU6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from leaky.structure.graph import Call, Node
from leaky.structure.operators import operator_named
from leaky.structure.saturation import saturation_threshold


@dataclass(frozen=True, eq=False)
class Activation:
    """What a site computes; the fields of `leaky.record.Site` that do not depend on data.

    Attributes:
        operand: which argument of the operator is the pre-activation.
        overscale: the factor of the operator's result over the activation's output, x · ReLU6(x + 3) before its / 6.
        shift: what is taken off each unit's value before it is the pre-activation: a threshold that each unit has.
    """

    name: str
    negative_slope: float | NDArray[np.float64] = 0.0
    threshold: float = 0.0
    value: float = 0.0
    gain: float = 1.0
    floor: float | NDArray[np.float64] | None = None
    cap: float | None = None
    smooth: bool = False
    operand: int = 0
    overscale: float = 1.0
    shift: Tensor | None = None

    def of_units(self, units: int) -> dict[str, Any]:
        """The fields of a `leaky.record.Site` of so many units that say what it computes, slopes apart."""
        return {
            "activation": self.name,
            "threshold": self.threshold,
            "value": self.value,
            "gain": self.gain,
            "floor": None if self.floor is None else np.broadcast_to(self.floor, (units,)).astype(np.float64),
            "cap": None if self.cap is None else np.full(units, self.cap),
            "smooth": self.smooth,
        }


def bounded(activation: Activation, gain: float, clamp: float | None) -> Activation:
    """The activation followed by a gain and a bound on |y|, as leaky's own function has them."""
    if clamp is None:
        return replace(activation, gain=gain)
    slope = np.abs(np.asarray(activation.negative_slope, np.float64))
    with np.errstate(divide="ignore"):
        floor = -(clamp / gain) / slope
    return replace(activation, gain=gain, cap=clamp / gain, floor=floor if np.isfinite(floor).any() else None)


def recognise(call: Call, values: Sequence[Any]) -> Activation | None:
    """The activation that an operation computes, or None.

    Args:
        call: the operation, its tensors replaced by nodes.
        values: the same positional arguments with their tensors, for slopes and bounds that are tensors.
    """
    make = RECOGNISERS.get(operator_named(call.name).activation)
    node = call.args[0] if call.args else None
    if make is None or not isinstance(node, Node):
        return None
    return make(call, values)


def prepares_input(call: Call, activation: Activation) -> bool:
    """Whether it is arithmetic that happens to rectify (a clamp, a mask) in front of all learned weights.

    Of a value whose origin is lost nobody can say so.
    """
    node: Node = call.args[activation.operand]
    return operator_named(call.name).arithmetic and not node.shaped and not node.lost


def _relu(call: Call, values: Sequence[Any]) -> Activation | None:
    return Activation("ReLU")


def _relu6(call: Call, values: Sequence[Any]) -> Activation | None:
    return _bounded(call.args[0], 6.0)


def _bounded(node: Node, cap: float | None) -> Activation | None:
    """A clip at 0 and `cap`, unless its input is shifted to the middle: then it is the gate of a hard-swish."""
    if cap is None or not math.isfinite(cap):
        return Activation("ReLU")
    if cap <= 0 or is_gate(node, cap):
        return None
    return Activation("ReLU6" if cap == 6 else "Hardtanh", cap=float(cap))


def is_gate(node: Node, cap: float) -> bool:
    """Whether clipping this value at 0 and `cap` makes a hard-sigmoid of another value."""
    return node.affine is not None and cap > 0 and math.isclose(node.affine.shift, cap / 2, rel_tol=1e-3)


def _hardtanh(call: Call, values: Sequence[Any]) -> Activation | None:
    low, high = call.get("min_val", -1.0), call.get("max_val", 1.0)
    return _bounded(call.args[0], float(high)) if low == 0 else None


def _clamp(call: Call, values: Sequence[Any]) -> Activation | None:
    low, high = call.get("min"), call.get("max")
    low, high = _number(low, _tensor(call, values, "min")), _number(high, _tensor(call, values, "max"))
    return _bounded(call.args[0], high) if low == 0 else None


def _tensor(call: Call, values: Sequence[Any], name: str) -> Any:
    """What was given for the argument of this name, with its tensor."""
    place = call.place(name)
    return values[place] if place < len(values) else None


def _number(bound: Any, value: Any) -> float | None:
    """A bound as a number, where it is one; a tensor of zeros is 0."""
    if bound is None or isinstance(bound, (int, float)):
        return bound
    if isinstance(bound, Node) and not bound.from_data and value is not None and value.numel():
        first = float(value.reshape(-1)[0])
        return first if bool((value == first).all()) else math.nan
    return math.nan


def _leaky(call: Call, values: Sequence[Any]) -> Activation | None:
    return Activation("LeakyReLU", float(call.get("negative_slope", 0.01)))


def _prelu(call: Call, values: Sequence[Any]) -> Activation | None:
    slopes = (
        _tensor(call, values, "weight").detach().clone()
    )  # NumPy would keep the storage of the weight itself from being resized
    return Activation("PReLU", slopes.double().cpu().reshape(-1).numpy())


def _rrelu(call: Call, values: Sequence[Any]) -> Activation | None:
    low, high = call.get("lower", 1 / 8), call.get("upper", 1 / 3)
    return Activation("RReLU", (float(low) + float(high)) / 2)


def _threshold(call: Call, values: Sequence[Any]) -> Activation | None:
    return Activation("Threshold", threshold=float(call.get("threshold")), value=float(call.get("value")))


def _maximum(call: Call, values: Sequence[Any]) -> Activation | None:
    """max(x, 0), and max(x, α·x) with α < 1, in either order."""
    left, right = call.args[0], call.get("other")
    if not isinstance(right, Node):
        return None
    for operand, (value, other) in enumerate(((left, right), (right, left))):
        if value.from_data and not other.from_data and _number(other, values[1 - operand]) == 0:
            return Activation("ReLU", operand=operand)
        slope = _multiple(other, value)
        if slope is not None and slope < 1:
            return Activation("LeakyReLU", slope, operand=operand)
    return None


def _multiple(node: Node, of: Node) -> float | None:
    """The α for which node = α · of."""
    affine = node.affine
    return affine.scale if affine and affine.root == of.origin and affine.shift == 0 else None


def _where(call: Call, values: Sequence[Any]) -> Activation | None:
    """where(x > 0, x, α·x), where(x > 0, x, 0), and the same the other way round behind x < 0."""
    for gate, kept, other in (("positive", "self", "other"), ("negative", "other", "self")):
        value, replacement = call.get(kept), call.get(other)
        if not isinstance(value, Node) or not isinstance(replacement, Node):
            return None
        if not _gates(call.get("condition"), value, gate):
            continue
        if not replacement.from_data and _number(replacement, _tensor(call, values, other)) == 0:
            return Activation("ReLU", operand=call.place(kept))
        slope = _multiple(replacement, value)
        return None if slope is None else Activation("LeakyReLU", slope, operand=call.place(kept))
    return None


def half_known(call: Call) -> tuple[Node, Node] | None:
    """Of where(x > 0, x, y): x and y; None of another operation."""
    condition, first, second = (call.get(name) for name in ("condition", "self", "other"))
    if call.name != "where" or not isinstance(first, Node) or not isinstance(second, Node):
        return None
    if _gates(condition, first, "positive"):
        return first, second
    return (second, first) if _gates(condition, second, "negative") else None


def _masked_fill(call: Call, values: Sequence[Any]) -> Activation | None:
    """x.masked_fill(x < 0, 0)."""
    mask, filled = call.get("mask"), call.get("value")
    zero = filled == 0 or (isinstance(filled, Node) and _number(filled, _tensor(call, values, "value")) == 0)
    return Activation("ReLU") if zero and _gates(mask, call.args[0], "negative") else None


def _gates(node: Any, value: Node, kind: str) -> bool:
    gate = node.gate if isinstance(node, Node) else None
    return gate is not None and (gate.root, gate.kind) == (value.origin, kind)


_GATED = {"hardsigmoid": "Hardswish", "sigmoid": "SiLU"}


def _mul(call: Call, values: Sequence[Any]) -> Activation | None:
    """A swish that was spelled out, x · gate(x), or a ReLU, x · (x > 0)."""
    left, right = call.args[0], call.get("other")
    if not isinstance(right, Node):
        return None
    for operand, (value, other) in enumerate(((left, right), (right, left))):
        if _gates(other, value, "positive"):
            return Activation("ReLU", operand=operand)
        if other.gate is not None and other.gate.root == value.origin and other.gate.kind in _GATED:
            return replace(_smooth(_GATED[other.gate.kind], operand), overscale=other.gate.scale)
    return None


def _smooth(name: str, operand: int = 0, *parameters: float) -> Activation:
    return Activation(name, threshold=saturation_threshold(name, *parameters), smooth=True, operand=operand)


def _fixed(name: str) -> Callable[[Call, Sequence[Any]], Activation | None]:
    return lambda call, values: _smooth(name)


def _elu(call: Call, values: Sequence[Any]) -> Activation | None:
    alpha, scale, inner = (float(call.get(key, 1.0)) for key in ("alpha", "scale", "input_scale"))
    return _smooth("ELU" if scale == 1 else "SELU", 0, alpha * scale * inner, inner)


def _celu(call: Call, values: Sequence[Any]) -> Activation | None:
    return _smooth("CELU", 0, 1.0, 1 / float(call.get("alpha", 1.0)))


def _softplus(call: Call, values: Sequence[Any]) -> Activation | None:
    return _smooth("Softplus", 0, float(call.get("beta", 1.0)))


RECOGNISERS: dict[str, Callable[[Call, Sequence[Any]], Activation | None]] = {
    "relu": _relu,
    "relu6": _relu6,
    "hardtanh": _hardtanh,
    "clamp": _clamp,
    "leaky_relu": _leaky,
    "prelu": _prelu,
    "rrelu": _rrelu,
    "threshold": _threshold,
    "maximum": _maximum,
    "where": _where,
    "masked_fill": _masked_fill,
    "mul": _mul,
    "gelu": _fixed("GELU"),
    "silu": _fixed("SiLU"),
    "mish": _fixed("Mish"),
    "hardswish": _fixed("Hardswish"),
    "elu": _elu,
    "selu": lambda call, values: _smooth("SELU", 0, 1.0507009873554805 * 1.6732632423543772, 1.0),
    "celu": _celu,
    "softplus": _softplus,
}
"""By the word that stands in the row of an operator."""

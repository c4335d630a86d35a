"""Activations that a graph spells out in arithmetic, recognised by the function that they compute.

An exporter may write a GELU with Erf, a hard-swish with Clip, a Leaky ReLU as Max(x, 0.1·x). Whatever the spelling, it
is a function of one earlier value, elementwise, and its values tell which. Evaluated in float64, on numbers of our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from leaky.record import FloatArray
from leaky.structure.activations import Activation
from leaky.structure.onnx.model import OnnxModel, OnnxOperation
from leaky.structure.saturation import saturation_threshold

Function: TypeAlias = Callable[[FloatArray], FloatArray]

_DEPTH = 12
"""Operations between a value and the one that it is a function of."""
_GRID = np.linspace(-8.0, 8.0, 65)
_SINGLE = 1e-6
"""Constants are float32 numbers: .2 and .8 add up to 1 to within this."""
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def _softplus(z: Any) -> Any:
    return np.logaddexp(0.0, z)


def _clip(op: OnnxOperation, z: Any, low: Any = None, high: Any = None) -> Any:
    low = op.attributes.get("min", -np.inf) if low is None else low
    high = op.attributes.get("max", np.inf) if high is None else high
    return np.minimum(np.maximum(z, low), high)


def _hard_sigmoid(op: OnnxOperation, z: Any) -> Any:
    return np.clip(op.attributes.get("alpha", 0.2) * z + op.attributes.get("beta", 0.5), 0, 1)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Identity": lambda op, z: z,
    "Cast": lambda op, z: z + 0.0,
    "CastLike": lambda op, z, like: z + 0.0,
    "Add": lambda op, a, b: a + b,
    "Sub": lambda op, a, b: a - b,
    "Mul": lambda op, a, b: a * b,
    "Div": lambda op, a, b: a / b,
    "Pow": lambda op, a, b: np.power(a, b),
    "Max": lambda op, *z: np.maximum.reduce(np.broadcast_arrays(*z)),
    "Min": lambda op, *z: np.minimum.reduce(np.broadcast_arrays(*z)),
    "Sum": lambda op, *z: sum(z),
    "Where": lambda op, condition, a, b: np.where(condition, a, b),
    "Greater": lambda op, a, b: a > b,
    "GreaterOrEqual": lambda op, a, b: a >= b,
    "Less": lambda op, a, b: a < b,
    "LessOrEqual": lambda op, a, b: a <= b,
    "Not": lambda op, z: np.logical_not(z),
    "Neg": lambda op, z: -z,
    "Abs": lambda op, z: np.abs(z),
    "Sqrt": lambda op, z: np.sqrt(z),
    "Exp": lambda op, z: np.exp(z),
    "Log": lambda op, z: np.log(z),
    "Tanh": lambda op, z: np.tanh(z),
    "Erf": lambda op, z: _erf(z),
    "Reciprocal": lambda op, z: 1 / z,
    "Sigmoid": lambda op, z: _sigmoid(z),
    "HardSigmoid": _hard_sigmoid,
    "Softplus": lambda op, z: _softplus(z),
    "Relu": lambda op, z: np.maximum(z, 0),
    "LeakyRelu": lambda op, z: np.where(z > 0, z, op.attributes.get("alpha", 0.01) * z),
    "Elu": lambda op, z: np.where(z > 0, z, op.attributes.get("alpha", 1.0) * np.expm1(np.minimum(z, 0))),
    "Clip": _clip,
}
_ARITHMETIC = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Where"}
"""Operations that a spelled-out activation can end in."""


@dataclass
class Spelling:
    """The values between an activation and the value that it is a function of.

    Attributes:
        root: the pre-activation.
        inside: the values on the way.
        function: what is computed of the root.
    """

    root: str
    function: Function
    inside: set[str] = field(default_factory=set)


def spelled(model: OnnxModel, numbers: Mapping[str, float], op: OnnxOperation) -> tuple[Activation, Spelling] | None:
    """The activation that arithmetic ending in this operation spells out, and of which value.

    Args:
        model: whose operation it is.
        numbers: the constants of the graph that are one number throughout.
        op: the last operation.
    """
    if op.kind not in _ARITHMETIC:
        return None
    output = op.outputs[0]
    for root in sorted(_behind(model, numbers, output), key=lambda name: -model.producers.get(name, -1)):
        spelling = spelling_of(model, numbers, output, root)
        if spelling is not None:
            found = classify(spelling.function)
            if found is not None:
                return found, spelling
    return None


def _behind(model: OnnxModel, numbers: Mapping[str, Any], output: str) -> set[str]:
    """The values of which this one may be an elementwise function."""
    found: set[str] = set()
    last = {output}
    for _ in range(_DEPTH):
        makers = [model.operations[model.producers[name]] for name in last if name in model.producers]
        read = {name for op in makers if op.kind in _ELEMENTWISE for name in op.reads}
        last = {name for name in read - found if name not in model.constants}
        if not last:
            break
        found |= last
    return found


def slopes_spelled(
    model: OnnxModel, constants: Mapping[str, Any], op: OnnxOperation
) -> tuple[FloatArray, Spelling] | None:
    """The slopes of a leaky rectifier that is spelled out with one for each entry of a constant, and of which value.

    Args:
        model: whose operation it is.
        constants: of the graph: numbers, and arrays as they broadcast against the value.
        op: the last operation.
    """
    if op.kind not in _ARITHMETIC:
        return None
    rank = max((np.ndim(value) for value in constants.values()), default=0)
    for root in sorted(_behind(model, constants, op.outputs[0]), key=lambda name: -model.producers.get(name, -1)):
        spelling = spelling_of(model, constants, op.outputs[0], root, rank)
        makers = () if spelling is None else (model.producers[name] for name in spelling.inside)
        if spelling is None or not any(model.operations[i].kind in _BENDS for i in makers) | (op.kind in _BENDS):
            continue
        grid = _GRID.reshape(-1, *(1,) * rank)
        slopes = -spelling.function(-np.ones_like(grid[:1]))[0]
        expected = np.where(grid > 0, grid, slopes * grid)
        bent = slopes.size > 1 and not np.allclose(slopes, 1)
        if bent and np.allclose(spelling.function(grid), expected, rtol=1e-5, atol=1e-6):
            return slopes, spelling
    return None


_BENDS = {"Where", "Max", "Min", "Abs", "Relu", "LeakyRelu", "Clip"}
"""Operations by which something piecewise linear has its kink."""


def spelling_of(model: OnnxModel, numbers: Mapping[str, Any], output: str, root: str, rank: int = 0) -> Spelling | None:
    """How `output` is computed of `root`, elementwise; None where it is not, or not of it alone.

    Args:
        model: whose values they are.
        numbers: its constants that may stand on the way, numbers or arrays.
        output: the last value.
        root: the value that it may be computed of.
        rank: of the arrays; the function then takes and gives as many axes behind that of its argument.
    """
    inside: set[str] = set()

    def compute(name: str, values: dict[str, Any], depth: int) -> Any:
        if name not in values:
            op = model.operations[model.producers[name]] if name in model.producers else None
            if name in numbers:
                values[name] = np.asarray(numbers[name], np.float64)
            elif op is None or op.kind not in _ELEMENTWISE or depth > _DEPTH or name in model.constants:
                raise _NotElementwiseError
            else:
                inputs = [compute(i, values, depth + 1) if i else None for i in op.inputs]
                values[name] = _ELEMENTWISE[op.kind](op, *inputs)
                inside.add(name)
        return values[name]

    def function(z: FloatArray) -> FloatArray:
        with np.errstate(all="ignore"):
            computed = np.asarray(compute(output, {root: z}, 0), np.float64)
            return np.broadcast_to(computed, np.broadcast_shapes(computed.shape, z.shape))

    try:
        function(_GRID.reshape(-1, *(1,) * rank))
    except (_NotElementwiseError, TypeError, ValueError):
        return None
    return Spelling(root, function, inside - {output})


class _NotElementwiseError(Exception):
    """A value that is no elementwise function of the root alone."""


def same(left: Function, right: Function) -> bool:
    """Whether two functions have the same values."""
    return bool(np.allclose(left(_GRID), right(_GRID), rtol=1e-6, atol=1e-9))


def classify(function: Function) -> Activation | None:
    """The activation that computes this function; None for anything else, the identity included."""
    if not np.isfinite(function(_GRID)).all():
        return None
    return _piecewise(function) or _smooth(function)


def _piecewise(function: Function) -> Activation | None:
    """Z above a threshold and α·z + value below it, perhaps held at a cap."""
    near, far = (float(y) for y in function(np.array([-64.0, -128.0])))
    slope = (near - far) / 64
    slope = 0.0 if abs(slope) < _SINGLE else slope
    value = near + 64 * slope
    value = 0.0 if slope and abs(value) < 64 * _SINGLE else value
    high, higher = (float(y) for y in function(np.array([1e3, 2e3])))
    cap = high if high == higher and high > 0 else None
    threshold = _threshold(function, min(64.0, cap or 64.0))
    if threshold is None:
        return None
    line = np.where(threshold < _GRID, _GRID, slope * _GRID + value)
    expected = line if cap is None else np.minimum(line, cap)
    away = np.abs(_GRID - threshold) > 1e-6
    if not np.allclose(function(_GRID)[away], expected[away], rtol=1e-5, atol=1e-6):
        return None
    return _named(slope, value, threshold, cap)


def _named(slope: float, value: float, threshold: float, cap: float | None) -> Activation | None:
    at_zero = value == 0 and abs(threshold) < 1e-9
    if at_zero and slope == 0:
        if cap is None:
            return Activation("ReLU")
        return Activation("ReLU6" if cap == 6 else "Hardtanh", cap=cap)
    if at_zero and cap is None and not math.isclose(abs(slope), 1, rel_tol=1e-5):
        return Activation("LeakyReLU", slope)
    if slope == 0 and cap is None and not math.isclose(value, threshold, rel_tol=1e-6, abs_tol=1e-9):
        return Activation("Threshold", threshold=threshold, value=value)
    return None


def _threshold(function: Function, high: float) -> float | None:
    """The z below which the function is no longer z, by bisection."""

    def is_identity(z: float) -> bool:
        return math.isclose(float(function(np.array([z]))[0]), z, rel_tol=_SINGLE, abs_tol=1e-12)

    low, high = -64.0, high * 0.999
    if is_identity(low) or not is_identity(high):
        return None
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if is_identity(middle) else (middle, high)
    return high if abs(high) > 1e-9 else 0.0


def _smooth(function: Function) -> Activation | None:
    zero, one = (float(y) for y in function(np.array([0.0, 1.0])))
    candidates: list[tuple[str, Function, float]] = [
        ("GELU", lambda z: z * (1 + _erf(z / math.sqrt(2))) / 2, 1.0),
        ("GELU", lambda z: z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))) / 2, 1.0),
        ("Mish", lambda z: z * np.tanh(_softplus(z)), 1.0),
        ("Hardswish", lambda z: z * np.clip(z + 3, 0, 6) / 6, 1.0),
    ]
    if 0.5 < one < 1:
        beta = math.log(one / (1 - one))
        candidates.append(
            ("SiLU" if math.isclose(beta, 1, rel_tol=1e-4) else "Swish", lambda z: z * _sigmoid(beta * z), beta)
        )
    if 0.01 < zero < 100:  # beyond, a Softplus can hardly be told from max(z, 0)
        steep = math.log(2) / zero
        candidates.append(("Softplus", lambda z: _softplus(steep * z) / steep, steep))
    for name, candidate, scale in candidates:
        if np.allclose(function(_GRID), candidate(_GRID), rtol=1e-5, atol=1e-5):
            return smooth(name, scale)
    return None


def smooth(name: str, scale: float = 1.0) -> Activation:
    """A smooth activation of scale·z; "Swish" is z·sigmoid(scale·z)."""
    of = "SiLU" if name == "Swish" else name
    return Activation(name, threshold=saturation_threshold(of) / scale, smooth=True)

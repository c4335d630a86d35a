"""Where a smooth activation stops passing a gradient: the threshold that stands for a rectifier's 0."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

PRACTICALLY_ZERO = 1e-3
"""The derivative up to which the lower tail of a smooth activation counts as below its threshold."""


def _gelu_derivative(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2)) + z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _sigmoid(z: float) -> float:
    small = math.exp(-abs(z))
    return (1.0 if z >= 0 else small) / (1 + small)


def _silu_derivative(z: float) -> float:
    s = _sigmoid(z)
    return s * (1 + z * (1 - s))


def _mish_derivative(z: float) -> float:
    t = math.tanh(math.log1p(math.exp(z)))
    return t + z * (1 - t * t) * _sigmoid(z)


_DERIVATIVES: dict[str, Callable[..., float]] = {
    "GELU": _gelu_derivative,
    "SiLU": _silu_derivative,
    "Mish": _mish_derivative,
    "Hardswish": lambda z: 0.0 if z <= -3 else z / 3 + 0.5,
    "ELU": lambda z, factor=1.0, inner=1.0: factor * math.exp(inner * z) if z < 0 else 1.0,
    "SELU": lambda z, factor=1.0, inner=1.0: factor * math.exp(inner * z) if z < 0 else 1.0,
    "CELU": lambda z, factor=1.0, inner=1.0: factor * math.exp(inner * z) if z < 0 else 1.0,
    "Softplus": lambda z, beta=1.0: _sigmoid(beta * z),
}


@lru_cache
def saturation_threshold(name: str, *parameters: float) -> float:
    """The z up to which the derivative of a smooth activation stays within ±1e-3, by scan and bisection.

    Args:
        name: of the activation.
        parameters: of it: for the ELU family the derivative's factor at 0⁻ and the input's scale; β of Softplus.
    """
    derivative = _DERIVATIVES[name]
    low = -100.0 / min(1.0, *(abs(p) for p in parameters if p)) if parameters else -100.0
    step = -low / 10_000
    while low < 0 and abs(derivative(low + step, *parameters)) <= PRACTICALLY_ZERO:
        low += step
    high = low + step
    for _ in range(60):
        middle = (low + high) / 2
        if abs(derivative(middle, *parameters)) <= PRACTICALLY_ZERO:
            low = middle
        else:
            high = middle
    return low

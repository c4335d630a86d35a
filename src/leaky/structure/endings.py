"""What a network's output ends in, told by the function that it computes and not by the name of its last operation.

Must agree with what autograd names: a sigmoid is one however it is spelled, and probabilities sum to 1 whatever drew
them together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from numpy.typing import NDArray
from torch import Tensor

from leaky.structure.fitting import grid
from leaky.structure.formulas import Formula, evaluate

_SAME_UP_TO = 1e-3
_STEEPNESS = (1.0, 10.0, 0.1, 100.0, 1000.0, 1e4)
"""Factors on the value under which an S-shaped function is looked for."""
_SUM_TO_ONE, _NOTHING = 1e-4, 1e-12
_EXACT: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "softplus": F.softplus,
    "log_sigmoid": F.logsigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
}


@dataclass(frozen=True)
class Ending:
    """The function behind the last value that others than elementwise operations made.

    Attributes:
        name: as `leaky.record.TensorStatistics.made_by` has it; "sigmoid" and "tanh" also where it was stretched and
            moved, "function" where it has no name.
        lowest, highest: what it gives at the least and the most, where the name does not say so; None where it has no
            such end.
    """

    name: str
    lowest: float | None = None
    highest: float | None = None


def ending(formula: Formula | None) -> Ending | None:
    """What a function ends in; None where it is affine, or has no end on either side."""
    if formula is None or not formula.bent:
        return None
    try:
        values = evaluate(formula, grid())
        return _named(partial(evaluate, formula), values) if values.is_floating_point() else None
    except (RuntimeError, TypeError, ValueError, IndexError):
        return None


def _named(function: Callable[[Tensor], Tensor], values: Tensor) -> Ending | None:
    z, near = grid()[:, 0], grid()[:, 0].abs() <= 12
    y = values[z.abs() <= 80]
    if y.ndim != 2 or not bool(torch.isfinite(y).all()):
        return None
    for name, known in _EXACT.items():
        if bool(((values[near] - known(z[near])[:, None]).abs() <= _SAME_UP_TO).all()):
            return Ending(name)
    low, high = _ends(y.numpy())
    if low is None and high is None:
        return None
    return Ending(_stretched(function, y[0], y[-1]) or "function", low, high)


def _ends(y: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """The least and the most of values on the grid; None where the function goes on at its ends."""
    slack = 1e-9 * max(1e-30, float(np.abs(y).max()))
    low, high = (0.0 if abs(bound) <= _NOTHING else bound for bound in (float(y.min()), float(y.max())))
    going = [y[end] for end, inner in ((0, 1), (-1, -2)) if (np.abs(y[end] - y[inner]) > slack).any()]
    falls, rises = (any(bool((value == bound).any()) for value in going) for bound in (y.min(), y.max()))
    return None if falls else low, None if rises else high


def _stretched(function: Callable[[Tensor], Tensor], first: Tensor, last: Tensor) -> str | None:
    """The name of what goes from one end to the other as a sigmoid does; one that goes below 0 is a tanh."""
    if len(first) != 1 or float(first) == float(last):
        return None
    for factor in _STEEPNESS:
        z = grid()[:, 0]
        share = ((function(z[:, None] / factor) - first) / (last - first))[:, 0]
        middle = (share > 0.1) & (share < 0.9)
        if int(middle.sum()) < 8 or float(share.min()) > 0.01 or float(share.max()) < 0.99:
            continue
        line = torch.special.logit(share[middle])
        slope = float((line[-1] - line[0]) / (z[middle][-1] - z[middle][0]))
        shift = float(line[0]) - slope * float(z[middle][0])
        if bool(((share - torch.sigmoid(slope * z + shift)).abs() <= _SAME_UP_TO).all()):
            return "tanh" if min(float(first), float(last)) < 0 else "sigmoid"
    return None


def sums_to_one(value: Tensor, axis: int) -> bool:
    """Whether the entries along an axis are shares of 1 everywhere: what a softmax gives, however it is written."""
    if not value.is_floating_point() or value.shape[axis] < 2 or not value.numel() or bool((value < 0).any()):
        return False
    return bool(((value.double().sum(axis) - 1).abs() <= _SUM_TO_ONE).all())

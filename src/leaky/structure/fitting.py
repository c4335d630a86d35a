"""Identifies an activation function by its values on a grid, not by the operations that compute it.

A (leaky) rectifier has two or three straight pieces; a known smooth activation has its values; anything else that
levels off is a smooth activation with its own derivative, whose tails tell where it passes no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor

from leaky.structure.activations import Activation
from leaky.structure.saturation import PRACTICALLY_ZERO, saturation_threshold

_STEP, _FAR = 1 / 64, 32.0
_TAIL = 1e4
"""Where a function that never levels off is taken to do so."""

_KNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "GELU": F.gelu,
    "SiLU": F.silu,
    "Mish": F.mish,
    "Hardswish": F.hardswish,
    "ELU": F.elu,
    "SELU": F.selu,
    "Softplus": F.softplus,
}
"""Smooth activations that are known by name: those whose gain and threshold other rooms know."""

_NAMED: dict[str, Callable[[Tensor], Tensor]] = {
    "QuickGELU": lambda z: z * torch.sigmoid(1.702 * z),
    "Laplace": lambda z: (1 + torch.erf((z - 0.707107) / (0.282095 * math.sqrt(2)))) / 2,
    "SquaredReLU": lambda z: torch.relu(z) ** 2,
    "Softsign": F.softsign,
    "LogSigmoid": F.logsigmoid,
    "Tanh": torch.tanh,
    "Sigmoid": torch.sigmoid,
    "Hardsigmoid": F.hardsigmoid,
}
"""Others by name, with thresholds of their own derivative."""

NAMES = {*_KNOWN, *_NAMED}
"""What a smooth activation is called that is known by its values."""

_SAME_UP_TO = 1e-3
"""The difference up to which two functions are the same activation; GELU's two formulas differ by 5e-4."""


@lru_cache
def grid() -> Tensor:
    """Where functions are compared, shape (points, 1): fine about 0, which is one of the points, and coarse far off."""
    fine = torch.arange(-_FAR, _FAR + _STEP, _STEP, dtype=torch.float64)
    far = torch.logspace(math.log10(_FAR + 1), math.log10(300.0), 24, dtype=torch.float64)
    return torch.cat([-far.flip(0), fine, far]).reshape(-1, 1)


def fitted(values: Tensor, fallback: str, forever: bool = False) -> Activation | None:
    """The activation that has these values on the grid.

    Args:
        values: of shape (points, 1) or (points, units).
        fallback: what to call a smooth activation that is none of the known ones.
        forever: whether a function is one, too, whose derivative is practically 0 for good on neither side.

    Returns:
        The activation; None where the function is affine, or has no value at some point, or has a derivative of 0
        elsewhere than at its ends.
    """
    z, y = grid()[:, 0].numpy(), values.double().numpy()
    middle = np.abs(z) <= 80  # exponentials overflow beyond
    z, y = z[middle], y[middle]
    if y.ndim != 2 or len(y) != len(z) or not np.isfinite(y).all():
        return None
    slopes = np.diff(y, axis=0) / np.diff(z)[:, None]
    straight = _straight(z, y, slopes)
    if straight is not None:
        return straight
    if y.shape[1] != 1 or _changes(slopes[:, 0]).size == 0:
        return None
    known = _known(z, y[:, 0])
    return known or _smooth(z, slopes[:, 0], _name(z, y[:, 0], _NAMED) or fallback, forever)


def bends(values: Tensor) -> bool:
    """Whether values on the grid are those of a function that is neither affine nor a distance."""
    z, y = grid()[:, 0].numpy(), values.double().numpy()
    middle = np.abs(z) <= 80
    if y.ndim != 2 or len(y) != len(z) or not np.isfinite(y[middle]).all():
        return True
    slopes = np.diff(y[middle], axis=0) / np.diff(z[middle])[:, None]
    return any(_changes(np.abs(slopes[:, unit])).size for unit in range(slopes.shape[1]))


def steps(values: Tensor) -> bool:
    """Whether values on the grid are those of a function that only jumps: its derivative is 0 between the jumps."""
    moves = values.double()[grid()[:, 0].abs() <= _FAR].diff(dim=0).abs() > 1e-9
    runs = moves[2:] & moves[1:-1] & moves[:-2]  # a jump at a point of the grid moves on both sides of it
    return bool(moves.any(0).all()) and not bool(runs.any())


def jump(function: Callable[[Tensor], Tensor]) -> Activation | None:
    """The activation that lets through what is above a threshold of its own and puts a constant elsewhere.

    Args:
        function: of float64 values of shape (points, 1), to values of that shape or (points, units).

    Returns:
        `Threshold` where one number is the threshold; "JumpReLU" where each unit has its own, as one more number to
        take off its value; None for any other function.
    """
    z = grid()[:, 0] + _STEP / 3  # 0 is what stands below a threshold and the value itself
    y = function(z[:, None]).double()
    if y.ndim != 2 or not bool(torch.isfinite(y).all()):
        return None
    places, below = torch.arange(len(z))[:, None], y[0]
    first = torch.where(y != z[:, None], places, -1).amax(0) + 1  # from there on it is the value itself
    inside = bool(((first > 0) & (first < len(z))).all())
    if not inside or not bool(((y == below) | (places >= first)).all()):
        return None
    low, high = z[first - 1], z[first]
    for _ in range(60):  # the grid is coarse
        middle = (low + high) / 2
        above = function(middle[None]).double()[0] == middle
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    if bool((low.abs() < 1e-12).all()):
        return None  # a rectifier
    if len(low) == 1:
        return Activation("Threshold", threshold=float(low[0]), value=float(below[0]))
    return Activation("JumpReLU", smooth=True, shift=low) if bool((below == 0).all()) else None


def _changes(slopes: np.ndarray) -> np.ndarray:
    """Where a derivative changes."""
    tolerance = 1e-7 * max(1.0, float(np.abs(slopes).max()))
    return np.nonzero(np.abs(np.diff(slopes)) > tolerance)[0] + 1


def _straight(z: np.ndarray, y: np.ndarray, slopes: np.ndarray) -> Activation | None:
    """A rectifier: one slope a unit below 0 and one common slope above it, or a clip."""
    places = {int(i) for unit in range(slopes.shape[1]) for i in _changes(slopes[:, unit])}
    knots = sorted(places)
    zero = int(np.searchsorted(z, 0.0))
    origin = bool(np.allclose(y[zero], 0.0, atol=1e-9))
    left, right = slopes[0], slopes[-1]
    floored = bool(((y[:zero] == y[0]).all(0) & (y[0] != 0)).any())  # a limit in front of a division, no rectifier
    if knots == [zero] and origin and not floored and float(np.ptp(right)) <= 1e-9 and right[0] > 1e-6:
        leak = np.where(np.abs(left / right[0]) < 1e-9, 0.0, left / right[0])
        gain = 1.0 if abs(right[0] - 1) < 1e-6 else float(right[0])
        if leak.size == 1:
            name = "LeakyReLU" if leak[0] else "ReLU"
            bent = abs(abs(leak[0]) - 1) > 1e-6  # |z| is a distance, no activation
            return Activation(name, float(leak[0]), gain=gain) if bent else None
        return Activation("PReLU", leak, gain=gain)
    if slopes.shape[1] == 1 and len(knots) <= 4 and knots and abs(left[0]) < 1e-9 and abs(right[0]) < 1e-9:
        return _clip(z, y[:, 0], slopes[:, 0], knots)
    return None


def _clip(z: np.ndarray, y: np.ndarray, slopes: np.ndarray, knots: list[int]) -> Activation | None:
    """A clip at two bounds with slope 1 between them."""
    inside = slopes[(knots[0] + knots[-1]) // 2]
    low, high = float(y[0]), float(y[-1])
    if abs(inside - 1) > 1e-6 or low >= high or abs(float(np.interp(0.0, z, y))) > 1e-9:
        return None
    if low == 0:
        return Activation("ReLU6" if abs(high - 6) < 1e-9 else "Hardtanh", cap=high)
    return Activation("Hardtanh", threshold=low, value=low, cap=high)


def _known(z: np.ndarray, y: np.ndarray) -> Activation | None:
    name = _name(z, y, _KNOWN)
    return None if name is None else Activation(name, threshold=saturation_threshold(name), smooth=True)


def _name(z: np.ndarray, y: np.ndarray, table: dict[str, Callable[[Tensor], Tensor]]) -> str | None:
    near = np.abs(z) <= 12
    points = torch.from_numpy(z[near])
    differences = {name: float(np.abs(function(points).numpy() - y[near]).max()) for name, function in table.items()}
    return next((name for name, difference in differences.items() if difference <= _SAME_UP_TO), None)


_FLAT = 0.1
"""The length over which a derivative of 0 between others that are not is no passing through 0."""


def _smooth(z: np.ndarray, slopes: np.ndarray, name: str, forever: bool) -> Activation | None:
    """Where the derivative has become practically 0 for good, on either side."""
    passes = np.nonzero(np.abs(slopes) > PRACTICALLY_ZERO)[0]
    if not passes.size:
        return None
    first, last = int(passes[0]), int(passes[-1])
    threshold = float(z[first]) if first > 0 else -_TAIL
    cap = float(z[last + 1]) if last < len(slopes) - 1 else None
    if np.diff(z[passes]).max(initial=0.0) > _FLAT and _is_flat(z, passes):
        return None
    if first == 0 and cap is None and not forever:
        return None  # it levels off nowhere
    return Activation(name, threshold=threshold, cap=cap, smooth=True)


def _is_flat(z: np.ndarray, passes: np.ndarray) -> bool:
    """Whether the derivative is practically 0 over a stretch between places where it is not, near 0."""
    near = passes[np.abs(z[passes]) < _FAR]
    return bool(np.diff(z[near]).max(initial=0.0) > _FLAT)

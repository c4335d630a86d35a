"""What the optimizer does to the weights behind each site, and what its state knows of units that never learned.

Must cost next to nothing: one step a report is looked at, and of a large weight an even sample of its entries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.observation.tensors import part_here, whole
from leaky.record import FloatArray, IntArray
from leaky.structure.modules import without_wrappers
from leaky.watching.sums import waits

SAMPLED = 1 << 14
"""Entries of a weight that its norms are taken of; more are sampled evenly."""

_MOMENTS = ("exp_avg_sq", "sum", "square_avg", "momentum_buffer")
"""Where optimizers keep what is 0 only for an entry that never had a gradient: Adam, Adagrad, RMSprop, SGD."""


Changes = dict[str, list[FloatArray]]
"""Of each weight, what every measured step did to it: ‖ΔW‖², ‖W‖², the entries that both are of, and ‖W‖² after it less
‖W‖² before; then ‖W‖² less what the measured step before had left: what others than the optimizer did, NaN where that
is not known; and the least ‖W‖² that a step is compared with."""

LEAST_GAIN = 0.1
"""√(fan-in · E w²) of weights that are still on their way from 0: a step that is long for smaller ones does no harm."""


def ratio_of(step: FloatArray) -> float:
    """‖ΔW‖ ÷ ‖W‖, of weights that are nearly 0 ÷ the least ‖W‖."""
    return math.sqrt(step[0] / max(step[1], step[5]))


def least_square(weight: Tensor, entries: int) -> float:
    """The least ‖W‖² that a step of so many of its entries is compared with."""
    return LEAST_GAIN**2 * entries * len(weight) / max(1, weight.numel())


def size_of(step: FloatArray) -> float:
    """√E w² before it."""
    return math.sqrt(step[1] / max(1.0, step[2]))


def measured_by(changes: Changes) -> dict[str, tuple[float, float]]:
    """Of each weight, the largest ‖ΔW‖ ÷ ‖W‖ of its steps, and √E w² at the last of them."""
    found = {}
    for name, steps in changes.items():
        largest = float(np.fmax.reduce([ratio_of(step) for step in steps]))
        found[name] = largest, size_of(steps[-1])
    return found


class Updates:
    """Measures one step of the optimizer on the weights behind sites.

    Args:
        model: whose weights they are.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = {without_wrappers(name): p for name, p in model.named_parameters() if p.ndim >= 2}
        self._before: dict[str, Tensor] = {}
        self._afar: list[tuple[str, Tensor, int]] = []
        self._left: dict[str, Tensor] = {}
        self._aside: dict[str, Tensor] = {}

    @property
    def fans(self) -> dict[str, int]:
        """Entries a unit of each weight."""
        return {name: weight.numel() // max(1, len(weight)) for name, weight in self._weights.items()}

    @property
    def measuring(self) -> bool:
        """Whether a step is being measured."""
        return bool(self._before)

    def begin(self) -> None:
        """A step is about to be made, measured or not: see what became of the weights since the last measured one."""
        left, self._left = self._left, {}
        for name, before in left.items():
            now = _norm(_sample(self._weights[name]))
            self._aside[name] = (now - before) * (now + before)

    def before(self) -> None:
        """The step is to be measured."""
        self._before = {name: _sample(weight).clone() for name, weight in self._weights.items()}

    def after(self) -> dict[str, FloatArray]:
        """What the step has done to each weight, as `Changes` holds it; of a sharded weight, to the part here.

        What it has done to weights on a device that would have to be waited for stays there until `brought`.
        """
        before, self._before = self._before, {}
        found = {}
        for name, old in before.items():
            new = _sample(self._weights[name])
            change, size, self._left[name] = (_norm(each) for each in (new - old, old, new))
            aside = self._aside.pop(name, None)
            aside = torch.full_like(change, math.nan) if aside is None else aside
            seen = torch.stack([change, size, self._left[name], aside])
            if waits(old.device):
                self._afar.append((name, seen, old.numel()))
            else:
                found[name] = self._row(name, seen.double().numpy(), old.numel())
        return found

    def brought(self, changes: Changes) -> Changes:
        """The changes with those that were left on devices, in one transfer from each."""
        afar, self._afar = self._afar, []
        for device in dict.fromkeys(seen.device for _, seen, _ in afar):
            here = [(name, seen, entries) for name, seen, entries in afar if seen.device == device]
            values = torch.stack([seen for _, seen, _ in here]).cpu().double().numpy()
            for (name, _, entries), seen in zip(here, values, strict=True):
                changes.setdefault(name, []).append(self._row(name, seen, entries))
        return changes

    def _row(self, name: str, seen: FloatArray, entries: int) -> FloatArray:
        """A step as `Changes` holds it, of ‖ΔW‖, ‖W‖ before and after, and what others did to ‖W‖²."""
        change, old, new, aside = seen
        least = least_square(self._weights[name], entries)
        return np.array([change**2, old**2, entries, new**2 - old**2, aside, least], np.float64)


def _norm(value: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(value.float())
    return norm


def _sample(weight: Tensor) -> Tensor:
    flat = part_here(weight.detach()).reshape(-1)
    step = max(1, flat.numel() // SAMPLED)
    return flat[::step]


def untouched_units(optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]) -> dict[str, IntArray]:
    """The units of each weight that never had a gradient since the optimizer began: the moment of their row is 0.

    Args:
        optimizer: Adam and its kin, Adagrad, RMSprop, or SGD with momentum.
        weights: parameters by name, the units along the first axis.

    Returns:
        Indices by name; weights that the optimizer keeps no moment of are left out. Sharded weights are put together,
        so that every rank must ask.
    """
    found = {}
    for name, weight in weights.items():
        state: dict[str, Any] = optimizer.state.get(weight, {})
        moment = next((state[key] for key in _MOMENTS if isinstance(state.get(key), Tensor)), None)
        if moment is None or moment.shape != weight.shape:
            continue
        moment = whole(moment)
        untouched = moment.reshape(len(moment), -1).eq(0).all(dim=1)
        found[name] = np.flatnonzero(untouched.cpu().numpy())
    return found

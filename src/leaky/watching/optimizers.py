"""What the optimizer does to the weights behind each site, and what its state knows of units that never learned.

Must cost next to nothing: one step a report is looked at, and of a large weight an even sample of its entries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
"""Of each weight, what every measured step did to it: ‖ΔW‖², ‖W‖² and the entries that both are of."""


def ratio_of(step: FloatArray) -> float:
    """‖ΔW‖ ÷ ‖W‖; NaN of weights that were all 0."""
    return math.sqrt(step[0] / step[1]) if step[1] > 0 else math.nan


def measured_by(changes: Changes) -> dict[str, tuple[float, float]]:
    """Of each weight, the largest ‖ΔW‖ ÷ ‖W‖ of its steps, and √E w² at the last of them."""
    found = {}
    for name, steps in changes.items():
        largest = float(np.fmax.reduce([ratio_of(step) for step in steps]))
        found[name] = largest, math.sqrt(steps[-1][1] / max(1.0, steps[-1][2]))
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

    @property
    def measuring(self) -> bool:
        """Whether a step is being measured."""
        return bool(self._before)

    def before(self, names: Iterable[str]) -> None:
        """The step is about to be made."""
        wanted = dict.fromkeys(name for name in names if name in self._weights)
        self._before = {name: _sample(self._weights[name]).clone() for name in wanted}

    def after(self) -> dict[str, FloatArray]:
        """What the step has done to each weight, as `Changes` holds it; of a sharded weight, to the part here.

        What it has done to weights on a device that would have to be waited for stays there until `brought`.
        """
        before, self._before = self._before, {}
        found = {}
        for name, old in before.items():
            norms = [torch.linalg.vector_norm(e.float()) for e in (_sample(self._weights[name]) - old, old)]
            if waits(old.device):
                self._afar.append((name, torch.stack(norms), old.numel()))
            else:
                found[name] = np.array([float(norms[0]) ** 2, float(norms[1]) ** 2, old.numel()], np.float64)
        return found

    def brought(self, changes: Changes) -> Changes:
        """The changes with those that were left on devices, in one transfer from each."""
        afar, self._afar = self._afar, []
        for device in dict.fromkeys(norms.device for _, norms, _ in afar):
            here = [(name, norms, entries) for name, norms, entries in afar if norms.device == device]
            values = torch.stack([norms for _, norms, _ in here]).cpu().double().square().numpy()
            for (name, _, entries), squares in zip(here, values, strict=True):
                changes.setdefault(name, []).append(np.array([*squares, entries]))
        return changes


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

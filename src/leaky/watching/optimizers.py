"""What the optimizer does to the weights behind each site, and what its state knows of units that never learned.

Must cost next to nothing: one step a report is looked at, and of a large weight an even sample of its entries.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.observation.tensors import part_here, whole
from leaky.record import FloatArray, IntArray
from leaky.structure.modules import without_wrappers
from leaky.watching.clock import quietly
from leaky.watching.sums import waits

SAMPLED = 1 << 14
"""Entries of a weight that its norms are taken of; more are sampled evenly."""

HALVES = (torch.bfloat16, torch.float16)
"""Whose steps may be less than half a unit in the last place of most entries: bfloat16's next to 1 is 1 + 2⁻⁷."""

_MOMENTS = ("exp_avg_sq", "sum", "square_avg", "momentum_buffer")
"""Where optimizers keep what is 0 only for an entry that never had a gradient: Adam, Adagrad, RMSprop, SGD."""


Changes = dict[str, list[FloatArray]]
"""Of each weight, what every measured step did to it: ‖ΔW‖², ‖W‖², the entries that both are of, and ‖W‖² after it less
‖W‖² before; then ‖W‖² less what the measured step before had left: what others than the optimizer did, NaN where that
is not known; the least ‖W‖² that a step is compared with; of weights in half precision the entries that the step
moved and those that had a gradient, NaN elsewhere; of the measured step before, ⟨ΔW, g⟩, ‖ΔW‖² and ‖g‖², g being the
gradient that came after it, NaN where that is not known; and the entries that others changed after that step by A,
other than to 0 or to a bound, ⟨ΔW, A⟩ and ‖A‖², NaN likewise."""
COLUMNS = 14

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


def add_to(changes: Changes, steps: Mapping[str, FloatArray]) -> None:
    """Add a measured step on each weight."""
    for name, step in steps.items():
        changes.setdefault(name, []).append(step)


def measured_by(changes: Changes) -> dict[str, tuple[float, float]]:
    """Of each weight, the largest ‖ΔW‖ ÷ ‖W‖ of its steps, and √E w² at the last of them."""
    found = {}
    for name, steps in changes.items():
        ratios = [ratio for ratio in map(ratio_of, steps) if not math.isnan(ratio)]
        found[name] = max(ratios, default=math.nan), size_of(steps[-1])
    return found


_NOTHING = (torch.zeros((), device="cpu"),) * 4


@cache
def _unknown(device: torch.device) -> Tensor:
    return torch.full((), math.nan, device=device)


def parameters_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters that an optimizer holds, in its own order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


_HELD_AS = ("optimizer", "_optimizer", "original_optimizer", "base_optimizer", "optim")


def unwrapped(optimizer: object) -> torch.optim.Optimizer | None:
    """The optimizer whose steps torch's hooks tell: itself, or what a wrapper of it holds; None without one."""
    seen: list[object] = []
    while optimizer is not None and all(optimizer is not each for each in seen):
        if isinstance(optimizer, torch.optim.Optimizer) and "_optimizer_step_pre_hooks" in vars(optimizer):
            return optimizer
        seen.append(optimizer)
        held = (getattr(optimizer, name, None) for name in _HELD_AS)
        optimizer = next((each for each in held if hasattr(each, "param_groups")), None)
    return None


class Updates:
    """Measures one step of the optimizer on the weights behind sites.

    Args:
        model: whose weights they are.

    Attributes:
        measuring: whether a step is being measured.
        looks_back: whether the last one was, so that it is known what the weights were after it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = {
            without_wrappers(name): p for name, p in model.named_parameters() if p.ndim >= 2 and not p.is_meta
        }
        self.measuring = self.looks_back = False
        self._before: dict[str, Tensor] = {}
        self._reached: dict[str, Tensor] = {}
        self._afar: list[tuple[dict[str, int], Tensor]] = []
        self._left: dict[str, Tensor] = {}
        self._aside: dict[str, tuple[Tensor, ...]] = {}
        self._change: dict[str, Tensor] = {}
        self._answered: dict[str, tuple[Tensor, ...]] = {}

    @property
    def fans(self) -> dict[str, int]:
        """Entries a unit of each weight."""
        return {name: weight.numel() // max(1, len(weight)) for name, weight in self._weights.items()}

    @property
    def entries(self) -> dict[str, int]:
        """Entries of each weight."""
        return {name: weight.numel() for name, weight in self._weights.items()}

    @quietly
    def begin(self) -> None:
        """A step is about to be made, measured or not: see what became of the weights since the last measured one."""
        self.looks_back = False
        left, self._left = self._left, {}
        changes, self._change = self._change, {}
        for name, before in left.items():
            now = _sample(self._weights[name])
            if not waits(now.device) and torch.equal(now, before):
                self._aside[name] = _NOTHING
                continue
            aside, new, old = (now - before).float(), _norm(now), _norm(before)
            freely = (now != before) & (now != 0) & (now > now.amin()) & (now < now.amax())
            undone = freely.sum().to(aside), torch.dot(changes[name].float(), aside), torch.dot(aside, aside)
            self._aside[name] = ((new - old) * (new + old), *undone)
        for name, change in changes.items():
            answer = _sample_of_gradient(self._weights[name])
            if answer is not None and answer.shape == change.shape:
                change, answer = change.float(), answer.float()
                self._answered[name] = torch.dot(change, answer), torch.dot(change, change), torch.dot(answer, answer)

    def before(self) -> None:
        """The step is to be measured."""
        self.measuring = True
        self._before = {name: _sample(weight).clone() for name, weight in self._weights.items()}
        halves = {name: weight for name, weight in self._weights.items() if weight.dtype in HALVES}
        gradients = {name: _sample_of_gradient(weight) for name, weight in halves.items()}
        self._reached = {name: each != 0 for name, each in gradients.items() if each is not None}

    @quietly
    def after(self) -> dict[str, FloatArray]:
        """What the step has done to each weight, as `Changes` holds it; of a sharded weight, to the part here.

        What it has done to weights on a device that would have to be waited for stays there until `brought`.
        """
        before, self._before = self._before, {}
        self.measuring, self.looks_back = False, True
        self._left = {name: _sample(self._weights[name]).clone() for name in before}
        self._change = {name: new - before[name] for name, new in self._left.items()}
        found: dict[str, FloatArray] = {}
        for device in dict.fromkeys(old.device for old in before.values()):
            here = {name: old for name, old in before.items() if old.device == device}
            seen = self._seen(here, _unknown(device))
            if waits(device):
                self._afar.append(({name: old.numel() for name, old in here.items()}, seen))
            else:
                rows = self._rows({name: old.numel() for name, old in here.items()}, seen.double().numpy())
                found |= zip(here, rows, strict=True)
        return found

    def brought(self, changes: Changes) -> Changes:
        """The changes with those that were left on devices, in one transfer from each."""
        afar, self._afar = self._afar, []
        for device in dict.fromkeys(seen.device for _, seen in afar):
            here = [(entries, seen) for entries, seen in afar if seen.device == device]
            pieces = iter(torch.cat([seen for _, seen in here]).cpu().double().numpy())
            for entries, seen in here:
                rows = self._rows(entries, np.stack([next(pieces) for _ in range(len(seen))]))
                for name, row in zip(entries, rows, strict=True):
                    changes.setdefault(name, []).append(row)
        return changes

    def _seen(self, before: Mapping[str, Tensor], unknown: Tensor) -> Tensor:
        """‖ΔW‖, ‖W‖ before and after, and what others did, of each weight of a device, shape (weights, 12)."""
        values = (*(self._change[name] for name in before), *before.values(), *(self._left[name] for name in before))
        norms = torch._foreach_norm([each.float() for each in values])
        parts: list[Tensor] = []
        for place, (name, old) in enumerate(before.items()):
            aside = self._aside.pop(name, (unknown,) * 4)
            moved = self._moved(name, old, self._left[name], unknown)
            answered = self._answered.pop(name, (unknown,) * 3)
            parts += (*norms[place :: len(before)], aside[0], *moved, *answered, *aside[1:])
        return torch.stack(parts).reshape(len(before), -1)

    def _moved(self, name: str, old: Tensor, new: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor]:
        """The entries that had a gradient and changed, and those that had one; not known where nobody looked."""
        reached = self._reached.pop(name, None)
        if reached is None or reached.shape != new.shape:
            return unknown, unknown
        return ((new != old) & reached).sum().to(unknown), reached.sum().to(unknown)

    def _rows(self, entries: Mapping[str, int], seen: FloatArray) -> FloatArray:
        """The steps as `Changes` holds them, of what `_seen` holds."""
        change, old, new, aside = seen[:, :4].T
        least = [least_square(self._weights[name], each) for name, each in entries.items()]
        first = np.stack([change**2, old**2, [*entries.values()], new**2 - old**2, aside, least], axis=1)
        return np.concatenate([first, seen[:, 4:]], axis=1)


def unmeasured(change: float, size: float, entries: int, least: float) -> FloatArray:
    """A step of which only ‖ΔW‖ and ‖W‖ are known, as `Changes` holds it."""
    return np.array([change**2, size**2, entries, math.nan, math.nan, least, *[math.nan] * (COLUMNS - 6)])


def _norm(value: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(value.float())
    return norm


def _sample_of_gradient(weight: Tensor) -> Tensor | None:
    """The same entries of a weight's gradient as `_sample` has of it; None where it has none that is dense."""
    grad = weight.grad
    return _sample(grad) if grad is not None and grad.layout == torch.strided else None


def _sample(weight: Tensor) -> Tensor:
    flat = part_here(weight.detach()).reshape(-1)
    step = flat.numel() // SAMPLED
    return flat[::step] if step > 1 else flat


def untouched_units(optimizer: torch.optim.Optimizer | None, weights: Mapping[str, Tensor]) -> dict[str, IntArray]:
    """The units of each weight that never had a gradient since the optimizer began: the moment of their row is 0.

    Args:
        optimizer: Adam and its kin, Adagrad, RMSprop, or SGD with momentum.
        weights: parameters by name, the units along the first axis.

    Returns:
        Indices by name; weights that the optimizer keeps no moment of are left out. Sharded weights are put together,
        so that every rank must ask.

    Raises:
        InputError: without an optimizer.
    """
    if optimizer is None:
        raise InputError("the optimizer must be given to leaky.watch to look at its moments, and it was not")
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

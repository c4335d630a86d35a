"""BatchNorm's running statistics estimated anew from the data.

They go wrong by themselves: a fresh network has seen no batch, one bad batch spoils them, a changed input leaves them
behind. Nothing that was learned is touched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from leaky.observation.batches import batches_of
from leaky.observation.preserve import preserved
from leaky.repairing.ground import Ground
from leaky.repairing.operations.operation import Operation
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject
from leaky.structure.graph import Node

MOST_SHIFT = 1.0
"""|mean of the data − running mean| ÷ running deviation, in the middle channel, from which on they are stale."""

MOST_RATIO = 4.0
"""Variance of the data ÷ running variance, either way round, in the middle channel, from which on they are stale."""


def norms_of(model: nn.Module) -> dict[str, nn.modules.batchnorm._BatchNorm]:
    """The BatchNorms with running statistics, by their path."""
    found = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            found[path] = module
    return found


def stale(ground: Ground) -> dict[str, str]:
    """The BatchNorms whose running statistics are not those of the data, and by how much, by their path."""
    norms = norms_of(ground.model)
    if not norms:
        return {}
    watchers = {
        event.number: _Watcher(event.module)
        for event in ground.history.events
        if event.operator.signal == "batch_norm" and event.module in norms and isinstance(event.call.args[0], Node)
    }
    ground.replay(watchers)
    found: dict[str, str] = {}
    for watcher in watchers.values():
        reason = watcher.reason(norms[watcher.module])
        if reason is not None:
            found.setdefault(watcher.module, reason)
    return found


class _Watcher:
    """Takes mean and mean square of each channel in front of a BatchNorm."""

    def __init__(self, module: str) -> None:
        self.module = module
        self._count = 0
        self._sums: tuple[Tensor, Tensor] | None = None

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        value = args[0].detach().double()
        others = [d for d in range(value.ndim) if d != 1]
        new = (value.sum(others).cpu(), value.square().sum(others).cpu())
        self._sums = new if self._sums is None else (self._sums[0] + new[0], self._sums[1] + new[1])
        self._count += value.numel() // max(1, value.shape[1])
        return function(*args, **kwargs)

    def reason(self, norm: nn.modules.batchnorm._BatchNorm) -> str | None:
        """Why the statistics are stale; None where they are not."""
        if norm.num_batches_tracked is not None and int(norm.num_batches_tracked) == 0:
            return "it has seen no batch"
        if self._sums is None or self._count < 2 or norm.running_mean is None or norm.running_var is None:
            return None
        mean = self._sums[0] / self._count
        variance = (self._sums[1] / self._count - mean.square()).clamp(min=0) + norm.eps
        kept = norm.running_var.double().cpu() + norm.eps
        shift = float(((mean - norm.running_mean.double().cpu()).abs() / kept.sqrt()).median())
        ratio = math.exp(float((variance / kept).log().abs().median()))
        if not (shift <= MOST_SHIFT and ratio <= MOST_RATIO):
            return f"the data's means are {shift:.3g} running deviations away, their variances {ratio:.3g} times off"
        return None


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    if norms_of(subject.model):
        return wanted, ()
    return None, (Left("(model)", wanted.units, "it has no BatchNorm with running statistics"),)


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    norms = norms_of(subject.model)
    data, sample_dim = subject.data, subject.ground.history.sample_dim
    with subject.undone_on_error():
        found = _estimated(subject.model, norms, data, sample_dim)
        with torch.no_grad():
            for path, (mean, variance, batches) in found.items():
                norm = norms[path]
                assert norm.running_mean is not None
                assert norm.running_var is not None
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(variance)
                if norm.num_batches_tracked is not None:
                    norm.num_batches_tracked.copy_(batches)
    subject.changed()


def _estimated(
    model: nn.Module, norms: Mapping[str, nn.modules.batchnorm._BatchNorm], data: Any, sample_dim: int | None
) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """The statistics as training itself would take them: every norm by the batch, the average over batches."""
    momenta = {path: norm.momentum for path, norm in norms.items()}
    try:
        with preserved(model, "eval", 0), torch.no_grad():
            for norm in norms.values():
                norm.reset_running_stats()
                norm.momentum = None
                norm.train()
            for batch in batches_of(data, model, sample_dim=sample_dim, batch_size=None, max_samples=None):
                if batch.samples(sample_dim) > 1:
                    batch.run(model)
            return {path: _kept(norm) for path, norm in norms.items() if _seen(norm)}
    finally:
        for path, momentum in momenta.items():
            norms[path].momentum = momentum


def _seen(norm: nn.modules.batchnorm._BatchNorm) -> bool:
    return norm.num_batches_tracked is None or int(norm.num_batches_tracked) > 0


def _kept(norm: nn.modules.batchnorm._BatchNorm) -> tuple[Tensor, Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    batches = norm.num_batches_tracked
    return norm.running_mean.clone(), norm.running_var.clone(), torch.ones(()) if batches is None else batches.clone()


ESTIMATE_STATISTICS = Operation(
    kind="estimate statistics",
    needs="BatchNorms with running statistics",
    promises="every parameter; in training mode the function too",
    keeps_function=False,
    able=_able,
    carry_out=_carry_out,
)

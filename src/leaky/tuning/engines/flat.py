"""One optimizer step for all weights of some stacks: each group of parameters is one long vector.

Only for optimizers that treat each weight by itself; what each weight becomes must be, to the bit, what it becomes in
a tensor of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class FlatOptimizer:
    """The user's optimizer on long vectors.

    Args:
        make: the user's function of the parameters; its settings are kept, also those of groups.
        stacks: the parameters of each stack, alike in all; from the first step on they are views of the vectors.
    """

    def __init__(self, make: Callable[[Any], torch.optim.Optimizer], stacks: Sequence[Sequence[nn.Parameter]]) -> None:
        self._make = make
        self._stacks = [[p for p in parameters if p.requires_grad] for parameters in stacks]
        self._vectors: list[tuple[nn.Parameter, list[tuple[int, int]]]] = []
        self._optimizer: torch.optim.Optimizer | None = None

    def step(self, losses: Iterable[Tensor]) -> None:
        """One step down the gradients of the stacks' losses; each is asked for when the one before is done with."""
        gradients = [
            torch.autograd.grad(loss, asked, allow_unused=True)
            for loss, asked in zip(losses, self._stacks, strict=True)
        ]
        if self._optimizer is None:
            self._optimizer = self._flattened([gradient is not None for gradient in gradients[0]])
        for vector, members in self._vectors:
            assert vector.grad is not None
            torch.cat([gradients[stack][at].reshape(-1) for stack, at in members], out=vector.grad)
        self._optimizer.step()

    def _flattened(self, used: list[bool]) -> torch.optim.Optimizer:
        """The optimizer of the vectors; a weight without a gradient is left alone, as it is where it trains alone."""
        alike = self._make(self._stacks[0])
        place = {id(p): at for at, p in enumerate(self._stacks[0])}
        groups = []
        for group in alike.param_groups:
            members = [place[id(p)] for p in group["params"] if used[place[id(p)]]]
            by_type: dict[torch.dtype, list[int]] = {}
            for at in members:
                by_type.setdefault(self._stacks[0][at].dtype, []).append(at)
            for same in by_type.values():
                listed = [(stack, at) for stack in range(len(self._stacks)) for at in same]
                vector = _joined([self._stacks[stack][at] for stack, at in listed])
                self._vectors.append((vector, listed))
                groups.append({**group, "params": [vector]})
        kind: Any = type(alike)
        return kind(groups) if groups else alike


def _joined(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """One vector of all their numbers, of which they become views, with a place for its gradient."""
    vector = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    begin = 0
    for parameter in parameters:
        end = begin + parameter.numel()
        parameter.data = vector.data[begin:end].view(parameter.shape)
        begin = end
    vector.grad = torch.empty_like(vector)
    return vector

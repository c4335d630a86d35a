"""One optimizer step for all weights of a stack: each group of parameters is one long vector.

Only for optimizers that treat each weight by itself; what each weight becomes must be, to the bit, what it becomes in
a tensor of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class FlatOptimizer:
    """The user's optimizer on long vectors.

    Args:
        make: the user's function of the parameters; its settings are kept, also those of groups.
        parameters: of the stack; from the first step on they are views of the vectors.
    """

    def __init__(self, make: Callable[[Any], torch.optim.Optimizer], parameters: Sequence[nn.Parameter]) -> None:
        self._make = make
        self._parameters = list(parameters)
        self._members: list[list[int]] = []
        self._vectors: list[nn.Parameter] = []
        self._optimizer: torch.optim.Optimizer | None = None

    def step(self, loss: Tensor) -> None:
        """One step down the gradient of the loss."""
        asked = [p for p in self._parameters if p.requires_grad]
        gradients = torch.autograd.grad(loss, asked, allow_unused=True)
        if self._optimizer is None:
            self._parameters = asked
            self._optimizer = self._flattened({id(p) for p, g in zip(asked, gradients, strict=True) if g is None})
        for vector, members in zip(self._vectors, self._members, strict=True):
            assert vector.grad is not None
            torch.cat([gradients[at].reshape(-1) for at in members], out=vector.grad)
        self._optimizer.step()

    def _flattened(self, unused: set[int]) -> torch.optim.Optimizer:
        """The optimizer of the vectors; a weight without a gradient is left alone, as it is where it trains alone."""
        alike = self._make(self._parameters)
        place = {id(p): at for at, p in enumerate(self._parameters)}
        groups = []
        for group in alike.param_groups:
            members = [p for p in group["params"] if id(p) not in unused]
            kinds = itertools.groupby(sorted(members, key=lambda p: str(p.dtype)), key=lambda p: str(p.dtype))
            for _, same in kinds:
                listed = list(same)
                self._members.append([place[id(p)] for p in listed])
                self._vectors.append(_joined(listed))
                groups.append({**group, "params": [self._vectors[-1]]})
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

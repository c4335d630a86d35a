"""Whether gradients that a step has used are still there when the next ones arrive, so that they add up; or none come.

Must be sure, and cost nothing: a few parameters from first to last are looked at over the first steps. A gradient has
been left alone where the same tensor, written to by nobody, is what the next gradient is added to; whoever zeroes,
replaces or scales it between two steps is seen by its version.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from leaky.watching.optimizers import parameters_of

LOOKED_AT = 10
"""Steps after which nothing is looked at any more: a loop is the same at every step."""
PARAMETERS = 4
"""That are looked at, the smallest of as many parts of the list: some may be zeroed and others not."""


class Leftovers:
    """What becomes of the gradients of a few parameters from step to step.

    Args:
        optimizer: whose parameters they are; None where nothing is to be looked at.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None) -> None:
        self._optimizer, self._left = optimizer, LOOKED_AT
        self._came = optimizer is None
        self._looked_at: list[_Leftover] = []

    @property
    def steps(self) -> int:
        """Steps in a row whose gradient was added to that of the step before, of the parameter with most of them."""
        return max((each.steps for each in self._looked_at), default=0)

    @property
    def nothing_comes(self) -> bool:
        """Whether none of the optimizer's parameters had a gradient at any of the steps that were looked at."""
        return not (self._came or self._left)

    def step_made(self) -> None:
        """The optimizer has made a step."""
        if self._optimizer is None:
            return
        self._came = self._came or any(p.grad is not None for p in parameters_of(self._optimizer))
        if not self._looked_at:
            self._looked_at = [_Leftover(parameter) for parameter in _chosen(self._optimizer)]
        for each in self._looked_at:
            each.step_made()
        self._left -= 1
        if not self._left:
            self.stop()

    def stop(self) -> None:
        """Look no more."""
        self._optimizer = None
        for each in self._looked_at:
            each.stop()


def _chosen(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    parameters = [p for p in parameters_of(optimizer) if p.is_leaf and p.requires_grad and p.numel()]
    plain = [p for p in parameters if type(p.grad) is Tensor and p.grad.layout == torch.strided]
    size = -(-len(plain) // PARAMETERS)
    return [min(plain[start : start + size], key=Tensor.numel) for start in range(0, len(plain), max(1, size))]


class _Leftover:
    """One parameter's gradient."""

    def __init__(self, parameter: Tensor) -> None:
        self.steps = -1  # the first step has none before it
        self._parameter: Tensor | None = parameter
        self._grad: Tensor | None = None
        self._version = 0
        self._arrived, self._added = True, True
        with torch.enable_grad():
            self._node: Any = torch.autograd.graph.get_gradient_edge(parameter).node
        self._handle: Any = self._node.register_prehook(self._arrives)

    def step_made(self) -> None:
        """The optimizer has made a step."""
        if self._parameter is None:
            return
        if self._arrived:
            self.steps = self.steps + 1 if self._added else 0
        self._keep(self._parameter.grad)
        self._arrived, self._added = False, True

    def stop(self) -> None:
        """Look no more."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.remove()
        self._parameter = self._node = self._grad = None

    def _arrives(self, gradients: tuple[Tensor | None, ...]) -> None:
        """A gradient is about to be added to what is there."""
        if self._parameter is None:
            return
        grad = self._parameter.grad
        self._added &= grad is not None and grad is self._grad and grad._version == self._version
        self._arrived = True
        self._keep(grad)
        self._version += 1  # which this addition makes

    def _keep(self, grad: Tensor | None) -> None:
        self._grad, self._version = grad, 0 if grad is None else grad._version

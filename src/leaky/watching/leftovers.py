"""Whether gradients that a step has used are still there when the next ones arrive, so that they add up for ever.

Must be sure, and cost nothing: one parameter is looked at over the first steps. Its gradient has been left alone where
the same tensor, written to by nobody, is what the next gradient is added to; whoever zeroes, replaces or scales it
between two steps is seen by its version.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

LOOKED_AT = 10
"""Steps after which nothing is looked at any more: a loop is the same at every step."""


class Leftovers:
    """What becomes of one parameter's gradient from step to step.

    Args:
        optimizer: whose parameters they are; None where nothing is to be looked at.

    Attributes:
        steps: in a row whose gradient was added to that of the step before.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None) -> None:
        self.steps = 0
        self._optimizer, self._left = optimizer, LOOKED_AT
        self._parameter: Tensor | None = None
        self._node: Any = None
        self._handle: Any = None
        self._grad: Tensor | None = None
        self._version = 0
        self._arrived, self._added = False, True

    def step_made(self) -> None:
        """The optimizer has made a step."""
        if self._optimizer is None:
            return
        if self._parameter is None:
            self._begin(self._optimizer)
        elif self._arrived:
            self.steps = self.steps + 1 if self._added else 0
        self._left -= 1
        if not self._left:
            self.stop()
        elif self._parameter is not None:
            self._keep(self._parameter.grad)
            self._arrived, self._added = False, True

    def stop(self) -> None:
        """Look no more."""
        handle, self._handle, self._optimizer = self._handle, None, None
        if handle is not None:
            handle.remove()
        self._parameter = self._node = self._grad = None

    def _begin(self, optimizer: torch.optim.Optimizer) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        plain = [p for p in parameters if p.is_leaf and p.requires_grad and type(p.grad) is Tensor]
        plain = [p for p in plain if p.grad.layout == torch.strided and p.numel()]
        if not plain:
            return
        self._parameter = min(plain, key=Tensor.numel)
        with torch.enable_grad():
            self._node = torch.autograd.graph.get_gradient_edge(self._parameter).node
        self._handle = self._node.register_prehook(self._arrives)

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

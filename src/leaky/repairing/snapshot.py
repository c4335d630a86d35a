"""A model and an optimizer as they were, to the last bit: what a repair that failed is rolled back to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Snapshot:
    """Holds copies of everything that a repair may change.

    Kept: parameters, buffers and their gradients bit for bit, which module and which tensor object stands where, plain
    numbers that modules keep of their sizes, and the optimizer's state.

    Args:
        model: the model.
        optimizer: whose state is kept too.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        self.model = model
        self.optimizer = optimizer
        self._children = [(module, dict(module._modules)) for module in model.modules()]
        self._parameters = [(module, dict(module._parameters)) for module in model.modules()]
        self._buffers = [(module, dict(module._buffers)) for module in model.modules()]
        self._modes = [(module, module.training) for module in model.modules()]
        tensors = [*model.parameters(), *model.buffers()]
        self._values = [(tensor, tensor.detach().clone()) for tensor in tensors]
        self._gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
        self._state = {} if optimizer is None else {p: _copied(s) for p, s in optimizer.state.items()}

    def restore(self) -> None:
        """Put everything back."""
        with torch.no_grad():
            for module, children in self._children:
                module._modules.clear()
                module._modules.update(children)
            for module, parameters in self._parameters:
                module._parameters.clear()
                module._parameters.update(parameters)
            for module, buffers in self._buffers:
                module._buffers.clear()
                module._buffers.update(buffers)
            for module, training in self._modes:
                module.training = training
            for tensor, value in self._values:
                tensor.copy_(value)
            for parameter, gradient, copy in self._gradients:
                parameter.grad = gradient
                if gradient is not None and copy is not None:
                    gradient.copy_(copy)
            if self.optimizer is not None:
                self._restore_optimizer(self.optimizer)

    def _restore_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        for parameter in [p for p in optimizer.state if p not in self._state]:
            del optimizer.state[parameter]
        for parameter, kept in self._state.items():
            state = optimizer.state[parameter]
            for key in [key for key in state if key not in kept]:
                del state[key]
            for key, (original, value) in kept.items():
                if isinstance(original, Tensor):
                    original.copy_(value)
                state[key] = original


def _copied(state: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each entry itself, with a copy of its value where it is a tensor."""
    return {k: (v, v.detach().clone() if isinstance(v, Tensor) else v) for k, v in state.items()}

"""A model and an optimizer as they were, to the last bit: what a repair that failed is rolled back to."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Snapshot:
    """Holds copies of everything that a repair may change.

    Kept: parameters, buffers and their gradients bit for bit, which module and which tensor object stands where, modes,
    which parameters learn, and the optimizer's state and groups.

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
        self._learning = [(p, p.requires_grad) for p in model.parameters()]
        self._gradients = [(p, p.grad, None if p.grad is None else p.grad.clone()) for p in model.parameters()]
        self._groups = [] if optimizer is None else [(group, _copied(group)) for group in optimizer.param_groups]
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
                if tensor.dtype != value.dtype or tensor.shape != value.shape:
                    tensor.data = value.clone()
                tensor.copy_(value)
            for parameter, learns in self._learning:
                parameter.requires_grad_(learns)
            for parameter, gradient, copy in self._gradients:
                if gradient is not None and copy is not None:
                    if gradient.dtype != copy.dtype:
                        gradient.data = copy.clone()
                    gradient.copy_(copy)
                parameter.grad = gradient
            if self.optimizer is not None:
                self._restore_optimizer(self.optimizer)

    def _restore_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        optimizer.param_groups[:] = [group for group, _ in self._groups]
        for group, kept in self._groups:
            _put_back(group, kept)
        for parameter in [p for p in optimizer.state if p not in self._state]:
            del optimizer.state[parameter]
        for parameter, kept in self._state.items():
            _put_back(optimizer.state[parameter], kept)


def _copied(entries: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each entry itself, with a copy of its value where it can change by itself."""

    def value(entry: Any) -> Any:
        if isinstance(entry, Tensor):
            return entry.detach().clone()
        return list(entry) if isinstance(entry, list) else entry

    return {key: (entry, value(entry)) for key, entry in entries.items()}


def _put_back(entries: dict[str, Any], kept: dict[str, tuple[Any, Any]]) -> None:
    for key in [key for key in entries if key not in kept]:
        del entries[key]
    for key, (original, value) in kept.items():
        if isinstance(original, Tensor):
            original.copy_(value)
        elif isinstance(original, list):
            original[:] = value
        entries[key] = original

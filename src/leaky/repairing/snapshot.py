"""A model and an optimizer as they were, to the last bit: what a repair that failed is rolled back to.

What could not be put back is refused before anything is touched; what arrives while it is put back, Ctrl-C for one, is
raised afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.interruptions import surely_twice, undone_unless_done
from leaky.observation.preserve import must_have_weights
from leaky.observation.process_state import ProcessState

T = TypeVar("T")


class Snapshot:
    """Holds copies of everything that a repair may change.

    Kept: parameters, buffers and their gradients bit for bit, which module and which tensor object stands where, modes,
    which parameters learn, and the optimizer's state and groups.

    Args:
        model: the model.
        optimizer: whose state is kept too.

    Raises:
        InputError: if a parameter or buffer could not be put back: fake, expanded, sparse or made in inference mode.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> None:
        must_be_restorable(model)
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
        surely_twice(self._steps)

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield self._restore_tables
        yield self._restore_values
        yield self._restore_learning
        yield self._restore_optimizer

    def _restore_tables(self) -> None:
        for module, children in self._children:
            _refill(module._modules, children)
        for module, parameters in self._parameters:
            _refill(module._parameters, parameters)
        for module, buffers in self._buffers:
            _refill(module._buffers, buffers)
        for module, training in self._modes:
            module.training = training

    @torch.no_grad()
    def _restore_values(self) -> None:
        for tensor, value in self._values:
            if tensor.dtype != value.dtype or tensor.shape != value.shape:
                tensor.data = value.clone()
            tensor.copy_(value)

    @torch.no_grad()
    def _restore_learning(self) -> None:
        for parameter, learns in self._learning:
            parameter.requires_grad_(learns)
        for parameter, gradient, copy in self._gradients:
            if gradient is not None and copy is not None:
                if gradient.dtype != copy.dtype:
                    gradient.data = copy.clone()
                gradient.copy_(copy)
            parameter.grad = gradient

    @torch.no_grad()
    def _restore_optimizer(self) -> None:
        if self.optimizer is None:
            return
        self.optimizer.param_groups[:] = [group for group, _ in self._groups]
        for group, kept in self._groups:
            _put_back(group, kept)
        for parameter in [p for p in self.optimizer.state if p not in self._state]:
            del self.optimizer.state[parameter]
        for parameter, kept in self._state.items():
            _put_back(self.optimizer.state[parameter], kept)


def whole_or_not_at_all(model: nn.Module, act: Callable[[], T]) -> T:
    """What `act` returns; where it raises, or is interrupted, model and torch's modes are as they were.

    Raises:
        InputError: if the model could not be put back; `act` has then not begun.
    """
    snapshot, process = Snapshot(model), ProcessState()

    def put_back() -> None:
        process.close_modes()  # what is still open would have a say in what follows
        snapshot.restore()
        process.restore_settings()

    return undone_unless_done(act, put_back)


def must_be_restorable(model: nn.Module) -> None:
    """Refuse a model that could not be put back after a change.

    Raises:
        InputError: it names the tensor and what is the matter with it.
    """
    must_have_weights(model)
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        trouble = _trouble(tensor)
        if trouble:
            raise InputError(
                f"what is changed must be possible to put back, and {name} could not be: {trouble}; replace it by an "
                "ordinary tensor first, such as value.clone()"
            )


def _trouble(tensor: Tensor) -> str:
    if tensor.layout is not torch.strided:
        return f"it is {str(tensor.layout).removeprefix('torch.')}"
    if tensor.is_inference():
        return "it was made in inference mode"
    if any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True)):
        return "it is expanded, so that several elements share their memory"
    return ""


def _refill(table: dict[str, Any], kept: dict[str, Any]) -> None:
    # Without a moment in which it is empty: another thread may be running the model.
    table.update(kept)
    for name in [name for name in table if name not in kept]:
        del table[name]
    if list(table) != list(kept):
        table.clear()
        table.update(kept)


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

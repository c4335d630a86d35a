"""Saves and restores the state of a model that its own code may change.

Kept: each module's mode, parameters, buffers, gradients, and hooks; parameters and gradients bit for bit up to a
size, beyond it by a fingerprint that tells whether they changed. A mode is put back through the module's
own `train` where it has one: what that folds into the weights (LoRA) it then unfolds.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from leaky.observation.bits import copied, fingerprint, put_back, same_bits
from leaky.text import listed

COPIED_AT_MOST = 2**28
"""Bytes of parameters and gradients of a model that are copied, so that they can be put back."""


class ModelState:
    """A snapshot of a model's modes, parameters, buffers, gradients and hooks.

    Args:
        model: whose.
        values: whether the values of parameters and gradients belong to it; else leaky itself is about to change them.
    """

    def __init__(self, model: nn.Module, values: bool) -> None:
        self._model = model
        self._modules = list(model.modules())
        self._modes = [(module, getattr(module, "training", None)) for module in self._modules]
        self._tables = [(module, _tables(module)) for module in self._modules if not _is_scripted(module)]
        self._buffers = [
            (module, name, buffer, None if buffer is None else copied(buffer))
            for module in self._modules
            for name, buffer in module._buffers.items()
        ]
        own = {id(p) for module in self._modules if _has_own_train(module) for p in module.parameters(recurse=False)}
        named = list(model.named_parameters())
        gradients = [(name, p.grad) for name, p in named if p.grad is not None]
        self._parameters = [(name, p, p.data, p.requires_grad, p.grad) for name, p in named]
        budget = _Budget()
        self._values = [(name, p, budget.copy(p, always=id(p) in own), fingerprint(p)) for name, p in named if values]
        self._gradients = [(name, g, budget.copy(g), fingerprint(g)) for name, g in gradients if values]

    def notes(self) -> list[str]:
        """What the model's own code changed, in sentences."""
        found = []
        written = [(name, kept) for name, p, kept, before in self._values if _differs(p, kept, before)]
        for kept, words in ((True, "; it was put back"), (False, ", which was not put back: it is too large to copy")):
            names = [name for name, copy in written if (copy is not None) == kept]
            if names:
                found.append(f"the model itself writes to its parameters {listed(names, 4)} when it runs{words}")
        gradients = [name for name, p, _, _, grad in self._parameters if p.grad is not grad]
        gradients += [name for name, g, kept, before in self._gradients if _differs(g, kept, before)]
        if gradients:
            found.append(
                f"the model itself changes gradients ({listed(gradients, 4)}) when it runs; they were put back"
            )
        frozen = [name for name, p, _, learns, _ in self._parameters if p.requires_grad != learns]
        if frozen:
            found.append(f"the model itself changes whether {listed(frozen, 4)} learn when it runs; it was put back")
        return found

    @property
    def untouched(self) -> bool:
        """Whether every value is what it was."""
        buffers = (
            module._buffers.get(name) is buffer and (copy is None or buffer is None or same_bits(buffer, copy))
            for module, name, buffer, copy in self._buffers
        )
        return all(buffers) and not self.notes()

    def restore_modes(self) -> None:
        """The modes, through the modules' own `train` where they have one."""
        for module, training in self._modes:
            if training is not None and _has_own_train(module) and module.training != training:
                with contextlib.suppress(Exception):
                    module.train(training)
        for module, training in self._modes:
            if training is not None and module.training != training:
                module.training = training

    def restore_tables(self) -> None:
        """Which parameters, buffers, submodules and hooks each module has."""
        for module, tables in self._tables:
            own = vars(module)
            for name, (table, kept) in tables.items():
                if own.get(name) is not table:
                    own[name] = table
                if not _same_entries(table, kept):
                    table.clear()
                    table.update(kept)

    def restore_parameters(self) -> None:
        """Their storage, values, gradients and whether they learn."""
        for _, parameter, data, learns, gradient in self._parameters:
            if not _is_at(parameter, data):
                parameter.data = data
            if parameter.requires_grad != learns:
                parameter.requires_grad_(learns)
            if parameter.grad is not gradient:
                parameter.grad = gradient
        for _, tensor, copy, _ in (*self._values, *self._gradients):
            if copy is not None:
                put_back(tensor, copy)

    def restore_buffers(self) -> None:
        """Which tensors they are, and their values."""
        for module, name, buffer, copy in self._buffers:
            if buffer is not None and copy is not None:
                put_back(buffer, copy)
            if module._buffers.get(name) is not buffer:
                module._buffers[name] = buffer


class _Budget:
    def __init__(self) -> None:
        self._left = COPIED_AT_MOST

    def copy(self, tensor: Tensor, always: bool = False) -> Tensor | None:
        size = tensor.numel() * tensor.element_size()
        if size > self._left and not always:
            return None
        self._left -= size
        return copied(tensor)


def _tables(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """The module's own tables (parameters, buffers, submodules, hooks), each with what is in it."""
    return {
        name: (value, value.copy())
        for name, value in vars(module).items()
        if name[:1] == "_" and isinstance(value, dict | set)
    }


def _same_entries(one: Any, other: Any) -> bool:
    """Whether both hold the same objects under the same keys, in the same order."""
    if isinstance(one, set):
        return one == set(other)
    return list(one) == list(other) and all(value is other[key] for key, value in one.items())


def _is_scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _has_own_train(module: nn.Module) -> bool:
    return type(module).train is not nn.Module.train and not _is_scripted(module)


def _is_at(parameter: Tensor, data: Tensor) -> bool:
    if parameter.layout is not torch.strided or data.layout is not torch.strided:
        return parameter.layout == data.layout and parameter.device == data.device
    return parameter.device == data.device and parameter.data_ptr() == data.data_ptr() and parameter.shape == data.shape


def _differs(tensor: Tensor, kept: Tensor | None, before: tuple[int, ...]) -> bool:
    return not same_bits(tensor, kept) if kept is not None else fingerprint(tensor) != before

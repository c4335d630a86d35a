"""Observing changes nothing: what a forward pass may touch is noted before and put back after, whatever happens."""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.errors import InputError


class Preserved:
    """While open, the model is in `mode` on `device`; then everything is as it was.

    Kept: each module's mode, parameters and buffers bit for bit (BatchNorm statistics, spectral norm's vectors), which
    tensor objects they are, and the state of Python's, NumPy's and torch's random number generators.

    Attributes:
        mode_is_fixed: whether the model runs in the mode that it was frozen or exported in.

    Args:
        model: the model.
        mode: "eval" or "train".
        seed: for all generators while open; None leaves them as they come.
        device: to run on; None for where the model is.

    Raises:
        InputError: for another mode, an unusable device, or a model with parameters that have no shape yet.
    """

    def __init__(self, model: nn.Module, mode: str, seed: int | None, device: str | None) -> None:
        if mode not in ("eval", "train"):
            raise InputError(f"mode must be 'eval' or 'train', not {mode!r}")
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
            raise InputError("the model has lazy layers without a shape yet; run one batch through it first")
        if any(p.device.type == "meta" for p in model.parameters()):
            raise InputError("the model is on the meta device and has no weights; load them first")
        self.mode_is_fixed = False
        self._model = model
        self._mode = mode
        self._seed = seed
        self._device = None if device is None else _usable_device(device)

    def __enter__(self) -> Preserved:
        self._modes = [(module, getattr(module, "training", None)) for module in self._model.modules()]
        self._buffers = [
            (module, name, buffer, None if buffer is None else buffer.detach().clone())
            for module in self._model.modules()
            for name, buffer in module._buffers.items()
        ]
        self._parameters = [(name, p, p.data, p._version) for name, p in self._model.named_parameters()]
        self._random = _random_state()
        try:
            self.mode_is_fixed = not _set_modes(self._model, self._mode == "train")
            if self._device is not None:
                self._model.to(self._device)
            self._reseed()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def rewind(self) -> None:
        """Put buffers and generators back to where the first pass began, to run it once more."""
        self._restore_buffers()
        if self._device is not None:
            self._model.to(self._device)
        _set_random_state(self._random)
        self._reseed()

    @property
    def changed_parameters(self) -> list[str]:
        """Names of parameters that the model's own forward pass wrote to; those are not put back."""
        return [name for name, p, data, version in self._parameters if p.data is data and p._version != version]

    def _reseed(self) -> None:
        if self._seed is not None:
            random.seed(self._seed)
            np.random.seed(self._seed % 2**32)
            torch.manual_seed(self._seed)

    def _restore(self) -> None:
        for _, parameter, data, _ in self._parameters:
            if parameter.data_ptr() != data.data_ptr() or parameter.device != data.device:
                parameter.data = data
        self._restore_buffers()
        for module, training in self._modes:
            if training is not None:
                module.training = training
        _set_random_state(self._random)

    def _restore_buffers(self) -> None:
        for module, name, buffer, copy in self._buffers:
            if buffer is not None and copy is not None:
                with torch.no_grad():
                    _put_back(buffer, copy)
            if module._buffers.get(name) is not buffer:
                module._buffers[name] = buffer


def _put_back(buffer: Tensor, copy: Tensor) -> None:
    """Write `copy` into `buffer` only where it differs, so that an untouched buffer keeps its version."""
    if buffer.shape != copy.shape:
        buffer.data = copy
    elif not torch.equal(_bits(buffer), _bits(copy)):
        buffer.copy_(copy)


def _bits(value: Tensor) -> Tensor:
    """The bytes of a tensor: NaN equals itself, −0 differs from 0."""
    flat = value.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8) if flat.numel() and not flat.is_quantized else flat


def _set_modes(model: nn.Module, training: bool) -> bool:
    """Put the model into a mode; False where it has none to choose (frozen, exported)."""
    if not hasattr(model, "training"):
        return False
    try:
        model.train(training)
    except (RuntimeError, NotImplementedError, AttributeError):
        return False
    return True


def _usable_device(device: str) -> torch.device:
    try:
        usable = torch.device(device)
        torch.empty(0, device=usable)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} must be usable here: {str(error).splitlines()[0]}") from error
    return usable


def _random_state() -> tuple[Any, ...]:
    used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if used else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


def _set_random_state(state: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state_all(cuda)

"""Saves whatever a forward pass may change before it runs, and restores it afterwards, also after an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.interruptions import surely, surely_twice
from leaky.observation.model_lock import ModelLock
from leaky.observation.model_state import ModelState
from leaky.observation.process_state import ProcessState
from leaky.observation.random_state import RandomState


class Preserved:
    """Context in which the model is in `mode` on `device`; on exit its former state is restored.

    Kept: the model's `ModelState`, the process's `ProcessState` and `RandomState`.

    Attributes:
        mode_is_fixed: whether the model runs in the mode that it was frozen or exported in.

    Args:
        model: the model.
        mode: "eval" or "train".
        seed: for all generators while open; None leaves them as they come.
        device: to run on; None for where the model is.
        values: whether the parameters' values are kept too; not where they are changed on purpose.

    Raises:
        InputError: for another mode, an unusable device, or a model that has no weights to run with.
    """

    def __init__(self, model: nn.Module, mode: str, seed: int | None, device: str | None, values: bool = True) -> None:
        if mode not in ("eval", "train"):
            raise InputError(f"mode must be 'eval' or 'train', not {mode!r}")
        must_have_weights(model)
        self.mode_is_fixed = False
        self._model = model
        self._mode = mode
        self._device = None if device is None else _usable_device(device)
        self._model_state = ModelState(model, values)
        self._process_state = ProcessState()
        self._random = RandomState(seed)
        self._open = False

    def __enter__(self) -> Preserved:
        try:
            self._open = True
            self.mode_is_fixed = not _set_modes(self._model, self._mode == "train")
            if self._device is not None:
                self._model.to(self._device)
            self._random.begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Put everything back, if that has not been done."""
        if self._open:
            surely_twice(self._steps)
            self._open = False

    def rewind(self) -> None:
        """Restore buffers and random generators to the start of the first pass, to run it again."""
        self._model_state.restore_buffers()
        if self._device is not None:
            self._model.to(self._device)
        self._random.rewind()

    @property
    def untouched(self) -> bool:
        """Whether the model's code has left every value of the model as it was so far."""
        return self._model_state.untouched

    def put_back_values(self) -> None:
        """Put buffers and parameters back to what they were when this was opened."""
        self._model_state.restore_buffers()
        self._model_state.restore_parameters()
        if self._device is not None:
            self._model.to(self._device)

    @property
    def notes(self) -> list[str]:
        """Sentences on what the model's own code changed in the model and in the process."""
        around = [f"the model itself changes {name} when it runs; it was put back" for name in self._around()]
        return self._model_state.notes() + around

    def _around(self) -> list[str]:
        return [name for name in self._process_state.changed() if name != "whether gradients are recorded"]

    def _steps(self) -> Iterator[Callable[[], None]]:
        yield self._process_state.close_modes
        yield self._process_state.restore_hooks
        yield self._process_state.restore_settings
        yield self._model_state.restore_modes
        yield self._model_state.restore_tables
        yield self._model_state.restore_parameters
        yield self._model_state.restore_buffers
        yield self._random.restore


@contextmanager
def preserved(
    model: nn.Module, mode: str, seed: int | None, device: str | None = None, values: bool = True
) -> Iterator[Preserved]:
    """`Preserved`, when no other thread has the model, and also where an interruption cuts its own end short."""
    mine = ModelLock(model)
    try:
        with mine:
            kept = Preserved(model, mode, seed, device, values)
            try:
                with kept:
                    yield kept
            finally:
                surely([kept.close])
    finally:
        surely([mine.leave])


def must_have_weights(model: nn.Module) -> None:
    """Raise if a model has no weights to run with, so that it could not be run and restored.

    Raises:
        InputError: if its parameters are lazy, fake or on the meta device, or what is made here is.
    """
    tensors = [*model.parameters(), *model.buffers()]
    if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
        raise InputError("the model has lazy layers without a shape yet; run one batch through it first")
    if type(torch.empty(0)) is not Tensor or torch.empty(0).device.type == "meta" or any(map(_is_unreal, tensors)):
        raise InputError("the model is on the meta device, or fake, and has no weights; load them first, outside of it")


def _is_unreal(tensor: Tensor) -> bool:
    return tensor.device.type == "meta" or type(tensor).__name__ in ("FakeTensor", "FunctionalTensor")


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
        if usable.type == "meta":
            raise RuntimeError("it computes nothing")
        torch.empty(0, device=usable)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r} must be usable here: {str(error).splitlines()[0]}") from error
    return usable

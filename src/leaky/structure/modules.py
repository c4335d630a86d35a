"""Where in the model the forward pass is: the stack of modules that are running, by qualified name.

Global hooks, not the model's own: scripted modules refuse hooks, and a hook on a module would be seen by the user's
code. They stand only while the context is open and react only to the thread that opened it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

_LIBRARIES = ("torch", "leaky", "contextlib", "functools")


class ModuleStack:
    """The modules of one model that are running.

    Args:
        model: whose modules are named.
        entered: called with each module of the model that starts, and its inputs.
        not_examined: called with a module that cannot be followed, and why.

    Attributes:
        ran: every module of the model that has started since the stack was opened.
    """

    def __init__(
        self,
        model: nn.Module,
        entered: Callable[[nn.Module, tuple[Any, ...]], None],
        not_examined: Callable[[str, str], None],
    ) -> None:
        self._names: dict[int, str] = {}
        for name, module in model.named_modules():
            self._names.setdefault(id(module), without_wrappers(name))
        self._entered = entered
        self._not_examined = not_examined
        self._running: list[tuple[nn.Module, str]] = []
        self._handles: list[Any] = []
        self.thread = 0
        self.ran: set[nn.Module] = set()

    @property
    def module(self) -> nn.Module | None:
        """The innermost running module of the model."""
        return self._running[-1][0] if self._running else None

    @property
    def path(self) -> str:
        """Its qualified name; "" for the model itself."""
        return self._running[-1][1] if self._running else ""

    def innermost_first(self) -> Iterator[nn.Module]:
        """The running modules, from the innermost to the model."""
        return (module for module, _ in reversed(self._running))

    def running_already(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Note a module whose call began before the stack was opened."""
        self._before(module, args)

    def __enter__(self) -> ModuleStack:
        self.thread = threading.get_ident()
        self.ran.clear()
        try:
            self._handles.append(register_module_forward_pre_hook(self._before))
            self._handles.append(register_module_forward_hook(self._after, always_call=True))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._running.clear()

    def _before(self, module: nn.Module, args: Any) -> None:
        name = self._names.get(id(module))
        if name is None:
            return
        if threading.get_ident() != self.thread:
            self._not_examined(name or "(model)", "it ran in another thread than the model, where it is not followed")
            return
        self._running.append((module, name))
        self.ran.add(module)
        self._entered(module, args if isinstance(args, tuple) else (args,))

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        if id(module) not in self._names or threading.get_ident() != self.thread:
            return
        while self._running:
            if self._running.pop()[0] is module:
                return


_WRAPPED_AS = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_forward_module"})
"""Where `torch.compile`, a checkpoint wrapper, FSDP and Fabric hold the module that they wrap."""


def without_wrappers(name: str) -> str:
    """A qualified name without the steps that wrappers put in, so that names stay the same with and without."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPED_AS)


def user_line() -> tuple[str | None, int]:
    """The line of the running module's own code that calls, "model.py:31", and its instruction.

    Where a module of torch calls by itself there is no such line, and none where the code was generated (an exported or
    traced program): what stands behind it, the caller of the whole model at last, is not the model's.
    """
    frame: FrameType | None = sys._getframe(1)
    innermost = None
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        file = frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
        if frame.f_code.co_name == "_call_impl" and package == "torch":
            return None, innermost or 0
        if file.startswith("<eval_with_key>"):
            return None, frame.f_lasti
        if package == "torch":
            innermost = frame.f_lasti
        if package not in _LIBRARIES:
            return f"{file}:{frame.f_lineno}", frame.f_lasti
        frame = frame.f_back
    return None, 0


def in_autograd_function() -> bool:
    """Whether the running module's code is inside a `torch.autograd.Function`, which has a gradient of its own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "_call_impl":
        if frame.f_code.co_name == "apply" and frame.f_globals.get("__name__") == "torch.autograd.function":
            return True
        frame = frame.f_back
    return False


def batch_first_of(module: nn.Module) -> bool | None:
    """Whether a module of torch that takes sequences wants the batch in front; None where it does not care."""
    if not type(module).__module__.startswith("torch."):
        return None
    owner = module if hasattr(module, "batch_first") else getattr(module, "self_attn", None)
    flag = getattr(owner, "batch_first", None)
    return flag if isinstance(flag, bool) else None


def is_scripted(module: nn.Module | None) -> bool:
    """Whether the module is TorchScript, whose operations have no line of Python."""
    return isinstance(module, torch.jit.ScriptModule)


def is_quantiser(module: nn.Module | None) -> bool:
    """Whether the module is one of torch's that take the range of values to round them: its arithmetic is no layer."""
    return type(module).__module__.startswith("torch.ao.quantization.")


def is_gated(module: nn.Module | None) -> bool:
    """Whether the module is a recurrent layer of torch with gates, whose insides run in one operator or in many."""
    return isinstance(module, (nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell))

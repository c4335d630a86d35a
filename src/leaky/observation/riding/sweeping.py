"""Takes off what a rider left where Ctrl-C came between putting something on and noting it: found by whose it is."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from leaky.observation.process_state import global_hooks
from leaky.observation.riding.discovery import NumberedFunctions
from leaky.observation.riding.hooks import BeforeInPlace, Functions, Hook
from leaky.structure.dispatching import end_modes
from leaky.structure.trace import Tracer

_BESIDE = ("_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")
"""Where torch notes under a hook's key how it is called."""


def sweep(model: nn.Module, rider: Any, tracer: Tracer | None) -> None:
    """Take every hook of a rider off a model and off all modules, and end its modes that are still open.

    A mode that the user opened on top of one stays, and so does what is below it.
    """
    for module in model.modules():
        for entries in (module._forward_pre_hooks, module._forward_hooks):
            for key in [key for key, hook in entries.items() if _rider_of(hook) is rider]:
                for each in (entries, *(getattr(module, name) for name in _BESIDE)):
                    each.pop(key, None)
    if tracer is None:
        return
    everywhere = global_hooks()
    for entries in everywhere:
        for key in [key for key, hook in entries.items() if getattr(hook, "__self__", None) is tracer.modules]:
            for each in everywhere:  # what goes with a hook has its key
                each.pop(key, None)
    end_modes(lambda modes: modes[-1] is tracer)
    while _is_ours(_last_function_mode(), rider):
        torch._C._pop_torch_function_stack()


def _rider_of(hook: Any) -> Any:
    if isinstance(hook, BeforeInPlace):
        hook = hook.hook
    return hook.rider if isinstance(hook, Hook) else None


def _is_ours(mode: Any, rider: Any) -> bool:
    return isinstance(mode, NumberedFunctions) or (isinstance(mode, Functions) and mode.rider is rider)


def _last_function_mode() -> Any:
    opened = torch._C._len_torch_function_stack()
    return torch._C._get_function_stack_at(opened - 1) if opened else None

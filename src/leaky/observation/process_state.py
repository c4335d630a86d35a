"""Saves and restores what a forward pass may change in the process: torch's settings, global hooks and modes.

An interruption inside one of torch's own contexts can leave it open; here it is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.modules import module as module_globals
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from leaky.structure.dispatching import end_modes

SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "whether gradients are recorded": (torch.is_grad_enabled, torch._C._set_grad_enabled),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the number of torch's threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's choice of deterministic algorithms": (
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda kept: torch.use_deterministic_algorithms(kept[0], warn_only=kept[1]),
    ),
    "autograd's detection of anomalies": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
}
"""Settings of the process by name: how each is read and set."""


class ProcessState:
    """A snapshot of torch's settings, the hooks on all modules and the open modes."""

    def __init__(self) -> None:
        self._settings = {name: read() for name, (read, _) in SETTINGS.items()}
        self._hooks = [(entries, dict(entries)) for entries in global_hooks()]
        self._function_modes = torch._C._len_torch_function_stack()
        self._dispatch_modes = len(_get_current_dispatch_mode_stack())

    def changed(self) -> list[str]:
        """Names of the settings that have changed since the snapshot."""
        return [name for name, (read, _) in SETTINGS.items() if read() != self._settings[name]]

    def close_modes(self) -> None:
        """Exit modes that were entered after the snapshot and are still open."""
        end_modes(lambda modes: len(modes) > self._dispatch_modes)
        while torch._C._len_torch_function_stack() > self._function_modes:
            torch._C._pop_torch_function_stack()

    def restore_hooks(self) -> None:
        """Those on all modules, but for what an observation in another thread has there at the time."""
        for entries, kept in self._hooks:
            for key in [key for key in entries if key not in kept and not _is_elsewhere(entries[key])]:
                for each, _ in self._hooks:  # what goes with a hook has its key
                    each.pop(key, None)
            for key, hook in kept.items():
                if not _is_elsewhere(hook) and callable(hook):
                    entries.setdefault(key, hook)

    def restore_settings(self) -> None:
        """Those that changed."""
        for name, (read, write) in SETTINGS.items():
            if read() != self._settings[name]:
                write(self._settings[name])


def global_hooks() -> list[dict[Any, Any]]:
    """Where torch keeps the hooks on all modules, and what goes with each under the same key."""
    return [
        entries
        for name, entries in vars(module_globals).items()
        if name.startswith("_global") and isinstance(entries, dict)
    ]


def _is_elsewhere(hook: Any) -> bool:
    """Whether it belongs to an observation in another thread."""
    return getattr(getattr(hook, "__self__", None), "thread", threading.get_ident()) != threading.get_ident()

"""The base of leaky's own modes in torch's dispatcher.

torch keeps its compiler out of the frames of such modes and imports all of it for that, which takes seconds of a first
check. Where nothing of it has been imported there is nothing to keep out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from torch._compile import _disable_dynamo
from torch.utils import _python_dispatch as dispatch
from torch.utils._python_dispatch import TorchDispatchMode

_NOTED: dict[str, Callable[[Any], bool]] = {
    "_is_in_torch_dispatch_mode": lambda mode: True,
    "_is_in_non_infra_torch_dispatch_mode": lambda mode: not mode.is_infra_mode(),
    "_is_in_any_mode_without_ignore_compile_internals": lambda mode: not mode.ignore_compile_internals(),
}
"""What torch notes beside the open modes, where it does: whether any of them is one of which this is true."""


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A dispatch mode that keeps torch's compiler out of its frames from when there is one."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # at least not when the class is made

    def __enter__(self) -> Any:
        cls = type(self)
        kept_out = vars(cls).get("kept_out", False) or not hasattr(TorchDispatchMode, "_should_skip_dynamo")
        if "torch._dynamo" in sys.modules and not kept_out:
            setattr(cls, "__torch_dispatch__", _disable_dynamo(cls.__torch_dispatch__))  # noqa: B010 — for mypy
            setattr(cls, "kept_out", True)  # noqa: B010
        return super().__enter__()  # type: ignore[no-untyped-call]


def end_modes(is_left: Callable[[list[TorchDispatchMode]], bool]) -> None:
    """End the last of the open modes as long as `is_left` says so of all of them, each without its own `__exit__`.

    What torch notes of the open modes is then true again, also where an interruption came between note and mode: an
    older torch that says that one is open has `torch.compile` leave everything to Python, in silence.
    """
    while (modes := dispatch._get_current_dispatch_mode_stack()) and is_left(modes):
        dispatch._pop_mode()
    for name, is_one in _NOTED.items():
        if hasattr(dispatch, name):
            setattr(dispatch, name, any(map(is_one, modes)))
    tell = getattr(dispatch, "set_is_in_mode_without_ignore_compile_internals", None)
    if tell is not None:
        tell(dispatch.is_in_any_mode_without_ignore_compile_internals())

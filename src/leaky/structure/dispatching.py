"""The base of leaky's own modes in torch's dispatcher.

torch keeps its compiler out of the frames of such modes and imports all of it for that, which takes seconds of a first
check. Where nothing of it has been imported there is nothing to keep out.
"""

from __future__ import annotations

import sys
from typing import Any

from torch._compile import _disable_dynamo
from torch.utils._python_dispatch import TorchDispatchMode


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

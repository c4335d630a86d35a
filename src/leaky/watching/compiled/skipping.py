"""Code of leaky's own that Dynamo must not compile where it meets it by itself; into a graph it follows it still."""

from __future__ import annotations

from types import CodeType
from typing import Any

from torch._C._dynamo import eval_frame


def leave_to_python(code: CodeType, with_callees: bool = False) -> None:
    """Have Dynamo compile no frame of this code.

    Args:
        code: of the function.
        with_callees: whether frames of what it calls are left alone too; otherwise they are compiled as ever.
    """
    if hasattr(eval_frame, "set_code_exec_strategy"):
        skip, default = eval_frame._FrameAction.SKIP, eval_frame._FrameAction.DEFAULT
        strategy = eval_frame._FrameExecStrategy(skip, skip if with_callees else default)
        eval_frame.set_code_exec_strategy(code, strategy)
    else:
        older: Any = eval_frame  # of torch 2.6
        older.skip_code(code)

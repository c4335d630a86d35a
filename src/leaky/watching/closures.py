"""When a step of an optimizer begins: at its call, or, where it is given a closure, once that has run a first time.

Trainers that hand `step` a closure compute the gradients in it: before it has run those of the last step are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def at_each_step(optimizer: torch.optim.Optimizer, begins: Callable[[], None]) -> Any:
    """Have `begins` called when the gradients of a step are there and no weight has moved; the hook's handle."""

    def called(_: torch.optim.Optimizer, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any] | None:
        if callable(named.get("closure")):
            return args, {**named, "closure": _once_begun(named["closure"], begins)}
        if len(args) > 1 and callable(args[1]):  # behind the optimizer itself
            return (args[0], _once_begun(args[1], begins), *args[2:]), named
        begins()
        return None

    return optimizer.register_step_pre_hook(called)


def _once_begun(closure: Callable[[], Any], begins: Callable[[], None]) -> Callable[[], Any]:
    """The closure, and `begins` behind its first call."""
    waits = [begins]

    def computed() -> Any:
        loss = closure()
        if waits:
            with torch.no_grad():
                waits.pop()()
        return loss

    return computed

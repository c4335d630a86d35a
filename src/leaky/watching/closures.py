"""When a step of an optimizer begins: at its call, or, where it is given a closure, once that has run a first time.

Trainers that hand `step` a closure compute the gradients in it: before it has run those of the last step are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from leaky.watching.compiled.skipping import leave_to_python

SEARCHES = 2
"""Evaluations of the loss in one step beyond which the optimizer chooses the step by them."""


class StepBegins:
    """Has a function called when the gradients of each step are there and no weight has moved.

    Args:
        optimizer: whose steps they are.
        begins: what to call.

    Attributes:
        searches: whether some step has evaluated the loss again and again: the optimizer chooses its length by it, as
            LBFGS does.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, begins: Callable[[], Any]) -> None:
        self.searches = False
        self._begins, self._in_step = begins, 0
        self._handle = optimizer.register_step_pre_hook(in_python(self._called))

    def remove(self) -> None:
        """Call it no more."""
        self._handle.remove()

    def _called(self, _: torch.optim.Optimizer, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any] | None:
        self._in_step = 0
        if callable(named.get("closure")):
            return args, {**named, "closure": self._counted(named["closure"])}
        if len(args) > 1 and callable(args[1]):  # behind the optimizer itself
            return (args[0], self._counted(args[1]), *args[2:]), named
        self._begins()
        return None

    def _counted(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        """The closure, and `begins` behind its first call."""

        def computed() -> Any:
            loss = closure()
            self._in_step += 1
            self.searches |= self._in_step > SEARCHES
            if self._in_step == 1:
                with torch.no_grad():
                    self._begins()
            return loss

        return computed


def in_python(hook: Callable[..., Any]) -> Callable[..., Any]:
    """A hook of an optimizer that Python runs also where the step is compiled, and nothing that it calls is."""

    def run(*given: Any) -> Any:
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break()
        return hook(*given)

    leave_to_python(run.__code__, with_callees=True)
    return run

"""Hooks that Dynamo reads when it compiles a model, and that Python itself runs around code that is compiled.

A hook on the outermost module may run before the compiled code begins, or be part of it, as the user has compiled. One
hook does for both, for Dynamo leaves these functions to Python where it meets them by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn
from torch._C._dynamo.eval_frame import set_eval_frame
from torch.compiler import is_compiling

from leaky.observation.riding.hooks import BeforeInPlace, Begin, Driver, End, Functions, Hook, SiteHook, Unknown
from leaky.watching.arrival import Arrival
from leaky.watching.compiled.skipping import leave_to_python
from leaky.watching.site import WatchedSite


class OuterListener(Protocol):
    """Who is told of compiled passes around which Python runs the hooks.

    Attributes:
        discovering: whether a pass aside is going on.
    """

    discovering: bool

    def begin_outside(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module whose forward pass is compiled starts."""

    def end_outside(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """It has run, or has raised (output None)."""


class _Passage(Hook):
    """A hook on a module through which passes come in.

    Args:
        rider: of passes that are not compiled.
        passes: those that are.
        number: of the module's map.
    """

    def __init__(self, rider: Driver, passes: OuterListener, number: int) -> None:
        super().__init__(rider)
        self.number = number
        self._passes = passes

    def _in_python(self, plain: Callable[..., None], compiled: Callable[..., None], *seen: Any) -> None:
        """Tell of the pass where this does not become part of a graph, and have nothing of it compiled.

        Args:
            plain: is told where Python runs the pass.
            compiled: where compiled code does.
            seen: what the hook was called with.
        """
        compiler = set_eval_frame(None)
        if compiler is None:
            if not self._passes.discovering:
                plain(*seen)
            return
        try:
            if not self._passes.discovering:
                compiled(*seen)
        finally:
            set_eval_frame(compiler)


class CompiledBegin(_Passage, Begin):
    """Before the module."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if is_compiling():
            from leaky.watching.compiled import tracing

            tracing.begin(self.number, args, kwargs)
        else:
            self._in_python(self.begins, self._passes.begin_outside, module, args, kwargs)


class CompiledEnd(_Passage, End):
    """After it."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if is_compiling():
            from leaky.watching.compiled import tracing

            tracing.end(self.number)
        else:
            self._in_python(self.ends, self._passes.end_outside, module, args, output)


class _SiteHook(Hook):
    """A hook on a module that is a site; Python itself has nothing to do here.

    Args:
        rider: of passes that are not compiled.
        key: of the module's calls.
    """

    def __init__(self, rider: Driver, key: int) -> None:
        super().__init__(rider)
        self.key = key


class BeforeSite(_SiteHook):
    """Before the module."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if is_compiling():
            from leaky.watching.compiled import tracing

            tracing.before_site(self.key, args[0])


class AfterSite(_SiteHook):
    """After it."""

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if is_compiling():
            from leaky.watching.compiled import tracing

            tracing.after_site(self.key, args[0], output)


for _hook in (
    CompiledBegin.__call__,
    CompiledEnd.__call__,
    _Passage._in_python,
    BeforeSite.__call__,
    AfterSite.__call__,
):
    leave_to_python(_hook.__code__)
for _meeting in (Functions.__torch_function__, Functions.run, Functions.site):
    leave_to_python(_meeting.__code__)
for _ours in (
    *(hook.__call__ for hook in (SiteHook, BeforeInPlace, Unknown, Arrival)),
    *(WatchedSite.take, WatchedSite.follow, WatchedSite.follow_again),
):
    leave_to_python(_ours.__code__, with_callees=True)

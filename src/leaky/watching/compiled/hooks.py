"""Hooks that Dynamo reads when it compiles a model, and that Python itself runs around code that is compiled.

A hook on the outermost module may run before the compiled code begins, or be part of it, as the user has compiled. One
hook does for both, for Dynamo leaves these functions to Python where it meets them by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._C._dynamo import eval_frame

from leaky.observation.riding import hooks as riding
from leaky.watching.arrival import Arrival
from leaky.watching.compiled.skipping import leave_to_python
from leaky.watching.site import WatchedSite

if TYPE_CHECKING:
    from leaky.watching.compiled.passes import Passes


class Begin(riding.Begin):
    """Before a module through which passes come in.

    Args:
        rider: of passes that are not compiled.
        passes: those that are.
        number: of the module's plan.
    """

    def __init__(self, rider: riding.Driver, passes: Passes, number: int) -> None:
        super().__init__(rider)
        self.number = number
        self._passes = passes

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if torch.compiler.is_compiling():
            from leaky.watching.compiled import tracing

            tracing.begin(self.number, args, kwargs)
            return
        compiler = eval_frame.set_eval_frame(None)
        try:
            if self._passes.discovering:
                return
            if compiler is None:
                super().__call__(module, args, kwargs)
            else:
                self._passes.begin_outside(module, args, kwargs)
        finally:
            eval_frame.set_eval_frame(compiler)


class End(riding.End):
    """After it."""

    def __init__(self, rider: riding.Driver, passes: Passes, number: int) -> None:
        super().__init__(rider)
        self.number = number
        self._passes = passes

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if torch.compiler.is_compiling():
            from leaky.watching.compiled import tracing

            tracing.end(self.number)
            return
        compiler = eval_frame.set_eval_frame(None)
        try:
            if self._passes.discovering:
                return
            if compiler is None:
                super().__call__(module, args, output)
            else:
                self._passes.end_outside(module, output)
        finally:
            eval_frame.set_eval_frame(compiler)


class Site(riding.Hook):
    """After a module that is a site; Python itself has nothing to do here.

    Args:
        rider: of passes that are not compiled.
        key: of the module's calls.
    """

    def __init__(self, rider: riding.Driver, key: int) -> None:
        super().__init__(rider)
        self.key = key
        self.before: list[Tensor] = []

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if torch.compiler.is_compiling():
            from leaky.watching.compiled import tracing

            tracing.site(self.key, args[0], output)


class InPlace(riding.Hook):
    """Before a module that overwrites its pre-activation.

    Args:
        site: the hook after it.
    """

    def __init__(self, rider: riding.Driver, site: Site) -> None:
        super().__init__(rider)
        self.site = site

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.compiler.is_compiling():
            from leaky.watching.compiled import tracing

            tracing.before_in_place(self.site, args[0])


class AfterInPlace(riding.Hook):
    """After it.

    Args:
        site: what the hook before it has kept.
    """

    def __init__(self, rider: riding.Driver, site: Site) -> None:
        super().__init__(rider)
        self.site = site

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if torch.compiler.is_compiling():
            from leaky.watching.compiled import tracing

            tracing.after_in_place(self.site, output)


for _hook in (Begin, End, Site, InPlace, AfterInPlace):
    leave_to_python(_hook.__call__.__code__)
for _meeting in (riding.Functions.__torch_function__, riding.Functions.run, riding.Functions.site):
    leave_to_python(_meeting.__code__)
for _ours in (
    *(hook.__call__ for hook in (riding.SiteHook, riding.BeforeInPlace, riding.Unknown, Arrival)),
    *(WatchedSite.take, WatchedSite.follow, WatchedSite.follow_again),
):
    leave_to_python(_ours.__code__, with_callees=True)

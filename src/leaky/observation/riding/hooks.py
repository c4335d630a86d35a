"""What is put on a model while it is watched: hooks on modules, and a table of the calls of functions.

A copy of the model (an average of its weights, a pickle) carries hooks that do nothing. What goes wrong in here must
never end the user's training.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch._guards import TracingContext
from torch.compiler import is_compiling
from torch.overrides import TorchFunctionMode

from leaky.observation.riding.structure import KnownCall, Structure, Taker


class Driver(Protocol):
    """Who follows the passes.

    Attributes:
        running: whether an observed pass is going on.
        structure: of the pass that is going on or was the last; None where it is being learned.
    """

    running: bool
    beyond: Callable[[Any, Any, Any], None] | None
    structure: Structure | None

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module through which passes come in starts."""

    def end(self, module: nn.Module, output: Any) -> None:
        """It has run, or has raised (output None)."""

    def strayed(self) -> None:
        """A site was met that the structure does not know."""

    def failed(self, error: Exception) -> None:
        """Something in here went wrong."""

    def taker(self, call: KnownCall) -> Taker:
        """Who takes in what a call shows."""


class Hook:
    """A hook that does nothing on any copy of the module that it was made for."""

    def __init__(self, rider: Driver) -> None:
        self.rider = rider

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return nothing

    def __reduce__(self) -> Any:
        return _made_nothing, ()


def nothing(*_: Any) -> None:
    """The hook of a copy."""


def _made_nothing() -> Any:
    return nothing


class Begin(Hook):
    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not is_compiling():
            self.begins(module, args, kwargs)

    def begins(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Tell of a module that starts, which Python runs."""
        try:
            self.rider.begin(module, args, kwargs)
        except Exception as error:
            self.rider.failed(error)


class End(Hook):
    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if not is_compiling():
            self.ends(module, args, output)

    def ends(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Tell that it has run."""
        try:
            self.rider.end(module, output)
        except Exception as error:
            self.rider.failed(error)


class SiteHook(Hook):
    """Meets the calls of one module that is a site."""

    def __init__(self, rider: Driver, takers: list[tuple[Taker, KnownCall]]) -> None:
        super().__init__(rider)
        self.met, self.expected = 0, len(takers)
        self._takers = takers
        self._taken = False

    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if is_compiling():
            return
        rider = self.rider
        if not rider.running:
            if torch._C._current_graph_task_id() != -1:
                self._recomputed(args, output)
            return
        met = self.met
        self.met = met + 1
        if met >= len(self._takers):
            rider.strayed()
            return
        taker, call = self._takers[met]
        try:
            quick = taker.quick.get(call)
            if quick is not None and quick(args[0], output):
                return
            if call.in_place:
                if self._taken:
                    taker.follow(None, output, call)
            elif taker.take(args[0], call):
                taker.follow(args[0], output, call)
            else:
                rider.strayed()
        except Exception as error:
            rider.failed(error)

    @property
    def sites(self) -> set[str]:
        """The names of the sites that it is."""
        return {call.site for _, call in self._takers}

    def before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """Take in the value that the module is about to overwrite."""
        rider = self.rider
        if not rider.running or self.met >= len(self._takers):
            return
        taker, call = self._takers[self.met]
        try:
            if call.in_place:
                self._taken = taker.take(args[0], call)
                if not self._taken:
                    rider.strayed()
        except Exception as error:
            rider.failed(error)

    def _recomputed(self, args: tuple[Any, ...], output: Tensor) -> None:
        """Inside a checkpoint that had no gradient the first time: the sums are taken, the gradient is not yet."""
        if len(self._takers) == 1 and output.requires_grad:
            taker, call = self._takers[0]
            taker.follow_again(None if call.in_place else args[0], output, call)


class BeforeInPlace(Hook):
    def __init__(self, hook: SiteHook) -> None:
        self.hook = hook

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if is_compiling():
            return
        self.hook.before(module, args)


class Unknown(Hook):
    """On a module that no traced pass has run: one that does takes a branch that may hold sites.

    Args:
        rider: who follows the passes.
        structure: that the module is not in.
    """

    def __init__(self, rider: Driver, structure: Structure) -> None:
        super().__init__(rider)
        self._structure = structure

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if not is_compiling() and self.rider.running and self.rider.structure is self._structure:
            self.rider.strayed()


def _compiling() -> bool:
    """Whether a part of the model is being compiled: by Dynamo, or by what runs its graph with tensors of no memory."""
    return is_compiling() or TracingContext.try_get() is not None


class Functions(TorchFunctionMode):
    """Meets the calls of functions that are sites, by their order."""

    def __init__(self, rider: Driver, structure: Structure) -> None:
        super().__init__()
        self.rider = rider
        self._calls = structure.by_function
        self._met = dict.fromkeys(structure.by_function, 0)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output, beyond = self.run(func, args, kwargs), self.rider.beyond
        if beyond is not None and not _compiling():
            try:
                beyond(func, args, output)
            except Exception as error:
                self.rider.failed(error)
        return output

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Call a function, and meet it if it is a site."""
        calls = None if _compiling() else self._calls.get(func)
        if calls is None:
            return func(*args, **kwargs) if kwargs else func(*args)
        met = self._met[func]
        self._met[func] = met + 1
        call = calls[met] if met < len(calls) else None
        if call is None:
            if met >= len(calls):
                self.rider.strayed()
            return func(*args, **(kwargs or {}))
        return self.site(call, func, args, kwargs or {})

    @property
    def complete(self) -> bool:
        """Whether every known call has been met."""
        return all(self._met[function] == len(calls) for function, calls in self._calls.items())

    def site(self, call: KnownCall, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a function that is a site."""
        taker, taken, z = self.rider.taker(call), False, args[call.position] if args else None
        overwrites = call.in_place or bool(kwargs)
        try:
            taken = overwrites and isinstance(z, Tensor) and taker.take(z, call)
        except Exception as error:
            self.rider.failed(error)
        output = func(*args, **kwargs)
        try:
            if not overwrites and isinstance(z, Tensor):
                quick = taker.quick.get(call)
                if quick is not None and quick(z, output):
                    return output
                taken = taker.take(z, call)
            if taken:
                taker.follow(None if call.in_place else z, output, call)
            else:
                self.rider.strayed()
        except Exception as error:
            self.rider.failed(error)
        return output


def entrances(model: nn.Module) -> list[nn.Module]:
    """Where a pass may come in: the model itself, and the parts that user code may call in its stead."""
    found, waiting = [model], list(model.children())
    while waiting:
        module = waiting.pop(0)
        if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
            waiting.extend(module.children())
        else:
            found.append(module)
    return found

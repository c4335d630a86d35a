"""The traced pass: every site is seen by the tracer, and where each can be met without it is learned.

The user's operators compute. What the sites show is taken in on this pass as on any other.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import activation as activations
from torch.overrides import TorchFunctionMode

from leaky.observation.batches import Batch
from leaky.observation.nesting import tensors_in
from leaky.observation.riding.structure import KnownCall, Structure, Taker
from leaky.structure.listening import SiteCall
from leaky.structure.trace import Tracer

TakerOf = Callable[[KnownCall, SiteCall | None], Taker]


class NumberedFunctions(TorchFunctionMode):
    """Numbers the calls of torch functions, so that the site inside each is known by its place."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[_FunctionCall] = []
        self.running: _FunctionCall | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = self.running = _FunctionCall(func, args)
        self.calls.append(call)
        try:
            return func(*args, **(kwargs or {}))
        finally:
            self.running = None
            call.args = ()


class _FunctionCall:
    """One call of a torch function, and the sites that ran inside it."""

    def __init__(self, function: Any, args: Any) -> None:
        self.function, self.args = function, args
        self.sites: list[KnownCall] = []
        self.opaque = False


class Discovery:
    """Follows one pass of a module of the model with the tracer.

    Args:
        tracer_of: makes the tracer that tells a listener.
        taker_of: gives who takes in what a site shows.
    """

    def __init__(self, tracer_of: Callable[[Any], Tracer], taker_of: TakerOf) -> None:
        self._tracer = tracer_of(self)
        self._taker_of = taker_of
        self._functions = NumberedFunctions()
        self._by_module: dict[nn.Module, list[KnownCall]] = {}
        self._unridden: dict[str, None] = {}
        self._running: tuple[KnownCall, Taker, Tensor] | None = None
        self._waiting: list[tuple[KnownCall, Taker, Tensor | None, Tensor]] = []
        self._stack = ExitStack()
        self.not_examined_here: dict[str, str] = {}

    def open(self, module: nn.Module, args: tuple[Any, ...], batch: Batch, sample_dim: int | None) -> None:
        """Follow what runs from here on."""
        samples = batch.samples(sample_dim)
        if "torch._dynamo" in sys.modules:  # what a tracer follows Dynamo would take for code that cannot be compiled
            self._stack.enter_context(torch.compiler.set_stance("force_eager"))
            self._stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", "Using `torch.compile")  # of the tracer's global hooks
        self._stack.enter_context(self._tracer.following(batch.tensors, sample_dim, samples, rows=batch.rows))
        self._tracer.modules.running_already(module, args)
        self._stack.enter_context(self._functions)

    def close(self, output: Any, sample_dim: int | None) -> Structure:
        """The structure; its `sample_dim` differs from the given one where a layer said so."""
        nodes = [self._tracer.node_of(tensor) for tensor in tensors_in(output)]
        self._stack.close()
        evidence = self._tracer.evidence
        ran = frozenset(self._tracer.modules.ran)
        structure = Structure(self._by_module, sample_dim=evidence.sample_dim if evidence else sample_dim, ran=ran)
        structure.outputs = {node.site for node in nodes if node is not None and node.site is not None}
        interesting = {call.function for call in self._functions.calls if call.sites}
        for call in self._functions.calls:
            if call.function not in interesting:
                continue
            known = call.sites[0] if len(call.sites) == 1 and not call.opaque else None
            structure.by_function.setdefault(call.function, []).append(known)
            if known is None:
                self._unridden.update(dict.fromkeys(site.site for site in call.sites))
        for function in [f for f, calls in structure.by_function.items() if not any(calls)]:
            del structure.by_function[function]
        structure.unridden = list(self._unridden)
        return structure

    def abandon(self) -> None:
        """The pass has raised."""
        self._stack.close()

    # what the tracer tells

    def before(self, call: SiteCall, pre_activation: Tensor) -> Tensor | None:
        """A site is about to run."""
        if call.parts:  # of experts, whose rows are told apart by value: only a traced pass can
            self._unridden.setdefault(call.name)
            return None
        module, running = self._tracer.modules.module, self._functions.running
        name = call.operator._schema.name
        position = 0 if running is None else position_of(running.args, pre_activation)
        known = KnownCall(
            call.name,
            call.activation,
            call.layout,
            tuple(pre_activation.shape),
            name.endswith("_") and not name.endswith("__"),
            position or 0,
        )
        if module is not None and _is_its_module(call.name, self._tracer.modules.path, module):
            self._by_module.setdefault(module, []).append(known)
        elif running is None:
            self._unridden.setdefault(call.name)
        else:
            running.sites.append(known)
            running.opaque |= position is None
        taker = self._taker_of(known, call)
        if taker.take(pre_activation, known):
            self._running = known, taker, pre_activation
        return None

    def after(self, call: SiteCall, output: Tensor) -> None:
        """It has run; its output has no place in autograd's graph yet."""
        if self._running is not None:
            known, taker, z = self._running
            self._waiting.append((known, taker, None if known.in_place else z, output))
            self._running = None

    def between(self) -> None:
        """What was waited for has its place in autograd's graph by now."""
        waiting, self._waiting = self._waiting, []
        for known, taker, z, output in waiting:
            taker.follow(z, output, known)

    def not_examined(self, name: str, reason: str) -> None:
        """Something ran that cannot be examined."""
        self.not_examined_here.setdefault(name, reason)


def _is_its_module(site: str, path: str, module: nn.Module) -> bool:
    """Whether the site is what this module computes, so that its input and output are the site's."""
    kind = type(module)
    computes = kind.__module__ in (activations.__name__, "leaky.activation.torch")
    return computes and (site == (path or "(model)") or site.startswith(f"{path}#"))


def position_of(args: Any, value: Tensor) -> int | None:
    """Which argument is this tensor: below autograd it may be another object over the same memory."""
    for position, argument in enumerate(args):
        if argument is value:
            return position
        if isinstance(argument, Tensor) and argument.shape == value.shape and _same_memory(argument, value):
            return position
    return None


def _same_memory(left: Tensor, right: Tensor) -> bool:
    same = left.numel() > 0 and left.data_ptr() == right.data_ptr() and left.stride() == right.stride()
    return same and left.dtype == right.dtype

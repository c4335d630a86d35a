"""Meets the sites of a model while the user's own code runs it: traced on the first pass, by hooks and a table later.

Must leave nothing behind: every hook is taken off in `detach`, and a copy of the model (an average of its weights, a
pickle) carries hooks that do nothing. What goes wrong in here must never end the user's training.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.observation.batches import Batch
from leaky.observation.nesting import tensors_in
from leaky.observation.riding.discovery import Discovery, TakerOf
from leaky.observation.riding.hooks import BeforeInPlace, Begin, End, Functions, SiteHook, Unknown, entrances
from leaky.observation.riding.structure import KnownCall, Structure, Taker
from leaky.structure.trace import Tracer

MOST_TRACES = 8
"""Structures of one module after which every pass of it is traced: the model never runs the same way twice."""


_graph_task = torch._C._current_graph_task_id
"""−1 but in a backward pass."""
_transform = torch._C._functorch.peek_interpreter_stack
"""What `torch.func` is at work with, whose tensors have no memory to look at; None for nothing."""

_tracing = torch._C._get_tracing_state
"""What `torch.jit.trace` records, leaky's own operations too; None for nothing."""

HooksOf = Callable[["Rider", nn.Module], tuple[Begin, End]]


class Passenger(Protocol):
    """Who rides along."""

    def wants(self, module: nn.Module) -> bool:
        """Whether a pass that begins is to be observed."""

    def begin(self, samples: int, batch: Batch, structure: Structure | None) -> None:
        """An observed pass begins; structure None while it is being learned."""

    def end(self, structure: Structure | None, completed: bool) -> None:
        """An observed pass has ended."""

    def discard(self) -> None:
        """The pass took its samples from the wrong axis; forget what it showed."""

    def failed(self, error: Exception) -> None:
        """Something in leaky itself went wrong; the user's pass goes on."""


class Rider:
    """Attaches to a model and meets its sites, pass after pass.

    Args:
        model: the model.
        passenger: told of every pass.
        tracer_of: makes a tracer for a listener; it may keep names over the passes.
        taker_of: gives who takes in what a site shows.
        sample_dim: axis of the inputs that holds the samples.
        hooks_of: makes what goes before and after a module through which passes come in.

    Attributes:
        running: whether an observed pass is going on.
        traced: passes that were traced.
        beyond: told of every call of a torch function in a pass that is not traced, with its result; None for nobody.
        gave: told of what such a pass gave, and through which module it came in; None for nobody.
        structure: of the pass that is going on or was the last; None where it is being learned.
        settled: whether it is known where passes come in.
    """

    def __init__(
        self,
        model: nn.Module,
        passenger: Passenger,
        tracer_of: Callable[[Any], Tracer],
        taker_of: TakerOf,
        sample_dim: int | None = 0,
        hooks_of: HooksOf | None = None,
    ) -> None:
        self.running = self.settled = False
        self.traced = 0
        self.beyond: Callable[[Any, Any, Any], None] | None = None
        self.gave: Callable[[nn.Module, Any], None] | None = None
        self.sample_dim = sample_dim
        self._model = model
        self._passenger = passenger
        self._tracer_of, self._taker_of = tracer_of, taker_of
        self._hooks_of: HooksOf = hooks_of or (lambda rider, _: (Begin(rider), End(rider)))
        self._structures: dict[nn.Module, Structure] = {}
        self._earlier: dict[nn.Module, Structure] = {}
        self._traces: dict[nn.Module, int] = {}
        self._outer: nn.Module | None = None
        self._thread, self._shared = threading.current_thread(), False
        self._discovery: Discovery | None = None
        self._mode: Functions | None = None
        self.structure: Structure | None = None
        self._strayed = False
        self._entrances: list[nn.Module] = []
        self._handles: list[Any] = []
        self._site_hooks: list[SiteHook] = []

    def attach(self) -> None:
        """Put the hooks on."""
        if self._handles:
            return
        for module in self._entrances or entrances(self._model):
            begin, end = self._hooks_of(self, module)
            self._handles.append(module.register_forward_pre_hook(begin, with_kwargs=True))
            self._handles.append(module.register_forward_hook(end, always_call=True))
        for structure in self._structures.values():
            self._hook_sites(structure)

    def detach(self) -> None:
        """Take every hook off; a pass that is going on is not observed to its end."""
        self._close_modes()
        self._outer, self.running, self._shared = None, False, False
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._site_hooks.clear()

    def forget(self) -> None:
        """Trace the next pass anew."""
        self._earlier.update(self._structures)
        self._structures.clear()
        self._entrances, self.settled = [], False
        if self._handles:
            self.detach()
            self.attach()

    def relearn(self) -> None:
        """Trace the next pass anew because the model was changed on purpose, which is no habit of its own."""
        self._traces.clear()
        self.forget()
        self._earlier.clear()

    def sites_by_module(self) -> dict[nn.Module, set[str]]:
        """The sites that each module computes, as far as the passes so far have told."""
        found: dict[nn.Module, set[str]] = {}
        for structure in self._structures.values():
            for module, calls in structure.by_module.items():
                found.setdefault(module, set()).update(call.site for call in calls)
        return found

    def begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module through which passes come in starts."""
        if self._outer is not None:
            if module is not self._outer:
                return
            if self._thread is not threading.current_thread() and self._thread.is_alive():
                self.running, self._shared = False, True  # told when the other thread's pass ends, which has its modes
                return
            self._close_modes()  # its last pass never came to its end
        self._outer, self._thread = module, threading.current_thread()
        if _graph_task() != -1 or _transform() is not None or _tracing() is not None:
            return
        if not self._passenger.wants(module):
            return
        batch = Batch(args, kwargs, None)
        structure = self._structures.get(module)
        samples = batch.samples_of_one(self.sample_dim)
        if samples is None:
            if (not args or not isinstance(args[0], Tensor)) and not tensors_in((args, kwargs)):
                return
            samples = batch.samples(self.sample_dim)
        if structure is None or structure.unridden:
            self.structure = None
            self._discovery = Discovery(self._tracer_of, self._taker_of)
            self._passenger.begin(samples, batch, None)
            self.running = True
            self._discovery.open(module, args, batch, self.sample_dim)
            return
        self.structure, self._strayed = structure, False
        self._passenger.begin(samples, batch, structure)
        self.running = True
        for hook in self._site_hooks:
            hook.met = 0
        if structure.by_function or self.beyond is not None:
            self._mode = Functions(self, structure)
            self._mode.__enter__()  # type: ignore[no-untyped-call]

    def end(self, module: nn.Module, output: Any) -> None:
        """It has run, or has raised (output None)."""
        if module is not self._outer or (self._shared and self._thread is not threading.current_thread()):
            return
        self._outer = None
        if self._shared:
            self._close_modes()
            raise InputError("two threads ran the model at once; let them take turns, or watch a copy for each")
        if not self.running:
            return
        self.running = False
        completed = output is not None
        if self._discovery is not None:
            self._learn(module, output if completed else None)
            return
        structure, mode = self.structure, self._mode
        if mode is not None:
            self._close_modes()
            self._strayed |= not mode.complete
        for hook in self._site_hooks:  # of a module that ran, but less often than it does
            self._strayed |= 0 < hook.met < hook.expected
        if completed and self._strayed:
            self.forget()
        if completed and self.gave is not None:
            self.gave(module, output)
        self._passenger.end(structure, completed)

    @property
    def unmet(self) -> set[str]:
        """Sites of modules that did not run in the last pass, or whose code runs without hooks."""
        return {site for hook in self._site_hooks if not hook.met for site in hook.sites}

    def settle(self) -> None:
        """A step is over: where passes come in is known by now, and the other entrances are let alone."""
        if self.settled or not self._structures:
            return
        self._entrances, self.settled = list(self._structures), True
        if self._handles:
            self.detach()
            self.attach()

    def _learn(self, module: nn.Module, output: Any) -> None:
        discovery = self._discovery
        assert discovery is not None
        if output is None:
            discovery.abandon()
            self._discovery = None
            self._passenger.end(None, False)
            return
        structure = discovery.close(output, self.sample_dim)
        self._discovery = None
        self.traced += 1
        if structure.sample_dim != self.sample_dim:
            self.sample_dim = structure.sample_dim
            self._passenger.discard()
            return
        count = self._traces[module] = self._traces.get(module, 0) + 1
        self._passenger.end(structure, True)
        if module in self._structures:
            return  # it needs the tracer every time
        if module in self._earlier:
            structure = structure.with_branches_of(self._earlier.pop(module))
        self._structures[module] = structure
        if count > MOST_TRACES:
            structure.unridden.append("(its structure changes from pass to pass)")
        if self._handles:
            self._hook_sites(structure)

    def _hook_sites(self, structure: Structure) -> None:
        if structure.unridden:
            return
        for module, calls in structure.by_module.items():
            takers = [(self._taker_of(call, None), call) for call in calls]
            hook = SiteHook(self, takers)
            self._site_hooks.append(hook)
            if any(call.in_place for call in calls):
                self._handles.append(module.register_forward_pre_hook(BeforeInPlace(hook)))
            self._handles.append(module.register_forward_hook(hook))
        for module in self._model.modules():
            if module not in structure.ran and not isinstance(module, torch.jit.ScriptModule):
                self._handles.append(module.register_forward_pre_hook(Unknown(self, structure)))

    def strayed(self) -> None:
        """A site was met that the structure does not know."""
        self._strayed = True

    def failed(self, error: Exception) -> None:
        """Tell the passenger, and stop riding."""
        self.detach()
        self._passenger.failed(error)

    def taker(self, call: KnownCall) -> Taker:
        """Who takes in what a call shows."""
        return self._taker_of(call, None)

    def _close_modes(self) -> None:
        mode, self._mode = self._mode, None
        if mode is not None:
            mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if self._discovery is not None:
            self._discovery.abandon()
            self._discovery = None

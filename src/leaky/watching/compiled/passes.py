"""The compiled passes of one watched model: what its graphs and hooks report, told to the observer."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from leaky.observation.batches import Batch
from leaky.observation.riding.rider import Rider
from leaky.observation.riding.structure import Structure
from leaky.watching.compiled.aside import learned
from leaky.watching.compiled.hooks import AfterSite, BeforeSite, CompiledBegin, CompiledEnd
from leaky.watching.compiled.site_maps import (
    GRADIENTS_SHOW,
    Meeting,
    SiteMap,
    meeting_numbered,
    site_map_of,
    site_map_of_parts,
)
from leaky.watching.compiled.skipping import leave_to_python
from leaky.watching.compiled.told import Told
from leaky.watching.site import WatchedSite

_graph_task = torch._C._current_graph_task_id
"""−1 but in a backward pass."""


class Passes:
    """The compiled passes of one watch.

    Args:
        model: whose passes these are.
        told: of them.
        tracer_of: makes the tracer that tells a listener.

    Attributes:
        met: whether a compiled pass was ever met.
        discovering: whether a pass aside is going on.
    """

    def __init__(self, model: nn.Module, told: Told, tracer_of: Any) -> None:
        self.met = False
        self._model, self._told, self._tracer_of = model, told, tracer_of
        self._running: SiteMap | None = None
        self._latest = -1
        self.discovering = False
        self._marked: list[nn.Module] = []
        self._site_maps: list[SiteMap] = []
        self._handles: list[Any] = []
        self._attached: set[int] = set()
        self._begun: set[SiteMap] = set()
        self._met: set[int] = set()
        self._sites: dict[int, WatchedSite] = {}
        self._joined: set[nn.Module] = set()
        self._outside: nn.Module | None = None
        self._mode: Any = None

    def listen(self) -> None:
        """Where torch has compiled anything so far, it may have been this model, without leaky's hooks."""
        frames = sys.modules.get("torch._dynamo.convert_frame")
        if frames is not None and frames.FRAME_COUNTER:
            self.mark()
        callbacks = sys.modules.get("torch._dynamo.callback")
        if callbacks is not None:  # torch.compiler.reset forgets whom it told
            handler = callbacks.callback_handler
            if self.mark not in handler.start_callbacks:
                handler.register_start_callback(self.mark)

    def mark(self, *_: object) -> None:
        """Have torch compile anew what it has compiled of these modules without leaky's hooks.

        It looks at no hook to tell whether a compiled graph is still valid, but it does see whether a module's method
        `forward` is its class's: until `forget`, each module has it as an attribute of its own.
        """
        for module in () if self._marked else self._model.modules():
            if "forward" not in module.__dict__ and not isinstance(module, torch.jit.ScriptModule):
                self._marked.append(module)  # before it is: an interruption may come in between
                module.__dict__["forward"] = types.MethodType(type(module).forward, module)

    def stop(self) -> None:
        """Leave the model as it was; what was compiled before the watch is valid again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        callbacks = sys.modules.get("torch._dynamo.callback")
        if callbacks is not None and self.mark in callbacks.callback_handler.start_callbacks:
            callbacks.callback_handler.remove_start_callback(self.mark)
        for module in self._marked:
            module.__dict__.pop("forward", None)
        self._marked.clear()
        for site_map in self._site_maps:
            if site_map.passes is self:
                site_map.passes = None

    def hooks_of(self, rider: Rider, module: nn.Module) -> tuple[CompiledBegin, CompiledEnd]:
        """What goes before and after a module through which passes come in, compiled or not."""
        site_map = site_map_of(module)
        site_map.passes = self
        self._site_maps.append(site_map)
        self._attach(site_map, rider)  # where a watch before this one has learned it
        return CompiledBegin(rider, self, site_map.number), CompiledEnd(rider, self, site_map.number)

    def begin_outside(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module whose forward pass is compiled starts; this runs before it, in Python."""
        with self._guarded():
            if self.discovering or self._outside is not None:
                if module is not self._outside:
                    return
                self.end_outside(module, (), None)  # its last pass never came to its end
            site_map = self.prepare(module, args, kwargs)
            if site_map is None:
                return
            self.mark()
            self._outside = module
            self.open(site_map, module, Batch(args, kwargs, None), torch.is_grad_enabled())
            if site_map.by_function:
                from leaky.watching.compiled.tracing import CompiledFunctions

                self._mode = CompiledFunctions(site_map.number)
                self._mode.__enter__()

    def end_outside(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """It has run, or has raised (output None)."""
        if self.discovering or module is not self._outside:
            return
        with self._guarded():
            self._outside = None
            mode, self._mode = self._mode, None
            if mode is not None:
                mode.__exit__(None, None, None)
            self.close(site_map_of(module), output is not None)

    def prepare(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SiteMap | None:
        """A compiled pass of a module begins, or is being compiled; None where it is part of another or not observed.

        Args:
            module: through which it comes in.
            args: its inputs, or others of their shapes.
            kwargs: the same by name.
        """
        if self.discovering or self._outside is not None or self._told.rider.running:
            return None  # in the midst of a pass
        if not (module.training or torch.is_grad_enabled()):
            return None
        self.met = True
        site_map = site_map_of(module)
        if site_map.structure is None:
            self._discover(site_map, module, Batch(args, kwargs, None))
        self._attach(site_map, self._told.rider)
        if not GRADIENTS_SHOW:
            self._told.note("torch before 2.9 shows no gradient inside compiled code: what needs one is not told")
        return site_map

    def _attach(self, site_map: SiteMap, rider: Rider) -> None:
        """Put hooks on the modules that are sites."""
        if site_map.number in self._attached or site_map.structure is None:
            return
        self._attached.add(site_map.number)
        for module, key in site_map.by_module.items():
            self._handles.append(module.register_forward_pre_hook(BeforeSite(rider, key)))
            self._handles.append(module.register_forward_hook(AfterSite(rider, key)))

    @property
    def running(self) -> bool:
        """Whether a pass is going on that is observed, in compiled code or around it."""
        return self._running is not None or self._told.rider.running

    def open(self, site_map: SiteMap, module: nn.Module, batch: Batch, with_gradient: bool) -> int:
        """A pass of the map's module begins; its number, −1 where it is not observed."""
        if self._told.rider.running:  # of a part that was compiled while nobody watched
            return self._told.clock.passes
        self._latest = -1
        if self._running is not None:  # its last pass never came to its end
            self.close(self._running, False)
        if self._told.observing and self._told.wants(module, with_gradient):
            for meeting in site_map.meetings:
                self._site(meeting)
            self._told.begin(batch.samples(self._told.rider.sample_dim), batch, site_map.structure)
            self._running = site_map
            self._begun.add(site_map)
            self._latest = self._told.clock.passes
        return self._latest

    def close(self, site_map: SiteMap, completed: bool) -> None:
        """It has ended, or has raised."""
        if site_map is self._running:
            self._running = None
            self._told.end(site_map.structure, completed)

    def take(self, meeting: Meeting, z: Tensor) -> int:
        """Take in a pre-activation; the number of the pass, −1 where it is not observed."""
        if not self.running:  # a checkpoint computes it once more, for its gradient
            return self._latest if _graph_task() != -1 else -1
        self._met.add(meeting.number)
        try:
            if self._site(meeting).take(z, meeting.known):
                return self._told.clock.passes
            self._told.note(f"site {meeting.known.site!r} has changed its shape in compiled code and is not counted")
        except Exception as error:
            self._told.failed(error)
        return -1

    def join(self, parts: Structure, sites: Mapping[str, WatchedSite]) -> None:
        """Have parts that are compiled by themselves met by operators, in passes that Python runs around them.

        Args:
            parts: the modules in them that are sites.
            sites: of the model, by name.
        """
        once = {module: calls for module, calls in parts.by_module.items() if len(calls) == 1}
        new = {module: calls for module, calls in once.items() if module not in self._joined}
        calls = {call: sites[call.site].call for (call,) in new.values() if call.site not in parts.repeated}
        new = {module: known for module, known in new.items() if known[0] in calls}
        if not new:
            return
        self.met = True
        self._joined.update(new)
        site_map = site_map_of_parts(self._model)
        site_map.passes = self
        self._site_maps.append(site_map)
        site_map.learn(Structure(new), calls)
        self._attach(site_map, self._told.rider)

    def knows(self, structure: Structure) -> bool:
        """Whether it is that of passes that are compiled as a whole."""
        return any(site_map.structure is structure for site_map in self._site_maps)

    @property
    def met_sites(self) -> set[str]:
        """Sites that operators have met since the last call of `unmet`."""
        return {meeting_numbered(number).known.site for number in self._met}

    def unmet(self) -> list[str]:
        """Sites of compiled passes that no operator has met since the last call, though the passes were observed."""
        met, self._met = self._met, set()
        begun, self._begun = self._begun, set()
        found = {m.known.site: None for site_map in begun for m in site_map.meetings if m.number not in met}
        return list(found)

    def follow(self, meeting: Meeting, output: Tensor) -> None:
        """Take in the output of a smooth activation."""
        if self.running:
            with self._guarded():
                self._site(meeting).follow(None, output, meeting.known)

    def arrive(self, meeting: Meeting, gradient: Tensor, value: Tensor, of_pass: int) -> None:
        """Take in the gradient of the output."""
        try:
            self._site(meeting).arrived(gradient, value, meeting.by_output, meeting.known, of_pass)
        except Exception as error:
            self._told.failed(error)

    def _site(self, meeting: Meeting) -> WatchedSite:
        known, call = self._told.sites.get(meeting.known.site), meeting.call
        if known is None or (self._sites.get(meeting.number), known.activation.name) != (known, call.activation.name):
            known = self._sites[meeting.number] = self._told.taker_of(meeting.known, call)
        return known

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._told.failed(error)

    def _discover(self, site_map: SiteMap, module: nn.Module, batch: Batch) -> None:
        rider = self._told.rider
        self.discovering = True
        try:
            structure, calls = learned(self._model, module, batch, rider.sample_dim, self._tracer_of)
        finally:
            self.discovering = False
        if structure.sample_dim != rider.sample_dim:
            rider.sample_dim = structure.sample_dim
        site_map.learn(structure, calls)
        for name in structure.unridden:
            self._told.note(f"site {name!r} is not seen in compiled code: its rows are told apart only as Python runs")


leave_to_python(Passes.mark.__code__, with_callees=True)  # Dynamo calls it under a lock that it would wait for itself

"""What is known of a module whose passes are compiled: its sites, each with the number that compiled graphs call it by.

A map outlives the watch that made it, as the graph does that was compiled by it: the next watch of the model takes it
over.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from leaky.observation.batches import Batch
from leaky.observation.riding.structure import KnownCall, Structure
from leaky.structure.listening import SiteCall
from leaky.structure.operators import operator_named
from leaky.watching.compiled.operators import MEETINGS, PASSAGES
from leaky.watching.slopes import monotone

GRADIENTS_SHOW = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 9)
"""Whether torch compiles a hook on a value inside a graph; before 2.9 it gives up the graph."""
_NUMBERS = itertools.count(1)


class PassListener(Protocol):
    """Who is told of the compiled passes of one watch.

    Attributes:
        running: whether a pass is going on that is observed.
    """

    @property
    def running(self) -> bool: ...

    def prepare(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SiteMap | None:
        """A pass begins, or is being compiled; None where it is part of another or not observed."""

    def open(self, site_map: SiteMap, module: nn.Module, batch: Batch, with_gradient: bool) -> int:
        """A pass of the map's module begins; its number, −1 where it is not observed."""

    def close(self, site_map: SiteMap, completed: bool) -> None:
        """It has ended, or has raised."""

    def take(self, meeting: Meeting, z: Tensor) -> int:
        """Take in a pre-activation; the number of the pass, −1 where it is not observed."""

    def follow(self, meeting: Meeting, output: Tensor) -> None:
        """Take in the output of a smooth activation."""

    def arrive(self, meeting: Meeting, gradient: Tensor, value: Tensor, of_pass: int) -> None:
        """Take in the gradient of the output."""


@dataclass(eq=False)
class Meeting:
    """One call of a site in compiled code.

    Attributes:
        number: in compiled graphs.
        known: the call; never in place, for a graph hands over what was there before.
        call: as the tracer saw it.
        in_place: whether the operator overwrites its input.
        site_map: that it belongs to.
    """

    number: int
    known: KnownCall
    call: SiteCall
    in_place: bool
    site_map: SiteMap

    @property
    def by_output(self) -> bool:
        """Whether the output parts the gradient's elements: it does, and no compiler would rather fuse it away."""
        return self._frees and operator_named(self.call.node.operation).signal == "product"

    @property
    def masked(self) -> bool:
        """Whether a mask of one byte an element does, as autograd need not keep the pre-activation."""
        return self._frees and not self.by_output

    @property
    def kept(self) -> bool:
        """Whether a copy of the pre-activation does, as it is overwritten."""
        return self.in_place and not self._frees

    @property
    def _frees(self) -> bool:
        activation = self.known.activation
        frees = activation.name == "ReLU" or (self.in_place and monotone(activation.name))
        return frees and activation.cap is None and activation.floor is None

    def take(self, z: Tensor) -> int:
        """Take in a pre-activation; the number of the pass, −1 where it is not observed."""
        passes = self.site_map.passes
        return -1 if passes is None else passes.take(self, z)

    def follow(self, output: Tensor) -> None:
        """Take in the output of a smooth activation."""
        passes = self.site_map.passes
        if passes is not None:
            passes.follow(self, output)

    def arrive(self, gradient: Tensor, value: Tensor, of_pass: int) -> None:
        """Take in the gradient of the output."""
        passes = self.site_map.passes
        if passes is not None:
            passes.arrive(self, gradient, value, of_pass)


@dataclass(eq=False)
class SiteMap:
    """The sites of one module through which passes come in.

    Attributes:
        number: in compiled graphs.
        module: whose passes these are.
        passes: of the watch that is running; None between two.
        structure: of a pass.
        by_module: the key of the calls of each module that is a site.
        by_function: every call of a function that is a site at some call; None where that call is none.
        meetings: every call of a site, in the order in which they run.
    """

    number: int
    module: Callable[[], nn.Module | None]
    passes: PassListener | None = None
    structure: Structure | None = None
    by_module: dict[nn.Module, int] = field(default_factory=dict)
    by_function: dict[Any, list[Meeting | None]] = field(default_factory=dict)
    meetings: list[Meeting] = field(default_factory=list)

    def begin(self, inputs: list[Tensor], with_gradient: bool) -> int:
        """A pass begins inside a graph; its number, −1 where it is not observed."""
        module = self.module()
        if self.passes is None or module is None:
            return -1
        return self.passes.open(self, module, Batch(tuple(inputs), {}, None), with_gradient)

    def end(self, values: list[Tensor], numbers: list[int]) -> None:
        """It has ended: take in pre-activations, of the calls of these numbers, and outputs, of their −numbers."""
        if self.passes is None:
            return
        if self.passes.running:
            for value, number in zip(values, numbers, strict=True):
                if number > 0:
                    self.passes.take(meeting_numbered(number), value)
                else:
                    self.passes.follow(meeting_numbered(-number), value)
        self.passes.close(self, True)

    def learn(self, structure: Structure, calls: dict[KnownCall, SiteCall]) -> None:
        """The structure is known: number its calls.

        Args:
            structure: of a pass.
            calls: each known call as the tracer saw it.
        """

        def meeting(known: KnownCall | None) -> Meeting | None:
            if known is None:
                return None
            number = next(_NUMBERS)
            found = Meeting(number, replace(known, in_place=False), calls[known], known.in_place, self)
            MEETINGS[number] = found
            return found

        self.structure = structure
        for module, known in structure.by_module.items():
            key = next(_NUMBERS)
            self.by_module[module] = key
            _CALLS[key] = [each for each in map(meeting, known) if each is not None]
        for function, places in structure.by_function.items():
            self.by_function[function] = [meeting(each) for each in places]

        order = {call: n for n, call in enumerate(calls.values())}
        self.meetings = sorted(self._all(), key=lambda meeting: order[meeting.call])

    def _all(self) -> list[Meeting]:
        found = itertools.chain(*map(calls_of, self.by_module.values()), *self.by_function.values())
        return [each for each in found if each is not None]


_SITE_MAPS: weakref.WeakKeyDictionary[nn.Module, SiteMap] = weakref.WeakKeyDictionary()


_CALLS: dict[int, list[Meeting]] = {}


def calls_of(key: int) -> list[Meeting]:
    """The calls of a module that is a site, in order."""
    return _CALLS[key]


def site_map_of(module: nn.Module) -> SiteMap:
    """The map of a module, empty where nothing is known yet."""
    site_map = _SITE_MAPS.get(module)
    if site_map is None:
        site_map = _SITE_MAPS[module] = SiteMap(next(_NUMBERS), weakref.ref(module))
        PASSAGES[site_map.number] = site_map
        weakref.finalize(module, _forget, site_map.number)
    return site_map


def site_map_of_parts(model: nn.Module) -> SiteMap:
    """A map for the parts of a model that are compiled by themselves, empty still."""
    site_map = SiteMap(next(_NUMBERS), weakref.ref(model))
    PASSAGES[site_map.number] = site_map
    weakref.finalize(model, _forget, site_map.number)
    return site_map


def site_map_numbered(number: int) -> SiteMap:
    """The map that compiled graphs call so."""
    site_map = PASSAGES[number]
    assert isinstance(site_map, SiteMap)
    return site_map


def meeting_numbered(number: int) -> Meeting:
    """The call of a site that compiled graphs call so."""
    meeting = MEETINGS[number]
    assert isinstance(meeting, Meeting)
    return meeting


def _forget(number: int) -> None:
    site_map = PASSAGES.pop(number, None)
    if not isinstance(site_map, SiteMap):
        return
    for meeting in site_map.meetings:
        MEETINGS.pop(meeting.number, None)
    for key in site_map.by_module.values():
        _CALLS.pop(key, None)

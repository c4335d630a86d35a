"""What a traced pass teaches: its course, with who takes in what each site shows; or that it has none.

A pass has no course where it could go another way without saying so: where a number of a tensor went out to Python, an
operation ran that no call of a torch function shows, the model changed itself, or a site needs what the tracer alone
knows (samples that were picked, experts, padding, an activation of several operations).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from leaky.activation.running import running_bounds
from leaky.observation.riding.course import Arguments, ExpectedCall, Intake
from leaky.observation.riding.discovery import position_of
from leaky.structure.graph import Call, Node
from leaky.structure.history import History, SiteUse
from leaky.structure.listening import SiteCall

_FACTS = (bool, int, type(None), str, torch.Size, torch.dtype, torch.device, torch.layout, torch.memory_format)
"""What a call may answer in the place of tensors without having looked at an element: that is seen by the tracer."""


_PLAIN = (Tensor, nn.Parameter, nn.Buffer)
"""Kinds of tensors that compute as torch does; any other may do what it likes."""


class _Running:
    """The call that is running, and the site inside it."""

    def __init__(self, expected: ExpectedCall, args: Any) -> None:
        self.expected, self.args = expected, args
        self.site: SiteCall | None = None
        self.smooth: tuple[Any, ...] | None = None
        self.writes = False


class Recording(TorchFunctionMode):
    """Notes the course of one pass while the tracer follows it.

    Args:
        model: the model.

    Attributes:
        writes: whether an operation writes to a tensor that it was given.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._owned = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        self._calls: list[ExpectedCall] = []
        self._running: _Running | None = None
        self._refused = torch._C._len_torch_function_stack() > 0
        self.writes = False

    @property
    def course(self) -> list[ExpectedCall] | None:
        """The course; None where the pass has none."""
        return None if self._refused else self._calls

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        running = None
        if not self._refused:
            running = self._running = self._starting(func, types, args, kwargs)
        if running is None:
            self._refused = True
            return func(*args, **kwargs)
        try:
            output = func(*args, **kwargs)
        finally:
            self._running = None
        try:
            self._returned(running, output)
        except Exception:
            self._refused = True
        return output

    def _starting(self, func: Any, types: Any, args: Any, kwargs: dict[str, Any]) -> _Running | None:
        """The call that starts; None where it is of a kind that has no course."""
        if self._running is not None or any(kind not in _PLAIN for kind in types) or _inside_transform():
            return None
        try:
            return _Running(ExpectedCall(func, Arguments(args, kwargs, self._owned)), args)
        except Exception:  # of tensors that tell nothing of themselves
            return None

    def _returned(self, running: _Running, output: Any) -> None:
        """It has run."""
        expected = running.expected
        self._calls.append(expected)
        if not (isinstance(output, (Tensor, *_FACTS)) or _holds_tensors(output)):
            self._refused = True
        if running.site is None:
            return
        if running.smooth is not None:
            expected.smooth = isinstance(output, Tensor) and running.smooth == _memory(output)
            self._refused |= not expected.smooth
        self._refused |= running.writes  # before or after the site, inside one call

    def site(self, call: SiteCall, pre_activation: Tensor, intake_of: Callable[[], Intake]) -> None:
        """A site is about to run, of which everything enters the sums.

        Args:
            call: of it.
            pre_activation: as the operator got it.
            intake_of: makes what takes in the same call on other batches.
        """
        running = self._running
        of_tracer = call.parts or call.ids is not None or call.operator is None or running_bounds() is not None
        if running is None or running.site is not None or of_tracer:
            self._refused = True
            return
        position = position_of(running.args, pre_activation)
        if position is None:
            self._refused = True
            return
        running.site, running.expected.intake, running.expected.position = call, intake_of(), position

    def refuse(self) -> None:
        """Something ran that only the tracer can take in."""
        self._refused = True

    def output(self, call: SiteCall, output: Tensor) -> None:
        """A smooth site has run, and its output enters the sums."""
        if self._running is None or self._running.site is not call:
            self._refused = True
        else:
            self._running.smooth = _memory(output)

    def ran(self, function: Any, call: Call, results: tuple[Node, ...], site: SiteUse | None) -> None:
        """An operation has run."""
        self.writes |= function._schema.is_mutable
        told = not results and bool(call.nodes)  # a number, or whether something holds: Python may act on it
        if self._running is None or told:
            self._refused = True
        elif site is None and function._schema.is_mutable:
            self._running.writes = True


class Operations(History):
    """Tells a recording of every operation of the pass, and keeps none."""

    def __init__(self) -> None:
        super().__init__()
        self.recording: Recording | None = None

    def add(self, function: Any, call: Call, results: tuple[Node, ...], module: str, site: SiteUse | None) -> None:
        """Pass it on."""
        if self.recording is not None:
            self.recording.ran(function, call, results, site)


def _inside_transform() -> bool:
    """Whether `torch.func` is at work, whose tensors have no memory to look at."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _holds_tensors(value: Any) -> bool:
    """Whether it is a tuple or list of tensors, or a tuple of numbers of axes such as strides."""
    if not isinstance(value, (tuple, list)) or not value:
        return False
    if any(isinstance(item, Tensor) for item in value):
        return all(isinstance(item, (Tensor, type(None))) for item in value)
    return isinstance(value, tuple) and all(type(item) is int for item in value)


def _memory(value: Tensor) -> tuple[Any, ...]:
    return value.data_ptr(), value.shape, value.stride(), value.dtype

"""What the loss does, which no site tells: whether it is a number, and how it falls or rises.

Every loss of the first steps is looked at, and then one a report: it takes as long as a small layer. A watch is not
given the loss. But when the gradient of a parameter on the CPU arrives, whoever asked for it is still at work in the
same thread, and holds what it goes back from. Elsewhere nothing is known: asking would wait for the device.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import torch
from torch import Tensor

from leaky.watching.clock import Clock
from leaky.watching.course import Course
from leaky.watching.loss_graph import leads_through_others, misfit
from leaky.watching.optimizers import parameters_of

LOOKED_THROUGH = 5
"""The step whose loss is looked through for how it was made, and for parameters of others."""
DEEP = 16
"""Frames that are looked at: other hooks and what calls them may lie between."""
_CODE = getattr(getattr(torch.autograd.graph, "_engine_run_backward", None), "__code__", None)
"""Of the function of torch's that every backward pass goes through."""


class Losses:
    """Looks at the loss of each backward pass that reaches one parameter.

    Args:
        optimizer: whose parameters are trained; None where nothing is to be looked at.
        clock: told of a loss that is not finite.

    Attributes:
        ill: whether one was not finite since the last report.
        course: the loss of each step that was looked at, that of the last backward pass before it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None, clock: Clock) -> None:
        self.ill = False
        self.course = Course()
        self._loss: float | None = None
        self._optimizer = None if _CODE is None else optimizer
        self._clock = clock
        self._parameter: Tensor | None = None
        self._node: Any = None
        self._handle: Any = None

    def listen(self, wanted: bool) -> None:
        """Look from here on, or not."""
        if wanted == (self._handle is not None) and (not wanted or _reached(self._parameter)):
            return
        self.stop()
        if wanted and self._optimizer is not None:
            self._parameter = self._parameter if _reached(self._parameter) else _last(self._optimizer)
            if self._parameter is not None:
                with torch.enable_grad():
                    self._node = torch.autograd.graph.get_gradient_edge(self._parameter).node
                self._handle = self._node.register_prehook(self._arrives)

    def step_made(self) -> None:
        """The optimizer has stepped: the loss that was last gone back from is the step's."""
        loss, self._loss = self._loss, None
        if loss is not None:
            self.course.add(loss)

    def stop(self) -> None:
        """Look no more."""
        handle, self._handle, self._node = self._handle, None, None
        if handle is not None:
            handle.remove()

    def _arrives(self, gradients: tuple[Tensor | None, ...]) -> None:
        """The gradient of the parameter is about to be added to what is there."""
        if torch.compiler.is_compiling():
            return
        try:
            loss = _gone_back_from()
            if loss is None:
                return
            self._loss = float(loss.item())
            if not math.isfinite(self._loss):
                self.ill = self._clock.nonfinite = True
            if self.course.seen == LOOKED_THROUGH and self._optimizer is not None:
                self.course.others |= leads_through_others(loss, self._optimizer)
                self.course.misfit = self.course.misfit or misfit(loss)
        except Exception as error:
            self._clock.failed(error)


def _reached(parameter: Tensor | None) -> bool:
    return parameter is not None and parameter.requires_grad and type(parameter.grad) is Tensor


def _last(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """The last parameter, in most models the one next to the loss; of those with a gradient, where any has one."""
    parameters = parameters_of(optimizer)[::-1]
    plain = [p for p in parameters if p.is_leaf and p.requires_grad and p.device.type == "cpu"]
    return next((p for p in plain if _reached(p)), plain[0] if plain else None)


def _gone_back_from() -> Tensor | None:
    """The loss of the backward pass that is going on in this thread; None where it cannot be had."""
    frame: Any = sys._getframe(2)
    for _ in range(DEEP):
        if frame is None:
            break
        if frame.f_code is _CODE:
            given = frame.f_locals.get("t_outputs", ())
            loss = given[0] if len(given) == 1 else None
            if type(loss) is Tensor and loss.numel() == 1 and loss.device.type == "cpu":
                return loss
            break
        frame = frame.f_back
    return None

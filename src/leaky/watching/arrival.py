"""Waits for the gradient at the output of one call of a site, and then lets go of what it was kept for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from leaky.watching.bounds import Edges
from leaky.watching.sums import Reading

_KEY = -1
"""Of a hook among those of a tensor; torch's own keys count from 0."""


class Waiting(Protocol):
    """Who takes in the gradient."""

    def gradient_arrived(self, gradient: Tensor, reading: Reading, value: Tensor, bounds: Edges, of_pass: int) -> None:
        """Take in a gradient, whatever its form."""

    def count_gradient(self, reading: Reading, of_pass: int) -> None:
        """The core has taken it in already; count its samples."""

    def failed(self, error: Exception) -> None:
        """Something in here went wrong."""


class Arrival:
    """The hook of one call.

    Args:
        site: told of the gradient.
        reading: how the output is read, and so its gradient.
        value: what parts the gradient's elements: the pre-activation, or an output that tells as much.
        bounds: where the regions of that value meet.
        of_pass: the pass that the call was in.
    """

    __slots__ = ("_bounds", "_pass", "_reading", "_site", "_value")

    def __init__(self, site: Waiting, reading: Reading, value: Tensor, bounds: Edges, of_pass: int) -> None:
        self._site, self._reading, self._bounds, self._pass = site, reading, bounds, of_pass
        self._value: Tensor | None = value

    def __call__(self, gradient: Tensor) -> None:
        value, self._value = self._value, None
        if value is None:
            return
        site, reading = self._site, self._reading
        try:
            reader = reading.reader
            if reader is not None and reader.add_gradient(gradient, value, *self._bounds.addresses):
                site.count_gradient(reading, self._pass)
                return
            with torch.no_grad():
                site.gradient_arrived(gradient, reading, value, self._bounds, self._pass)
        except Exception as error:
            site.failed(error)


def wait_for_gradient(output: Tensor, hook: Callable[[Tensor], None]) -> None:
    """What `output.register_hook` does, in a fifth of its time where nobody has hooked the tensor before."""
    register = getattr(output.grad_fn, "_register_hook_dict", None)
    if register is None or type(output) is not Tensor or output._backward_hooks is not None:
        output.register_hook(hook)  # type: ignore[no-untyped-call]
        return
    hooks = output._backward_hooks = OrderedDict()
    hooks[_KEY] = hook
    register(output)

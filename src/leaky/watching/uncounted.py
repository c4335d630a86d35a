"""Whether an optimizer trains the watched model while nobody tells the watch that a step is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from leaky.watching.optimizers import parameters_of

UNCOUNTED_STEPS = 20
"""Steps of an optimizer without one of the watch after which that is said."""
NOT_COUNTED = (
    f"an optimizer has made {UNCOUNTED_STEPS} steps on this model, and the watch has counted none, so that it reports "
    "nothing. Give it the optimizer, leaky.watch(model, optimizer), or call watch.step() after each step"
)
ANOTHER_STEPS = (
    f"another optimizer has made {UNCOUNTED_STEPS} steps on this model, and the one that the watch was given has made "
    "none, so that it reports nothing. Give it the optimizer whose step() the training calls"
)


class Uncounted:
    """Listens to every optimizer of the process until the watch has counted a step.

    Args:
        model: that is watched; optimizers of other models do not count.
        given: the optimizer that the watch was given, if any.
        told: what to call, once.
    """

    def __init__(self, model: nn.Module, given: torch.optim.Optimizer | None, told: Callable[[str], None]) -> None:
        self._model, self._told, self._steps = model, told, 0
        self._says = NOT_COUNTED if given is None else ANOTHER_STEPS
        self._handle: Any = None

    def start(self) -> None:
        """Listen."""
        self._handle = register_optimizer_step_post_hook(self._stepped)

    def stop(self) -> None:
        """Listen no more."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.remove()

    def _stepped(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        ours = {id(parameter) for parameter in self._model.parameters()}
        self._steps += any(id(parameter) in ours for parameter in parameters_of(optimizer))
        if self._steps >= UNCOUNTED_STEPS and self._handle is not None:
            self.stop()
            self._told(self._says)

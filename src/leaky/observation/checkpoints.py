"""Reentrant checkpoints of torch run as they are written, with gradients, while a loss is looked at.

A reentrant checkpoint hides its inside from `torch.autograd.grad`: parameters in it would seem to get no gradient
though `backward` reaches them. What training would not reach, because no input of the checkpoint asks for a gradient,
is not reached here either. The switch is torch's, of the process: `uncompiled` has threads take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint

from leaky.interruptions import surely_twice
from leaky.observation.nesting import tensors_in


class _Whole:
    """In the place of torch's function: the same outputs, with the graph that a checkpoint throws away."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        """Run the part; what nothing asks a gradient of gets none, as in training."""
        wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors_in(args))
        with torch.set_grad_enabled(wanted):
            return function(*args)


@contextmanager
def whole_checkpoints() -> Iterator[None]:
    """While open, reentrant checkpoints keep their graph."""
    own = torch.utils.checkpoint.CheckpointFunction
    try:
        torch.utils.checkpoint.CheckpointFunction = _Whole  # type: ignore[misc, assignment]
        yield
    finally:
        surely_twice(lambda: [lambda: setattr(torch.utils.checkpoint, "CheckpointFunction", own)])

"""Cuts off what a site puts out, by a hook on its module.

The hook must compute the same whenever it runs: a checkpoint runs it again. A copy of the model made meanwhile (an
average of its weights, a pickle) computes what the model computes, so that it has the clamp too.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from leaky.watching.controlling.control import RefusedError, Wanted

BEYOND = 8.0
"""The limit ÷ the usual root mean square of the site's output: what is about Gaussian never comes there."""


class Clamp:
    """The hook.

    Args:
        limit: largest magnitude of an element that passes as it is.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, module: Any, args: Any, output: Any) -> Any:
        return output.clamp(-self.limit, self.limit) if isinstance(output, Tensor) else output


class Clamped:
    """A site that is clamped; see `Done`."""

    stays = False

    def __init__(self, wanted: Wanted) -> None:
        module = wanted.module()
        if any(isinstance(hook, Clamp) for hook in module._forward_hooks.values()):
            raise RefusedError("it is clamped already")
        self.amount = limit_of(wanted) if wanted.amount is None else wanted.amount
        self.places: tuple[str, ...] = (wanted.paths[module],)
        self._handle = module.register_forward_hook(Clamp(self.amount))
        self._changed = partial(wanted.observer.changed, wanted.site)
        self._changed()

    def undo(self) -> None:
        """Take the hook off."""
        self._handle.remove()
        self._changed()


def limit_of(wanted: Wanted) -> float:
    """`BEYOND` times the usual root mean square of the site's output, the median of the reports before.

    Raises:
        RefusedError: if no report before knows it.
    """
    factor = wanted.finding.evidence.get("factor")
    if wanted.finding.rule == "drift" and isinstance(factor, float | int) and factor < 1:
        raise RefusedError("its range has shrunk, and a clamp only holds what grows")
    squares = wanted.history[wanted.site]["output_moment"][:-1]
    squares = squares[np.isfinite(squares) & (squares > 0)]
    if not len(squares):
        raise RefusedError("its usual range is not known yet: give the limit, as in ('clamp', 10.0)")
    return BEYOND * float(np.sqrt(np.median(squares)))

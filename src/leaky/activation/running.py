"""Which gain and clamp leaky's own function applies while it runs as plain torch operations.

An observer sees `aten.leaky_relu` alone; the operations around it are told here, so that the site's bounds are right.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_state = threading.local()


@contextmanager
def bounds(gain: float, clamp: float | None) -> Iterator[None]:
    """Announce the gain and clamp of the leaky ReLU that runs inside."""
    before = running_bounds()
    _state.bounds = (gain, clamp)
    try:
        yield
    finally:
        _state.bounds = before


def running_bounds() -> tuple[float, float | None] | None:
    """Gain and clamp of the leaky ReLU of leaky's own that is running in this thread; None where none is."""
    return getattr(_state, "bounds", None)

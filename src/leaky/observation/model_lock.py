"""A lock on the modules of a model: of two threads that observe one module, the second waits for the first.

A mode, a hook or a buffer belongs to the module and not to a thread; two observations at once would each see, and put
back, what the other one made of it. Models that share no module do not wait for each other.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from types import TracebackType

from torch import nn

LOOKED_AGAIN = 1.0
"""Seconds after which a waiting thread looks by itself: a turn whose end was interrupted tells nobody that it is over.
"""

_line: list[weakref.ref[ModelLock]] = []
"""The open turns, and those that look whether they may be; of two that share a module the first goes on.

Only single calls of list change it, which no other thread and no signal can cut in two: a lock might be kept for ever
by a thread that was interrupted as it left it. A turn that is lost, since its frame was interrupted and is gone, counts
no more.
"""


class ModelLock:
    """Reentrant lock on all modules of a model.

    Args:
        model: whose modules are taken.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules = {id(module): module for module in model.modules()}  # kept, so that no other gets an id of these
        self._thread = threading.get_ident()
        self._place = weakref.ref(self)
        self._over = threading.Lock()

    def __enter__(self) -> ModelLock:
        while (over := self._before_this()) is not None:
            if over.acquire(timeout=LOOKED_AGAIN):
                over.release()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Release the lock; may be called twice."""
        _drop(self._place)
        with contextlib.suppress(RuntimeError):
            self._over.release()

    def _before_this(self) -> threading.Lock | None:
        """Join the queue; if another thread is ahead, leave it again and return that thread's lock to wait for."""
        self._over.acquire(blocking=False)
        _line.append(self._place)
        for place in _line[:]:
            if place is self._place:
                break
            other = place()
            if other is None:
                _drop(place)
            elif other._thread != self._thread and not other._modules.keys().isdisjoint(self._modules):
                self.leave()
                return other._over
        return None


def _drop(place: weakref.ref[ModelLock]) -> None:
    with contextlib.suppress(ValueError):
        _line.remove(place)


def _forget() -> None:
    """A forked process has one thread, which observes nothing yet."""
    _line.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

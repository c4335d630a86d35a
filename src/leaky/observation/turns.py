"""Models are observed in turn: of two threads that look at one module, the second waits until the first has left it.

A mode, a hook or a buffer belongs to the module and not to a thread; two observations at once would each see, and put
back, what the other one made of it. Models that share no module do not wait for each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_changed = threading.Condition()
_users: dict[int, tuple[int, int]] = {}
"""id of a module in use → the thread that uses it, and how often."""


@contextmanager
def turn(model: nn.Module) -> Iterator[None]:
    """Wait until no other thread observes any module of the model; the same thread may come in again."""
    modules, me = [id(module) for module in model.modules()], threading.get_ident()
    taken: list[int] = []
    try:
        with _changed:
            while any(_users.get(module, (me, 0))[0] != me for module in modules):
                _changed.wait()
            for module in modules:
                taken.append(module)
                _users[module] = (me, _users.get(module, (me, 0))[1] + 1)
        yield
    finally:
        with _changed:
            while taken:
                module = taken[-1]
                count = _users.get(module, (me, 1))[1] - 1
                if count > 0:
                    _users[module] = (me, count)
                else:
                    _users.pop(module, None)
                taken.pop()
            _changed.notify_all()


def _forget() -> None:
    """A forked process has one thread, which observes nothing yet."""
    global _changed
    _changed = threading.Condition()
    _users.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

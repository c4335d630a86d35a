"""Saves and restores the random generators of the process, except those that another thread draws from.

They belong to all threads: where another thread draws from one meanwhile, putting it back would let that thread draw
the same numbers again, so it is left as it is. Whether one does is seen where no code of the model or its data runs.
"""

from __future__ import annotations

import contextlib
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from leaky.interruptions import surely

ENOUGH = 0.02
"""Seconds of computing in other threads in which one that draws would have drawn."""
WATCHED = 0.5
"""Seconds after which they are taken for idle, whatever they computed before."""


def _cuda_state() -> Any:
    used = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return torch.cuda.get_rng_state_all() if used else None


def _set_cuda_state(state: Any) -> None:
    if state is not None:
        torch.cuda.set_rng_state_all(state)


GENERATORS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "Python's": (random.getstate, random.setstate),
    "NumPy's": (np.random.get_state, np.random.set_state),
    "torch's": (torch.get_rng_state, torch.set_rng_state),
    "CUDA's": (_cuda_state, _set_cuda_state),
}
"""How the state of each is read and set."""


class RandomState:
    """A snapshot of all random generators.

    Args:
        seed: that they begin from; None leaves them as they come.
    """

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._elsewhere = _seconds_elsewhere()  # before the states: what is drawn from then on counts
        self._first = {name: read() for name, (read, _) in GENERATORS.items()}
        self._restored = False

    def begin(self) -> None:
        """Seed them, if that was asked for."""
        if self._seed is not None:
            random.seed(self._seed)
            np.random.seed(self._seed % 2**32)
            torch.manual_seed(self._seed)

    def rewind(self) -> None:
        """Set them to where the first pass began."""
        _put_back(self._first, self._elsewhere)
        self.begin()

    def restore(self) -> None:
        """Put back those that no other thread draws from."""
        if not self._restored:
            _put_back(self._first, self._elsewhere)
            self._restored = True


@contextlib.contextmanager
def same_random_numbers(seed: int) -> Iterator[None]:
    """All generators seeded alike; afterwards they go on from where they were, but for those that `restore` leaves."""
    generators = RandomState(seed)
    try:
        try:
            generators.begin()
            yield
        finally:
            surely([generators.restore])
    finally:  # also where the first was interrupted as it began
        surely([generators.restore])


class Moment:
    """A snapshot of some generators, to replay from there.

    Args:
        names: of them, as in `GENERATORS`.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._elsewhere = _seconds_elsewhere()
        self._states = {name: GENERATORS[name][0]() for name in names}

    @property
    def passed(self) -> bool:
        """Whether any of them has moved since."""
        return not all(_equal(GENERATORS[name][0](), state) for name, state in self._states.items())

    def put_back(self) -> None:
        """Set them to where they were, but for those that another thread draws from."""
        _put_back(self._states, self._elsewhere)


def _put_back(states: Mapping[str, Any], elsewhere: Mapping[int, float]) -> None:
    """Set the generators to these states, but for those that another thread draws from.

    Args:
        states: by the names of `GENERATORS`.
        elsewhere: the seconds that each other thread had computed when the states were read.
    """
    changed = [name for name, state in states.items() if not _equal(GENERATORS[name][0](), state)]
    shared = set[str]()
    if changed and threading.active_count() > 1:
        busy = {thread for thread, seconds in _seconds_elsewhere().items() if seconds != elsewhere.get(thread)}
        shared = _drawn_from_elsewhere(changed, busy) if busy else shared
    for name in changed:
        if name not in shared:
            GENERATORS[name][1](states[name])


def _seconds_elsewhere() -> dict[int, float]:
    """Of computing in each of Python's other threads so far, to the nanosecond; where that isn't known, in all threads.

    Threads that only the libraries know, as OpenMP's that spin, say nothing about whether one that draws has had its
    turn. The clock of a thread is read without giving way to another; its number is Linux's MAKE_THREAD_CPUCLOCK.
    """
    if sys.platform != "linux":
        return {0: time.process_time() - time.thread_time()}
    seconds = dict[int, float]()
    for thread in {each.native_id or 0 for each in threading.enumerate()} - {threading.get_native_id(), 0}:
        with contextlib.suppress(OSError):  # it has just ended
            seconds[thread] = time.clock_gettime(~thread << 3 | 6)
    return seconds


def _drawn_from_elsewhere(names: list[str], busy: set[int]) -> set[str]:
    """Those that move by themselves until each of these threads has computed for a while, or is idle.

    A busy machine may let a thread wait; what has moved is looked at after how long each has computed, at least once.
    """
    before = {name: GENERATORS[name][0]() for name in names}
    moved = set[str]()
    began, worked = time.monotonic(), _seconds_elsewhere()
    while True:
        time.sleep(0.002)
        now, passed = _seconds_elsewhere(), time.monotonic() - began
        moved |= {name for name in names if not _equal(GENERATORS[name][0](), before[name])}
        had_their_turn = all(now.get(each, math.inf) - worked.get(each, 0.0) >= ENOUGH for each in busy)
        if len(moved) == len(names) or passed >= WATCHED or had_their_turn:
            return moved


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)

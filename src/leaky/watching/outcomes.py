"""What a model that trains gives: whether it tells samples apart, looked at in one pass a report.

Must cost next to nothing: of the output an even sample of the entries is looked at, and what is on a device stays there
until a report asks.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor, nn

from leaky.observation.nesting import tensors_in
from leaky.observation.riding.rider import Rider
from leaky.watching.alarm_rules.now import LEAST_UNITS, Look
from leaky.watching.clock import Clock

SAMPLES = 64
"""Samples that are looked at, at most, evenly taken."""
LEAST_SAMPLES = 8
"""Without which nothing is said of how samples differ."""
ENTRIES = 1 << 12
"""Entries of the output that are looked at, about."""
KEPT = 8
"""Last looks that are kept."""


class Outcomes:
    """The outputs of a model, look by look.

    Args:
        rider: who knows which axis holds the samples.
        clock: which knows how many samples went in.
    """

    def __init__(self, rider: Rider, clock: Clock) -> None:
        self._rider, self._clock, self._listens = rider, clock, False
        self._first: Look | None = None
        self._last: deque[Look] = deque(maxlen=KEPT)
        self._of: nn.Module | None = None
        self._seen: Tensor | None = None
        self._width = 1

    @property
    def looks(self) -> tuple[Look, ...]:
        """The first look, and the last ones after it."""
        return () if self._first is None else (self._first, *self._last)

    def listen(self, wanted: bool) -> None:
        """Look at a pass, and at another one after each report; or at none."""
        self._listens, self._rider.gave = wanted, self.see if wanted else None

    def see(self, module: nn.Module, output: Any) -> None:
        """A pass is over: look at the first thing that it gave of each sample in several numbers.

        Args:
            module: through which the pass came in; what another one gives is not compared with it.
            output: of the module, in whatever nesting.
        """
        samples, axis = self._clock.samples, self._rider.sample_dim
        if axis is None or samples < LEAST_SAMPLES or self._of not in (None, module):
            return
        given = next((each for each in tensors_in(output) if _has_samples(each, samples, axis)), None)
        if given is not None:
            self._rider.gave, self._of = None, module
            with torch.no_grad():
                samples_first = given.detach().movedim(axis, 0)
                self._seen, self._width = _told_apart(samples_first), min(samples_first.shape[1:])

    def reported(self) -> None:
        """A report is made: the look counts, and the next pass is looked at."""
        seen, self._seen = self._seen, None
        self.listen(self._listens)
        if seen is None:
            return
        alike, variance, square = seen.tolist()
        look = Look(alike, variance, square, self._width)
        if self._first is None:
            self._first = look
        else:
            self._last.append(look)


def _has_samples(given: Tensor, samples: int, axis: int) -> bool:
    """Whether a tensor that a gradient comes back from holds several numbers of each sample."""
    if type(given) is not Tensor or not given.requires_grad or not given.is_floating_point() or given.is_nested:
        return False
    if given.layout is not torch.strided or not -given.ndim <= axis < given.ndim:
        return False
    return given.shape[axis] == samples and given.numel() >= LEAST_UNITS * samples


def _told_apart(given: Tensor) -> Tensor:
    """What `Look` holds, of an output whose samples come first."""
    rows = given[:: -(-len(given) // SAMPLES)].flatten(1)
    values = rows[:, :: -(-rows.numel() // ENTRIES)].float()
    squares, means = values.square().mean(0), values.mean(0)
    shares = means.square() / squares.clamp_min(torch.finfo(torch.float32).tiny)
    return torch.stack([shares.median(), values.var(0, correction=0).mean(), squares.mean()])

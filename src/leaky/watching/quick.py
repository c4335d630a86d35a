"""The quick way to meet a call of a site: all of it in the compiled core, for tensors of one form.

What the core cannot do as quickly it leaves alone, and the site does it in its own way.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from leaky.observation.riding.structure import KnownCall
from leaky.watching.arrival import Waiting
from leaky.watching.clock import Clock
from leaky.watching.sums import Reading, Rows

Quick = dict[KnownCall, "partial[bool]"]
"""By call, the core's function that meets it with what it needs to know; the meeting is its first argument."""

kept: Callable[[bool], Any] = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", lambda _: True)
"""Whoever keeps what autograd saves in its stead (a checkpoint, memory on another device). torch 2.6 cannot be asked:
one byte an element is kept then, which is right in both cases."""


class Summed(Waiting, Protocol):
    """A site whose sums are added to."""

    rows: Rows


def quick_for(site: Summed, reading: Reading, by_output: bool, clock: Clock) -> partial[bool] | None:
    """What meets the calls of a site on tensors of one form; None where the core has no way to.

    Args:
        site: whose sums are added to; its arrays are cleared in place, never replaced.
        reading: of the form.
        by_output: whether the output parts the gradient's elements, or the pre-activation.
        clock: of the site.

    Returns:
        Given the pre-activation and the output, it says whether it has met the call; False where it has done nothing.
    """
    make, meet = getattr(reading.core, "Meeting", None), getattr(reading.core, "meet_call", None)
    if reading.reader is None or make is None or meet is None:
        return None
    if reading.meeting is None:
        rows = site.rows
        holds = rows.seen, rows.gradient, rows.counts, reading.bounds
        late = _late(weakref.ref(site), reading)
        reading.meeting = make(reading.reader, rows.counts.ctypes.data, by_output, kept, OrderedDict, late, holds)
    return partial(meet, reading.meeting, clock)


def _late(site: weakref.ref[Summed], reading: Reading) -> Callable[[Tensor, Tensor, int], None]:
    """Takes in a gradient that lies in another way than what it is the gradient of."""
    bounds = reading.bounds

    def arrived(gradient: Tensor, value: Tensor, of_pass: int) -> None:
        told = site()
        if told is None or bounds is None:
            return
        try:
            with torch.no_grad():
                told.gradient_arrived(gradient, reading, value, bounds, of_pass)
        except Exception as error:
            told.failed(error)

    return arrived

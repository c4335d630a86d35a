"""Sites that are seen, and put right, while one pass goes on: the next ones see what was put right before them.

Must come to what a pass for each site comes to: only where all samples run at once, and where one operation gives the
pre-activation as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from leaky.errors import InputError
from leaky.observation.accumulator import SiteAccumulator
from leaky.observation.batches import Batch, batches_of
from leaky.record import Site
from leaky.repairing.ground import Ground
from leaky.structure.history import Event, SiteUse
from leaky.structure.units import SiteStructure

MOST_ENTRIES = 2**22
"""Entries of all samples up to which they go through a model at once."""


def at_once(ground: Ground) -> int | None:
    """The samples of the evidence, where all can go through at once and none has padding; else None."""

    def batches(size: int | None) -> list[Batch]:
        dim, found, entries = ground.history.sample_dim, [], 0
        for batch in batches_of(ground.batches, ground.model, sample_dim=dim, batch_size=size, max_samples=None):
            found.append(batch)
            entries += sum(tensor.numel() for tensor in batch.tensors)
            if entries > MOST_ENTRIES or batch.kwargs or not all(t.is_floating_point() for t in batch.tensors):
                return []
        return found

    count = sum(batch.samples(ground.history.sample_dim) for batch in batches(None))
    return count if count and len(batches(count)) == 1 else None


def giving_event(ground: Ground, site: SiteStructure) -> Event | None:
    """The one operation that gives a site's pre-activation as it is: its layer, or the norm behind it."""
    if len(site.made) != 1 or site.not_made:
        return None
    made = site.made[0]
    norm = next((norm for norm in reversed(made.norms) if norm.norm), None)
    event = made.event if norm is None else norm.event
    calls = [other for other in ground.history.events if other.site is not None and other.site.name == site.name]
    result = event.results[0]
    if len(calls) != 1 or event.writes or result.index != site.use.pre_activation or site.use.layout.sample_dim is None:
        return None
    return event


class Passing:
    """Runs an operation, shows what a site sees by it, and runs it again with what was put right.

    Args:
        use: the call of the site.
        put_right: gets what the site sees; returns whether anything was changed.
    """

    def __init__(self, use: SiteUse, put_right: Callable[[Site], bool]) -> None:
        self._use, self._put_right = use, put_right

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        output = function(*args, **kwargs)
        seen = _seen(self._use, output[0] if isinstance(output, tuple) else output)
        return function(*args, **kwargs) if self._put_right(seen) else output


def _seen(use: SiteUse, pre_activation: Tensor) -> Site:
    """What a site sees on all samples."""
    dim = use.layout.sample_dim
    assert dim is not None
    samples = pre_activation.shape[dim]
    view = use.layout.resampled(samples)
    if view is None:
        raise InputError(f"site {use.name} must see its samples along one axis, and sees {tuple(pre_activation.shape)}")
    found = SiteAccumulator(use.name, use.activation, view, tuple(pre_activation.shape), use.source)
    with torch.no_grad():
        found.add(pre_activation, view, 0)
    found.end_batch(0, 1.0, samples)
    return found.site()

"""What each unit did, counted by the model itself: the oracle of tests on kinds of networks.

A model calls `noted` on its pre-activations. While `counted` runs it, each note is reduced to the set of samples that
each unit fired on, by plain indexing of rows; while anything else runs it, the note does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import leaky

_notes: dict[str, dict[int, Tensor]] | None = None
_first = 0


@dataclass(frozen=True)
class Count:
    """Units of a place, independent samples that it saw, and how many of them each unit fired on."""

    units: int
    samples: int
    fired: tuple[int, ...]


def noted(
    place: str,
    z: Tensor,
    units: int | tuple[int, ...] = -1,
    samples: Tensor | None = None,
    real: Tensor | None = None,
) -> Tensor:
    """A pre-activation as it is.

    Args:
        place: whose it is; several notes of one place are one.
        z: the pre-activation.
        units: its axis or axes of units.
        samples: which sample each row is, in the shape of the other axes or of the first of them; by default the
            first of the other axes is that of the samples.
        real: where the rows are no padding, in the shape of the other axes or of the first of them.
    """
    if _notes is None:
        return z
    dims = [d % z.ndim for d in (units if isinstance(units, tuple) else (units,))]
    others = [d for d in range(z.ndim) if d not in dims]
    rows = z.detach().permute(*others, *dims)
    lead = rows.shape[: len(others)]
    ids = torch.arange(lead[0]) if samples is None else samples
    ids = _spread(ids, lead)
    kept = _spread(torch.ones(1, dtype=torch.bool) if real is None else real, lead).tolist()
    seen = _notes.setdefault(place, {})
    for row, sample, is_real in zip(
        rows.reshape(len(ids), rows.shape[len(lead) :].numel()) > 0, (ids + _first).tolist(), kept, strict=True
    ):
        if not is_real:
            continue
        seen[sample] = seen[sample] | row if sample in seen else row
    return z


def _spread(value: Tensor, shape: torch.Size) -> Tensor:
    return value.reshape(*value.shape, *(1,) * (len(shape) - value.ndim)).expand(shape).reshape(-1)


def counted(model: nn.Module, batches: Iterable[Any], call: Callable[[nn.Module, Any], Any]) -> dict[str, Count]:
    """What each place saw over the batches, by place."""
    global _notes, _first
    _notes, _first = {}, 0
    try:
        with torch.no_grad():
            for batch in batches:
                call(model, batch)
                _first += 1 << 20
        rows = {place: torch.stack([*seen.values()]) for place, seen in _notes.items()}
    finally:
        _notes = None
    return {place: Count(r.shape[1], len(r), tuple(r.sum(0).tolist())) for place, r in rows.items()}


def observed_counts(record: leaky.record.Record) -> list[Count]:
    """The same of a record's sites."""
    return [Count(site.units, site.samples, tuple(site.statistics.fired.tolist())) for site in record.sites]

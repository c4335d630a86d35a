"""How far a repair moved what each site gets and gives: plain data, in the order of the flow.

Outputs are compared on a part of the data, element by element, so that no pass has to be kept whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leaky.record import Record
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.outcome import SiteDrift

SAMPLES = 256
"""Samples on which the outputs of sites are compared."""

ELEMENTS = 1 << 18
"""Elements of a site's output that are compared at most, the first ones of each batch."""


def site_outputs(ground: Ground) -> dict[str, list[Tensor]]:
    """What leaves each site on the first samples of the data."""
    takers = {site.event.number: _Taker() for site in ground.structure.sites.values()}
    ground.replay(takers, max_samples=SAMPLES)
    return {name: takers[site.event.number].taken for name, site in ground.structure.sites.items()}


class _Taker:
    def __init__(self) -> None:
        self.taken: list[Tensor] = []

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        out = function(*args, **kwargs)
        if isinstance(out, Tensor):
            self.taken.append(out.detach().reshape(-1)[:ELEMENTS].to("cpu", torch.float32, copy=True))
        return out


def drift(
    records: tuple[Record, Record], outputs: tuple[Mapping[str, list[Tensor]], Mapping[str, list[Tensor]]]
) -> tuple[SiteDrift, ...]:
    """Each site that was there before and after.

    Args:
        records: what was seen before and after.
        outputs: of `site_outputs`, before and after.
    """
    known = ({site.name: site for site in record.sites} for record in records)
    before, after = known
    found = []
    for name in (name for name in before if name in after):
        old, new = before[name], after[name]
        gave, gives = outputs[0].get(name, []), outputs[1].get(name, [])
        same = [a.shape for a in gave] == [b.shape for b in gives]
        found.append(
            SiteDrift(
                name,
                (_average(old.mean), _average(new.mean)),
                (_average(old.variance + old.mean**2), _average(new.variance + new.mean**2)),
                relative_change(gave, gives) if same else float("inf"),
            )
        )
    return tuple(found)


def _average(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")

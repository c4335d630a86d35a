"""A site whose units belong to the slices of one stacked parameter: experts, ensembles, layers in one tensor.

Each slice has sums of its own, since it sees samples of its own; the site's units are those of all slices, in their
order. What a slice never ran on was never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from leaky.observation.accumulator import Part, SiteAccumulator
from leaky.observation.padding import chosen_rows
from leaky.record import Site
from leaky.record.statistics import side_by_side
from leaky.structure.listening import SiteCall
from leaky.structure.members import MemberCall


class MemberAccumulator:
    """Gathers the calls of one such site.

    Args:
        call: its first call.
    """

    def __init__(self, call: SiteCall) -> None:
        self._call = call
        self._members = [
            SiteAccumulator(call.name, call.activation, call.layout, call.node.shape, call.source)
            for _ in range(call.parts[0].members)
        ]
        self.units = call.layout.units
        self.name = call.name
        self.producers = self._members[0].producers
        self.is_output = False
        self.is_avoidable: bool | None = True
        self._samples = self._calls = 0
        self._seen: set[int] = set()

    def add(
        self, call: SiteCall, pre_activation: Tensor, batch: int, samples: int, real: Sequence[Tensor | None]
    ) -> None:
        """Take in the pre-activation of one call, each row at its member.

        Args:
            call: of the site.
            pre_activation: z.
            batch: its index.
            samples: in the batch.
            real: where each part is no padding, of shape (samples, positions); None where all of it is.
        """
        self._calls += 1
        for part, chosen in zip(call.parts, real, strict=True):
            rows, view = _rows(pre_activation, part), part.layout
            ids = np.arange(view.samples) if part.ids is None else part.ids
            if chosen is not None:
                ids = ids[chosen.cpu().nonzero()[:, 0].numpy()]
                rows, view = chosen_rows(rows, view, chosen)
            self._seen.update(ids.tolist())
            known = Part(ids, max(samples, int(ids.max(initial=0)) + 1))
            if len(ids):
                self._members[part.member].add(rows, view, batch, known)

    def add_output(self, call: SiteCall, output: Tensor, real: Sequence[Tensor | None]) -> None:
        """Take in the output of a call of a smooth activation, where it is real."""
        for part, chosen in zip(call.parts, real, strict=True):
            rows, view = _rows(output, part), part.layout
            if chosen is not None:
                rows, view = chosen_rows(rows, view, chosen)
            if rows.numel():
                self._members[part.member].add_output(rows, view)

    def expect_gradient(self, call: SiteCall, pre_activation: Tensor) -> Callable[[Tensor], None]:
        """What to call with the gradient at the output of this call, once it is there."""
        catchers = [
            (
                part,
                self._members[part.member].expect_gradient(_rows(pre_activation, part), part.layout, call.activation),
            )
            for part in call.parts
        ]

        def catch(gradient: Tensor) -> None:
            for part, catcher in catchers:
                catcher(_rows(gradient, part))

        return catch

    def end_batch(self, index: int, gradient_scale: float, samples: int) -> None:
        """Count the batch."""
        self._samples += len(self._seen)
        self._seen.clear()
        for member in self._members:
            member.end_batch(index, gradient_scale, samples)

    def site(self) -> Site:
        """Everything so far, as plain data."""
        sites = [member.site() for member in self._members]
        statistics = side_by_side([site.statistics for site in sites], self._samples)
        first = sites[0]
        return replace(
            first,
            negative_slope=np.concatenate([site.negative_slope for site in sites]),
            floor=None if first.floor is None else np.concatenate([s.floor for s in sites if s.floor is not None]),
            cap=None if first.cap is None else np.concatenate([s.cap for s in sites if s.cap is not None]),
            statistics=statistics,
            calls=max(1, max(site.calls for site in sites)),
            is_output=self.is_output,
            bypassed=self.is_avoidable,
            producers=tuple(self.producers.values()),
        )


def _rows(value: Tensor, part: MemberCall) -> Tensor:
    if part.rows is None or part.arrangement is None:
        return value
    return part.arrangement.of(value).index_select(0, torch.from_numpy(part.rows).to(value.device))

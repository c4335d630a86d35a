"""What the ranks of a distributed training showed, merged before each report, so that all of them report the same.

At the same step on every rank: one maximum of a few numbers, which tells whether all have the same to merge, then one
maximum and one sum of flat arrays. They go through a group of leaky's own, so that none is ever taken for one of the
training's. A rank that has died costs the others at most the time-out of their group, and they go on by themselves.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import distributed

from leaky.record import FloatArray
from leaky.watching.optimizers import Changes
from leaky.watching.sums import LAST_FIRED, MAXIMUM, MINIMUM, NONFINITE, Rows

if TYPE_CHECKING:
    from leaky.watching.observer import Observer

_Known = dict[tuple[str, str], int]
"""What a rank is able to merge: units by ("site", name) and ("beyond", name), measured steps by ("weight", name)."""


class Ranks:
    """The ranks that watch together.

    Args:
        group: a process group of torch.distributed; None for a training of one process.
        noted: told where they cannot be merged.

    Attributes:
        merging: whether reports are merged.
        others_go_on: whether a rank went on training when it merged last.
        unzeroed: steps in a row, at the last merging, whose gradient every rank added to that of the step before.
    """

    def __init__(self, group: Any, noted: Callable[[str], None]) -> None:
        self.merging = group is not None
        self.others_go_on, self.unzeroed = False, 0
        self._group, self._own, self._noted = group, None, noted
        self._samples = self._batches = 0

    def meet(self) -> None:
        """Every rank begins to watch: make the group that the sums go through."""
        if not self.merging:
            return
        ranks, backend = distributed.get_process_group_ranks(self._group), distributed.get_backend(self._group)
        options = getattr(self._group._get_backend(torch.device(self._device)), "options", None)
        limit = getattr(options, "_timeout", None)  # its own; None for torch's default
        try:
            made: Any = distributed.new_group(ranks, limit, backend, use_local_synchronization=True)
        except RuntimeError as error:
            self._give_up(f"a rank could not be reached ({str(error).splitlines()[0]})")
        else:
            self._own = made

    def merge(self, observer: Observer, changes: Changes, unzeroed: int, ended: bool = False) -> bool:
        """Merge what the sites have shown since the last report; every rank has the sum afterwards.

        Sites that not every rank has met yet wait, with their sums, until all have: `observer.waiting`.

        Args:
            observer: of this rank's model.
            changes: that the optimizer made here; merged as well.
            unzeroed: steps in a row here whose gradient was added to that of the step before.
            ended: whether this rank has no further step.

        Returns:
            Whether there is anything to report.
        """
        self.unzeroed = unzeroed
        if not self.merging:
            return True
        try:
            return self._merge(observer, changes, unzeroed, ended)
        except RuntimeError as error:
            self._give_up(f"a rank could not be reached ({str(error).splitlines()[0]})")
            observer.waiting = frozenset()
            return True

    def agree(self, words: str) -> bool:
        """Whether all ranks say the same; True of a training of one process, False where reports are not merged."""
        if self._group is None:
            return True
        if not self.merging:
            return False
        mark = float(zlib.crc32(words.encode()))
        try:
            highest = self._reduce(np.array([mark, -mark]), distributed.ReduceOp.MAX)
        except RuntimeError as error:
            self._give_up(f"a rank could not be reached ({str(error).splitlines()[0]})")
            return False
        return bool(highest[0] == -highest[1])

    def reset(self) -> None:
        """The observer counts from 0 again."""
        self._samples = self._batches = 0

    def _merge(self, observer: Observer, changes: Changes, unzeroed: int, ended: bool) -> bool:
        beyond = _beyond(observer)
        known: _Known = {("site", name): site.units for name, site in observer.sites.items()}
        known |= {("weight", name): len(steps) for name, steps in changes.items()}
        known |= {("beyond", name): each.units for name, each in beyond.items()}
        samples, batches = observer.samples - self._samples, observer.batches - self._batches
        known, anything = self._agreed(known, ended, batches > 0, unzeroed)
        sites, weights, others = (_names(known, kind) for kind in ("site", "weight", "beyond"))
        observer.waiting = frozenset({*observer.sites, *beyond} - {*sites, *others})
        for name in changes.keys() - set(weights):
            del changes[name]
        rows, more = [observer.sites[name].rows for name in sites], [beyond[name] for name in others]
        steps = [step for name in weights for step in changes[name]]
        most = self._reduced([*(part for each in rows for part in _extremes(each)), *(each.highest() for each in more)])
        most_of_more = most[len(most) - len(more) :]
        counts = np.array([samples, batches], np.float64)
        added = self._reduced(
            [counts, *steps, *(part for each in rows for part in _sums(each))]
            + [each.sums(high) for each, high in zip(more, most_of_more, strict=True)],
            distributed.ReduceOp.SUM,
        )
        observer.samples, observer.batches = self._samples + int(added[0][0]), self._batches + int(added[0][1])
        self._samples, self._batches = observer.samples, observer.batches
        for step, total in zip(steps, added[1:], strict=False):
            step[...] = total
        pieces, highest = iter(added[1 + len(steps) :]), iter(most)
        for each in rows:
            _put(each, pieces, highest)
        for other, total, high in zip(more, pieces, highest, strict=True):
            other.put(total, high)
        return anything

    def _agreed(self, known: _Known, ended: bool, seen: bool, unzeroed: int) -> tuple[_Known, bool]:
        """What all ranks are able to merge, and whether any of them has seen a pass."""
        mark = zlib.crc32(repr(sorted(known.items())).encode())
        says = np.array([mark, -mark, not ended, seen, -math.inf if ended else -unzeroed], np.float64)
        head = self._reduce(says, distributed.ReduceOp.MAX)
        self.others_go_on, self.unzeroed = bool(head[2]), 0 if math.isinf(head[4]) else int(-head[4])
        return known if head[0] == -head[1] else self._known_to_all(known), bool(head[3])

    def _known_to_all(self, known: _Known) -> _Known:
        """What every rank is able to merge: not all have met the same sites."""
        told: list[Any] = [None] * distributed.get_world_size(self._own)
        distributed.all_gather_object(told, known, group=self._own)
        return {key: value for key, value in known.items() if all(each.get(key) == value for each in told)}

    def _give_up(self, why: str) -> None:
        self.merging = self.others_go_on = False
        self._noted(f"reports are of this rank alone from here on: {why}")

    @property
    def _device(self) -> str:
        return "cuda" if distributed.get_backend(self._group) == "nccl" else "cpu"

    def _reduced(self, parts: list[FloatArray], operation: Any = None) -> list[FloatArray]:
        """Arrays merged as one flat one, each in its own form again; by their maximum where nothing else is said."""
        flat = np.concatenate([np.zeros(1), *(part.ravel() for part in parts)])
        merged = self._reduce(flat, operation or distributed.ReduceOp.MAX)[1:]
        pieces = np.split(merged, np.cumsum([part.size for part in parts]))[:-1]
        return [piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True)]

    def _reduce(self, values: FloatArray, operation: Any) -> FloatArray:
        tensor = torch.from_numpy(values).to(self._device)
        distributed.all_reduce(tensor, operation, group=self._own)
        merged: FloatArray = tensor.cpu().numpy()
        return merged


class Beyond(Protocol):
    """What has been asked for beyond the sums of a site: merged by a maximum and a sum of arrays of its own."""

    units: int

    def highest(self) -> FloatArray:
        """Of which all ranks are given the maximum."""

    def sums(self, highest: FloatArray) -> FloatArray:
        """Of which all ranks are given the sum; the maxima of all are known by then."""

    def put(self, sums: FloatArray, highest: FloatArray) -> None:
        """Take over the sums of all ranks for the next report."""


def _beyond(observer: Observer) -> dict[str, Beyond]:
    """What a rank has beyond sums: the codes by their names in reports, and the measures of sites."""
    found: dict[str, Beyond] = {f"{name} (latents)": code for name, code in observer.latents.items() if code.units}
    for name, site in observer.sites.items():
        if site.measures is not None:
            found[f"{name} (measures)"] = site.measures
    return found


def _names(known: _Known, wanted: str) -> list[str]:
    return [name for kind, name in sorted(known) if kind == wanted]


def _batch(rows: Rows) -> float:
    """Samples of one pass: by so much a mean over the batch has shrunk each sample's gradient."""
    return rows.gradient_samples / rows.passes if rows.passes and rows.gradient_samples else 1.0


def _sums(rows: Rows) -> list[FloatArray]:
    gradient = rows.gradient.copy()
    gradient[:4] *= _batch(rows)
    gradient[4:8] *= _batch(rows) ** 2
    counts = np.array([rows.samples, rows.passes, rows.gradient_samples], np.float64)
    seen = [part for each in _tables(rows) for part in (each[:MINIMUM], each[NONFINITE:LAST_FIRED])]
    return [counts, gradient, *seen]


def _extremes(rows: Rows) -> list[FloatArray]:
    return [part for each in _tables(rows) for part in (-each[MINIMUM], each[MAXIMUM], each[LAST_FIRED])]


def _tables(rows: Rows) -> list[FloatArray]:
    return [rows.seen] if rows.output is None else [rows.seen, rows.output]


def _put(rows: Rows, added: Iterator[FloatArray], highest: Iterator[FloatArray]) -> None:
    """Take over the sums and extremes of all ranks, in the order of `_sums` and `_extremes`."""
    rows.counts[:] = next(added)
    rows.gradient[:] = next(added)
    rows.gradient[:4] /= _batch(rows)
    rows.gradient[4:8] /= _batch(rows) ** 2
    for each in _tables(rows):
        each[:MINIMUM], each[NONFINITE:LAST_FIRED] = next(added), next(added)
        for row in (MINIMUM, MAXIMUM, LAST_FIRED):
            each[row] = next(highest)
        each[MINIMUM] *= -1

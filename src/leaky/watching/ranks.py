"""What the ranks of a distributed training showed, merged before each report, so that all of them report the same.

At the same step on every rank: one maximum of three numbers, which tells whether all have the same to merge, then one
sum and one maximum of flat arrays. They go through a group of leaky's own, so that none is ever taken for one of the
training's. A rank that has died costs the others at most the time-out of their group, and they go on by themselves.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed

from leaky.record import FloatArray
from leaky.watching.optimizers import Changes
from leaky.watching.sums import LAST_FIRED, MAXIMUM, MINIMUM, NONFINITE, Rows

if TYPE_CHECKING:
    from leaky.watching.observer import Observer

_Known = dict[tuple[str, str], int]
"""What a rank is able to merge: units by ("site", name), measured steps by ("weight", name)."""


class Ranks:
    """The ranks that watch together.

    Args:
        group: a process group of torch.distributed; None for a training of one process.
        noted: told where they cannot be merged.

    Attributes:
        merging: whether reports are merged.
        others_go_on: whether a rank went on training when it merged last.
    """

    def __init__(self, group: Any, noted: Callable[[str], None]) -> None:
        self.merging = group is not None
        self.others_go_on = False
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

    def merge(self, observer: Observer, changes: Changes, ended: bool = False) -> bool:
        """Merge what the sites have shown since the last report; every rank has the sum afterwards.

        Sites that not every rank has met yet wait, with their sums, until all have: `observer.waiting`.

        Args:
            observer: of this rank's model.
            changes: that the optimizer made here; merged as well.
            ended: whether this rank has no further step.

        Returns:
            Whether there is anything to report.
        """
        if not self.merging:
            return True
        try:
            return self._merge(observer, changes, ended)
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

    def _merge(self, observer: Observer, changes: Changes, ended: bool) -> bool:
        known: _Known = {("site", name): site.units for name, site in observer.sites.items()}
        known |= {("weight", name): len(steps) for name, steps in changes.items()}
        samples, batches = observer.samples - self._samples, observer.batches - self._batches
        mark = zlib.crc32(repr(sorted(known.items())).encode())
        head = self._reduce(np.array([mark, -mark, not ended, batches > 0], np.float64), distributed.ReduceOp.MAX)
        self.others_go_on = bool(head[2])
        if head[0] != -head[1]:
            known = self._known_to_all(known)
        names = [name for kind, name in sorted(known) if kind == "site"]
        observer.waiting = frozenset(observer.sites.keys() - set(names))
        rows = [observer.sites[name].rows for name in names]
        steps = [step for kind, name in sorted(known) if kind == "weight" for step in changes[name]]
        parts = [np.array([samples, batches], np.float64), *steps, *(part for each in rows for part in _sums(each))]
        sums = self._reduce(np.concatenate([part.ravel() for part in parts]), distributed.ReduceOp.SUM)
        highest = [part for each in rows for part in _extremes(each)]
        extremes = self._reduce(np.concatenate([np.zeros(1), *highest]), distributed.ReduceOp.MAX)
        observer.samples, observer.batches = self._samples + int(sums[0]), self._batches + int(sums[1])
        self._samples, self._batches = observer.samples, observer.batches
        added, most = _Pieces(sums[2:]), _Pieces(extremes[1:])
        for step in steps:
            added.into(step)
        for name in changes.keys() - {name for kind, name in known if kind == "weight"}:
            del changes[name]
        for each in rows:
            _put(each, added, most)
        return bool(head[3])

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

    def _reduce(self, values: FloatArray, operation: Any) -> FloatArray:
        tensor = torch.from_numpy(values).to(self._device)
        distributed.all_reduce(tensor, operation, group=self._own)
        merged: FloatArray = tensor.cpu().numpy()
        return merged


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


class _Pieces:
    """Takes a flat array apart again."""

    def __init__(self, values: FloatArray) -> None:
        self._values, self._place = values, 0

    def into(self, target: FloatArray) -> None:
        """Fill an array with what comes next."""
        target[...] = self._values[self._place : self._place + target.size].reshape(target.shape)
        self._place += target.size


def _put(rows: Rows, added: _Pieces, highest: _Pieces) -> None:
    counts = np.zeros(3)
    added.into(counts)
    rows.samples, rows.passes, rows.gradient_samples = (int(count) for count in counts)
    added.into(rows.gradient)
    rows.gradient[:4] /= _batch(rows)
    rows.gradient[4:8] /= _batch(rows) ** 2
    for each in _tables(rows):
        added.into(each[:MINIMUM])
        added.into(each[NONFINITE:LAST_FIRED])
        for row in (MINIMUM, MAXIMUM, LAST_FIRED):
            highest.into(each[row])
        each[MINIMUM] *= -1

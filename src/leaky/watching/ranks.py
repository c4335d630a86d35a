"""What the ranks of a distributed training showed, merged before each report, so that all of them report the same.

One sum and one maximum of flat arrays a report, at the same step on every rank. A rank that has died costs the others
at most the time-out of their group, and they go on by themselves.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from leaky.errors import InputError
from leaky.record import FloatArray
from leaky.watching.sums import LAST_FIRED, MAXIMUM, MINIMUM, NONFINITE, Rows

if TYPE_CHECKING:
    from leaky.watching.observer import Observer


class Ranks:
    """The ranks that watch together.

    Args:
        group: a process group of torch.distributed; None for a training of one process.
        noted: told where they cannot be merged.

    Attributes:
        merging: whether reports are merged.
    """

    def __init__(self, group: Any, noted: Callable[[str], None]) -> None:
        self.merging = group is not None
        self._group, self._noted = group, noted
        self._samples = self._batches = 0

    def merge(self, observer: Observer) -> None:
        """Merge what the sites have shown since the last report; every rank has the sum afterwards."""
        if not self.merging:
            return
        names = sorted(observer.sites)
        rows = [observer.sites[name].rows for name in names]
        mine = np.array([observer.samples - self._samples, observer.batches - self._batches], np.float64)
        sums = np.concatenate([mine, *(part.ravel() for each in rows for part in _sums(each))])
        mark = float(zlib.crc32(repr([(name, observer.sites[name].units) for name in names]).encode()))
        extremes = np.concatenate([[mark, -mark], *(part.ravel() for each in rows for part in _extremes(each))])
        try:
            sums = self._reduce(sums, distributed.ReduceOp.SUM)
            extremes = self._reduce(extremes, distributed.ReduceOp.MAX)
        except RuntimeError as error:
            self._give_up(f"a rank could not be reached ({str(error).splitlines()[0]})")
            return
        if extremes[0] != -extremes[1]:
            self._give_up("the ranks do not have the same sites")
            return
        observer.samples, observer.batches = self._samples + int(sums[0]), self._batches + int(sums[1])
        self._samples, self._batches = observer.samples, observer.batches
        added, highest = _Pieces(sums[2:]), _Pieces(extremes[2:])
        for each in rows:
            _put(each, added, highest)

    def reset(self) -> None:
        """The observer counts from 0 again."""
        self._samples = self._batches = 0

    def _give_up(self, why: str) -> None:
        self.merging = False
        self._noted(f"reports are of this rank alone from here on: {why}")

    def _reduce(self, values: FloatArray, operation: Any) -> FloatArray:
        device = "cuda" if distributed.get_backend(self._group) == "nccl" else "cpu"
        tensor = torch.from_numpy(values).to(device)
        distributed.all_reduce(tensor, operation, group=self._group)
        merged: FloatArray = tensor.cpu().numpy()
        return merged


def without_replicas(model: nn.Module) -> nn.Module:
    """The model that a DistributedDataParallel replicates, whose passes it runs; others as they are."""
    inner: nn.Module = model.module if isinstance(model, DistributedDataParallel) else model
    return inner


def is_first(group: Any) -> bool:
    """Whether this process writes for all of them.

    Raises:
        InputError: if torch.distributed is not initialised, or this process is not of the group.
    """
    if group is None:
        return True
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank(group) < 0:
        raise InputError("group must be a process group of torch.distributed that this process is of, and is not")
    return distributed.get_rank(group) == 0


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

"""Where in memory a tensor lies, and whether two parts of one memory have an element in common."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def place_of(tensor: Tensor) -> tuple[Any, ...] | None:
    """Its first element's address, its shape and its strides; None where it has no memory of its own."""
    try:
        return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
    except (RuntimeError, NotImplementedError):  # sparse, nested, MKLDNN, functional wrappers
        return None


def overlap(one: Tensor, other: Tensor) -> bool:
    """Whether two parts of one memory have an element in common; of columns side by side, none."""
    if not (one.numel() and other.numel()):
        return False
    if not _meet(_span(one), _span(other)):
        return False
    pitch = max(one.stride(), default=0)
    if pitch <= 1 or pitch != max(other.stride(), default=0):
        return True
    rows = _row(one, pitch), _row(other, pitch)
    return any(end > pitch for _, end in rows) or _meet(*rows)


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _span(tensor: Tensor, pitch: int | None = None) -> tuple[int, int]:
    """From its first element to behind its last one; where a pitch is given, of one row alone."""
    start = int(tensor.storage_offset())
    steps = ((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride != pitch)
    return start, start + sum(steps) + 1


def _row(tensor: Tensor, pitch: int) -> tuple[int, int]:
    """The columns of one of its rows, which lie `pitch` apart."""
    start, end = _span(tensor, pitch)
    return start % pitch, start % pitch + end - start

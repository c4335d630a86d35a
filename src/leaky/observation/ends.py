"""Accumulates statistics of a network's inputs and outputs, batch by batch.

Must not keep a batch: each is reduced when it passes. Torch and NumPy values give the same figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leaky.activation.kernels import core
from leaky.activation.kernels.statistics import FLOAT32, FLOAT64
from leaky.record import MOST_FEATURES, OVER_SAMPLES, FeatureStatistics, TensorStatistics, merged
from leaky.structure.endings import Ending, sums_to_one

_VIEWS = ("View", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Permute", "T", "Clone", "Alias", "Expand", "ToCopy")
"""Operations of autograd's graph that only rearrange what another one computed."""
_MADE_BY = {
    "Sigmoid": "sigmoid", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Tanh": "tanh", "Relu": "relu",
    "Softplus": "softplus", "LogSigmoid": "log_sigmoid", "LogSigmoidForward": "log_sigmoid", "Gelu": "gelu",
    "Silu": "silu", "Mish": "mish", "Hardsigmoid": "hardsigmoid", "Hardtanh": "hardtanh",
}  # fmt: skip
"""Operations that bound an output, by their names in autograd's graph."""
_CUT = {(-1.0, 1.0): "hardtanh", (0.0, 6.0): "relu6"}
"""What a cut at two numbers is called."""


_KINDS = {np.dtype(np.float32): FLOAT32, np.dtype(np.float64): FLOAT64}
_FINITE, _WHOLE, _ALIKE = 1, 2, 4
"""What the core says of all entries."""


class Ends:
    """Statistics of the input tensors, or of the output tensors, over the batches so far."""

    def __init__(self) -> None:
        self.tensors: tuple[TensorStatistics, ...] = ()

    def add(
        self,
        named: dict[str, Any],
        samples: int,
        sample_dim: int | None,
        endings: Sequence[Ending | None] = (),
    ) -> tuple[TensorStatistics | None, ...]:
        """Take in the tensors of one batch, and return what each of them shows.

        Args:
            named: each by its name.
            samples: in the batch.
            sample_dim: axis of the samples, None where the batch is one sample.
            endings: of outputs, the function that each ends in, where that was looked for.
        """
        seen = tuple(tensor_statistics(name, value, samples, sample_dim) for name, value in named.items())
        if endings:
            values = named.values()
            seen = tuple(map(_ending_in, seen, values, endings, (sample_dim for _ in values)))
        self.tensors = merged(self.tensors, [item for item in seen if item is not None])
        return seen


def named(tensors: list[Any], word: str) -> dict[str, Any]:
    """Tensors by name: "output" if it is alone, else "output 0", "output 1"."""
    return {word if len(tensors) == 1 else f"{word} {place}": tensor for place, tensor in enumerate(tensors)}


def tensor_statistics(name: str, value: Any, samples: int, sample_dim: int | None) -> TensorStatistics | None:
    """The statistics of one batch of one tensor; None for what holds no plain numbers."""
    array = _array(value)
    if array is None or array.size == 0:
        return None
    rows = _by_sample(array, samples, sample_dim)
    made_by, made_over = maker(value, samples, sample_dim)
    sums = _compiled_sums(rows) or _plain_sums(rows)
    return TensorStatistics(
        name=name,
        dtype=str(value.dtype).removeprefix("torch."),
        shape=tuple(array.shape),
        samples=len(rows),
        first=hashlib.blake2b((rows[0] + 0).tobytes(), digest_size=8).hexdigest(),
        made_by=made_by,
        made_over=made_over,
        alike_by_batch=sums["alike"] if len(rows) > 1 else None,
        **sums,
    )


def _ending_in(
    seen: TensorStatistics | None, value: Any, found: Ending | None, sample_dim: int | None
) -> TensorStatistics | None:
    """An output with what it ends in, where autograd has no name for it."""
    if seen is None or seen.made_by is not None:
        return seen
    if found is not None:
        return replace(seen, made_by=found.name, lowest=found.lowest, highest=found.highest)
    samples = None if sample_dim is None or not value.ndim else sample_dim % value.ndim
    axes = [axis for axis in range(value.ndim) if axis != samples and sums_to_one(value.detach(), axis)]
    return replace(seen, made_by="softmax", made_over=value.shape[axes[-1]]) if axes else seen


def _compiled_sums(rows: NDArray[Any]) -> dict[str, Any] | None:
    """What the entries show, through the core; None where it cannot read them, or some are not finite."""
    compiled = core()
    if compiled is None or not hasattr(compiled, "summary") or rows.dtype not in _KINDS or not rows.flags.c_contiguous:
        return None
    shape = _by_feature(rows)
    samples, features, positions = shape or (len(rows), 1, rows[0].size)
    sums = np.empty((4, features))
    found = compiled.summary(
        _KINDS[rows.dtype], compiled.address(rows), samples, features, positions, compiled.address(sums)
    )
    if not found & _FINITE:
        return None
    each = np.full(features, float(samples * positions))
    return {
        "entries": rows.size,
        "nonfinite": 0,
        "whole": bool(found & _WHOLE),
        "alike": bool(found & _ALIKE),
        "total": float(sums[0].sum()),
        "squares": float(sums[1].sum()),
        "minimum": float(sums[2].min()),
        "maximum": float(sums[3].max()),
        "features": None if shape is None else FeatureStatistics(each, *sums),
    }


def _plain_sums(rows: NDArray[Any]) -> dict[str, Any]:
    """The same through NumPy."""
    finite = np.isfinite(rows)
    whole = bool(finite.all())
    numbers = rows if whole else np.where(finite, rows, 0)
    count = int(finite.sum())
    low, high = (rows.min(), rows.max()) if whole else _finite_range(rows, finite)
    flat = numbers.reshape(-1)
    return {
        "entries": count,
        "nonfinite": rows.size - count,
        "whole": rows.dtype.kind != "f" or bool((np.floor(numbers) == numbers).all()),
        "alike": bool((rows == rows[:1]).all()),
        "total": float(flat.sum(dtype=np.float64)),
        "squares": float(np.einsum("i,i->", flat, flat, dtype=np.float64)),
        "minimum": float(low),
        "maximum": float(high),
        "features": _features(rows, numbers, finite, whole),
    }


def _array(value: Any) -> NDArray[Any] | None:
    """The numbers of a dense tensor; whatever has no plain memory is left out."""
    if isinstance(value, Tensor):
        plain = value.layout == torch.strided and not value.is_quantized and not value.is_nested
        if not plain or value.is_complex() or value.device.type == "meta":
            return None
        value = value.detach()
        if value.device.type != "cpu" or value.is_neg():
            value = value.resolve_neg().cpu()
        wide = value.dtype in (torch.float32, torch.float64) or not value.is_floating_point()
        value = (value if wide else value.float()).numpy()
    array = np.asarray(value)
    if array.dtype.kind == "b":
        return array.astype(np.int64)
    return array if array.dtype.kind in "fiu" else None


def _by_sample(array: NDArray[Any], samples: int, sample_dim: int | None) -> NDArray[Any]:
    """In shape (samples, …); as one sample where no axis is that of the samples."""
    for axis in () if sample_dim is None else (sample_dim, 0):
        if -array.ndim <= axis < array.ndim and array.shape[axis] == samples:
            moved = np.moveaxis(array, axis, 0) if axis else array
            return moved.reshape(*moved.shape, *(1,) * (moved.ndim == 1))
    return array.reshape(1, *array.shape, *(1,) * (array.ndim == 0))


def _by_feature(rows: NDArray[Any]) -> tuple[int, int, int] | None:
    """As (samples, features, positions): each entry of a sample is a feature, or each channel of a large sample."""
    size = rows[0].size
    if size > MOST_FEATURES and (rows.ndim < 3 or rows.shape[1] > MOST_FEATURES):
        return None
    return (len(rows), size, 1) if size <= MOST_FEATURES else (len(rows), rows.shape[1], size // rows.shape[1])


def _features(
    rows: NDArray[Any], numbers: NDArray[Any], finite: NDArray[np.bool_], whole: bool
) -> FeatureStatistics | None:
    """Sums a feature; None where there are too many."""
    shape = _by_feature(rows)
    if shape is None:
        return None
    x, kept = numbers.reshape(shape), finite.reshape(shape)
    low, high = (x, x) if whole else (np.where(kept, x, np.inf), np.where(kept, x, -np.inf))
    return FeatureStatistics(
        entries=kept.sum(axis=(0, 2), dtype=np.float64),
        sums=x.sum(axis=(0, 2), dtype=np.float64),
        squares=np.einsum("nfp,nfp->f", x, x, dtype=np.float64),
        minimum=low.min(axis=(0, 2)).astype(np.float64),
        maximum=high.max(axis=(0, 2)).astype(np.float64),
    )


def _finite_range(rows: NDArray[Any], finite: NDArray[np.bool_]) -> tuple[float, float]:
    kept = rows[finite]
    return (float(kept.min()), float(kept.max())) if kept.size else (np.inf, -np.inf)


def maker(value: Any, samples: int, sample_dim: int | None) -> tuple[str | None, int | None]:
    """The last operation behind a tensor, views skipped, if it bounds its values; of a softmax also its axis.

    Args:
        value: one batch of it.
        samples: in the batch.
        sample_dim: axis of the samples, None where the batch is one.
    """
    node = getattr(value, "grad_fn", None)
    while node is not None:
        name = node.name().rstrip("0123456789").removesuffix("Backward")
        if name in _MADE_BY:
            if name == "Hardtanh":
                return _CUT.get((node._saved_min_val, node._saved_max_val)), None
            shape, dim = _softmax_axis(node) if "Softmax" in name else ((), None)
            return _MADE_BY[name] + _over(shape, dim, samples, sample_dim), None if dim is None else shape[dim]
        behind = [function for function, _ in node.next_functions if function is not None]
        if name.removeprefix("Unsafe") not in _VIEWS or len(behind) != 1:
            return None, None
        node = behind[0]
    return None, None


def _softmax_axis(node: Any) -> tuple[tuple[int, ...], int | None]:
    """The shape of what a softmax gave, and the axis that it ran over, counted from the front."""
    result, dim = getattr(node, "_saved_result", None), getattr(node, "_saved_dim", None)
    if result is None or dim is None or result.ndim == 0:
        return (), None
    return tuple(result.shape), (dim - (1 << 64) if dim >= 1 << 63 else dim) % result.ndim  # −1 comes unsigned


def _over(shape: tuple[int, ...], dim: int | None, samples: int, sample_dim: int | None) -> str:
    """What says that a softmax ran over the samples; nothing where each is held against each other one."""
    along = dim is not None and dim == sample_dim and shape[dim] == samples
    return OVER_SAMPLES if along and shape.count(samples) == 1 else ""

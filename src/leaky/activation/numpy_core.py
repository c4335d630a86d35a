"""The Leaky ReLU of NumPy arrays through the compiled core.

Must give the bits of the plain operations beside it, for one slope and dense memory.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leaky.activation import kernels

Array: TypeAlias = NDArray[Any]

KINDS = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
"""The core's numbers of the data types."""

_COMMON = {np.dtype(name).num: KINDS[name] for name in ("float32", "float64", "float16")}

_LONG_DOUBLE = np.dtype(np.longdouble).num

WORTHWHILE = 1024
"""Elements from which the core beats plain operations."""


def usable(x: Array, slope: float | Array, target: Array | None) -> bool:
    """Whether the core computes this: one slope, memory without gaps, and a result that does not overlap its input."""
    if x.size < WORTHWHILE or isinstance(slope, np.ndarray) or kernels.core() is None:
        return False
    if not x.dtype.isnative or x.dtype.num == _LONG_DOUBLE:
        return False
    if not _is_dense(x):
        return False
    if target is None or target is x:
        return True
    return _is_dense(target) and target.strides == x.strides and not np.may_share_memory(x, target)


def common(x: Array, slope: float | Array) -> bool:
    """Whether a fresh result of one finite slope needs no other checks than these."""
    if type(slope) is not float or slope - slope != 0.0:
        return False
    return type(x) is np.ndarray and x.dtype.num in _COMMON and usable(x, slope, None)


def _is_dense(x: Array) -> bool:
    aligned = x.flags.aligned
    return aligned and (x.flags.c_contiguous or x.flags.f_contiguous)


def rectify(x: Array, slope: float | Array, gain: float, clamp: float | None, target: Array | None) -> Array:
    """gain·f(x), held at ±clamp, of a `usable` array."""
    y = np.empty_like(x) if target is None else target
    core: Any = kernels.core()
    bound = math.inf if clamp is None else clamp
    kind = _COMMON.get(x.dtype.num)
    if kind is None:  # bfloat16 is another package's type, and has no buffer
        kind, source, result = KINDS[x.dtype.name], x.ctypes.data, y.ctypes.data
    else:
        source, result = core.address(x), core.address(y)
    count, fresh = x.size, target is None
    core.forward(kind, source, result, 1, count, 0, 1, float(slope), 0, gain, bound, 0, 0, fresh, threads())
    return y


def threads() -> int:
    """As many as torch uses, where a program uses torch; else what OMP_NUM_THREADS or the processor allows."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if hasattr(torch, "get_num_threads") else _allowed()  # type: ignore[union-attr]


@functools.cache
def _allowed() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Per-unit statistics of dense memory through the compiled core, gathered call by call.

Must hold exactly what `leaky.record.UnitStatistics` holds, accurate to 1e-6 relative, and the variance to 1e-3 at
mean/std = 1e4. No framework is imported: memory comes as an address.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from leaky.record import FloatArray, UnitStatistics

_ROWS = 17
_MINIMUM, _MAXIMUM, _NONFINITE, _FIRED, _LAST_FIRED = range(12, 17)

FLOAT32, FLOAT64, FLOAT16, BFLOAT16 = range(4)
"""The core's numbers of the data types; statistics know the first two."""


class DenseLayout(NamedTuple):
    """Dense memory as [outer][samples][middle][units][inner], the last running fastest.

    outer, middle and inner are positions; (N, C, H, W) is (1, N, 1, C, H·W), channels-last (1, N, H·W, C, 1), (T, N, C)
    is (T, N, 1, C, 1).
    """

    outer: int
    samples: int
    middle: int
    units: int
    inner: int


_PATTERN = ("other", "sample", "other", "unit", "other")


def dense_layout(
    shape: Sequence[int], strides: Sequence[int], order: Sequence[int], samples: int, units: int
) -> DenseLayout | None:
    """The layout of a tensor's memory; None where it is not dense, or lies in an order that the kernels do not know.

    Args:
        shape: of the tensor.
        strides: of the tensor, in elements.
        order: a permutation of its axes: the samples' first, then the units', then the positions'.
        samples: the product of the first group.
        units: the product of the second.
    """
    if math.prod(shape) == 0:
        return None
    axes = sorted(
        (-strides[axis], rank, shape[axis], role)
        for rank, (axis, role) in enumerate(zip(order, _roles(shape, order, samples, units), strict=True))
        if shape[axis] != 1
    )
    sizes = [1] * 5
    place, expected, last_rank = 0, math.prod(shape), {"sample": -1, "unit": -1, "other": -1}
    for negative_stride, rank, size, role in axes:
        expected //= size
        if -negative_stride != expected:
            return None
        while place < 5 and _PATTERN[place] != role:
            place += 1
        # the parts of a split sample or unit axis must follow each other as their numbering does
        if place == 5 or (role != "other" and rank < last_rank[role]):
            return None
        sizes[place] *= size
        last_rank[role] = rank
    return DenseLayout(*sizes)


def _roles(shape: Sequence[int], order: Sequence[int], samples: int, units: int) -> list[str]:
    roles, left = [], {"sample": samples, "unit": units}
    for axis in order:
        role = "sample" if left["sample"] > 1 else "unit" if left["unit"] > 1 else "other"
        roles.append(role)
        if role != "other":
            left[role] //= shape[axis]
    return roles


@dataclass(frozen=True)
class Regions:
    """Where the regions of `leaky.record.REGIONS` meet.

    Attributes:
        threshold: above it an element is linear.
        floor, cap: bounds, one a unit, contiguous float64; None for none.
    """

    threshold: float = 0.0
    floor: FloatArray | None = None
    cap: FloatArray | None = None


class UnitSums:
    """Running sums of one site's units, added to by the compiled core.

    Args:
        core: the compiled core.
        units: of the site.

    Attributes:
        array: (17, units) float64: counts, sums and squares of the four regions, minimum, maximum, non-finite
            elements, samples fired on, last batch fired in.
    """

    def __init__(self, core: ModuleType, units: int) -> None:
        self._core = core
        self.units = units
        self.array = np.zeros((_ROWS, units))
        self.array[_MINIMUM], self.array[_MAXIMUM], self.array[_LAST_FIRED] = np.inf, -np.inf, -1.0
        self._address = self.array.ctypes.data

    def add(
        self,
        kind: int,
        source: int,
        layout: DenseLayout,
        regions: Regions,
        batch: int,
        threads: int,
        fired: NDArray[np.uint8] | None = None,
        *,
        target: int = 0,
        fresh: bool = False,
        slope: float = 0.0,
        slopes: int = 0,
        gain: float = 1.0,
        bound: float = math.inf,
    ) -> None:
        """Take in one call's elements and, if asked, write the activation's output in the same pass.

        Args:
            kind: `FLOAT32` or `FLOAT64`.
            source: address of the pre-activations; its memory must be held by the caller.
            layout: of that memory.
            regions: where they meet.
            batch: index of the batch, for the last one that a unit fired in.
            threads: at most as many are used.
            fired: (samples, units), set to 1 where a unit fired, for `count_fired` when the batch ends; None where
                this call is all that the site sees of these samples, which are then counted at once.
            target: address that the output goes to, in the same layout, the source's own perhaps; 0 to write nothing.
            fresh: whether nothing was ever written to the target's memory.
            slope: of the output.
            slopes: address of one slope a unit, of the data's type, in place of `slope`; 0 for none.
            gain: of the output.
            bound: on the output's magnitude.
        """
        floor, cap = regions.floor, regions.cap
        self._core.statistics(
            kind,
            source,
            target,
            *layout,
            slope,
            slopes,
            gain,
            bound,
            regions.threshold,
            0 if floor is None else floor.ctypes.data,
            0 if cap is None else cap.ctypes.data,
            self._address,
            0 if fired is None else fired.ctypes.data,
            batch,
            fresh,
            threads,
        )

    def count_fired(self, fired: NDArray[np.uint8], batch: int) -> None:
        """Count a batch's flags, (samples, units), and clear them for the next."""
        self._core.count_fired(fired.ctypes.data, fired.shape[0], self.units, self._address, batch)

    def statistics(self, samples: int) -> UnitStatistics:
        """Everything so far, as plain data of its own.

        Args:
            samples: how many were seen.
        """
        a = self.array.copy()
        return UnitStatistics(
            samples=samples,
            fired=a[_FIRED].astype(np.int64),
            counts=a[0:4].astype(np.int64),
            sums=a[4:8],
            squares=a[8:12],
            minimum=a[_MINIMUM],
            maximum=a[_MAXIMUM],
            nonfinite=a[_NONFINITE].astype(np.int64),
            last_fired=a[_LAST_FIRED].astype(np.int64),
        )


GRADIENT_ROWS = 9
"""Rows of a gradient's sums: Σ|g| and Σg² of the four regions, non-finite elements."""

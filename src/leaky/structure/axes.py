"""What each axis of a tensor stands for, followed through every reshape, permutation and contraction.

An axis is an ordered product of factors; a factor is a sample axis, a unit axis or something else (a pixel, a time
step). Reshapes split and join factors, permutations reorder them, a weight brings a fresh unit factor. At a site the
factors say how to see the pre-activation as (samples, units, positions), whatever its shape. Plain data, no torch.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Role = Literal["sample", "unit", "member", "copy", "slot", "other"]

_fresh = itertools.count()


@dataclass(frozen=True, slots=True)
class Factor:
    """A part of an axis.

    Attributes:
        size: entries.
        role: what an entry is; a member is a matrix in a stack of weights, a copy the same rows of a weight moved
            about (a rotated kernel), a slot one of the largest units of a sample.
        key: identity; the parts of a split factor share it.
        whole: entries of the factor before it was split, so that a part that went missing is noticed.
        step: of a part: how many entries of the whole one entry of it goes on.
    """

    size: int
    role: Role
    key: int
    whole: int
    step: int = 1


Axis = tuple[Factor, ...]
Axes = tuple[Axis, ...]


def factor(size: int, role: Role = "other") -> Factor:
    """A new factor with a unique key."""
    return Factor(size, role, next(_fresh), size)


def plain(shape: Sequence[int]) -> Axes:
    """Axes without any role."""
    return tuple((factor(size),) if size != 1 else () for size in shape)


def of_input(shape: Sequence[int], sample_dim: int | None) -> Axes:
    """Axes of a network's input; `sample_dim` None for an input that is one sample without a batch axis."""
    axes = plain(shape)
    if sample_dim is None or not -len(shape) <= sample_dim < len(shape):
        return axes
    return replaced(axes, sample_dim, (factor(shape[sample_dim], "sample"),))


def replaced(axes: Axes, dim: int, axis: Axis) -> Axes:
    """`axes` with the axis at `dim` (negative: from the end) exchanged."""
    dim %= len(axes)
    return (*axes[:dim], axis, *axes[dim + 1 :])


def has(axis: Iterable[Factor], role: Role) -> bool:
    """Whether a factor of this role is among these."""
    return any(f.role == role for f in axis)


def find(axes: Axes, role: Role) -> int | None:
    """The first dimension with a factor of this role; None where there is none."""
    return next((dim for dim, axis in enumerate(axes) if has(axis, role)), None)


def reshape(axes: Axes, shape: Sequence[int]) -> Axes:
    """The axes after a row-major reshape to `shape`; what straddles the new borders loses its role."""
    if 0 in shape:
        return plain(shape)
    rest = [f for axis in axes for f in axis][::-1]
    result: list[Axis] = []
    for size in shape:
        axis = _take(rest, size)
        if axis is None:
            return (*result, *plain(shape[len(result) :]))
        result.append(axis)
    if rest and result:  # factors of size 1 that no axis asked for
        result[-1] += tuple(reversed(rest))
    return tuple(result)


def _take(rest: list[Factor], size: int) -> Axis | None:
    """Take factors off the end of `rest` until they make `size`; None where they cannot."""
    taken: list[Factor] = []
    while rest and (size > 1 or (not taken and rest[-1].size == 1)):
        f = rest.pop()
        if size % f.size == 0:
            taken.append(f)
            size //= f.size
        elif f.size % size == 0:
            taken.append(replace(f, size=size, step=f.step * (f.size // size)))
            rest.append(replace(f, size=f.size // size))
            size = 1
        else:
            return None
    return tuple(taken) if size == 1 else None


def permute(axes: Axes, order: Sequence[int]) -> Axes:
    """The axes in another order."""
    return tuple(axes[dim] for dim in order)


def broadcast(operands: Sequence[tuple[Axes, Sequence[int]]], shape: Sequence[int]) -> Axes:
    """The axes of an elementwise result: for each axis, that of the operand which knows most about it.

    Of two that know as much the one with more units does: a weight for each head meets the features of all heads.

    Args:
        operands: axes and shape of each operand, aligned from the right as broadcasting does.
        shape: of the result.
    """
    result: list[Axis] = []
    counts = [math.prod(f.size for axis in axes for f in axis if f.role == "unit") for axes, _ in operands]
    for position in range(-len(shape), 0):
        size = shape[position]
        known = [
            (axes[position], units)
            for (axes, operand), units in zip(operands, counts, strict=True)
            if len(operand) >= -position and operand[position] == size and len(axes) == len(operand)
        ]
        best = max(known, key=_knowledge, default=((), 1))[0]
        result.append(best if best or size == 1 else (factor(size),))
    return tuple(result)


def _knowledge(known: tuple[Axis, int]) -> tuple[int, int, int]:
    axis, units = known
    return sum(f.role in ("sample", "unit") for f in axis), units if has(axis, "unit") else 0, len(axis)


def keep_equal(axes: Axes, before: Sequence[int], after: Sequence[int]) -> Axes:
    """The axes of a result whose axes correspond one to one; of an axis whose length changed only units stay units."""
    return tuple(
        axis if old == new else renewed(axis, new, ("unit",))
        for axis, old, new in zip(axes, before, after, strict=True)
    )


def renewed(axis: Axis, length: int, roles: Sequence[Role]) -> Axis:
    """An axis of another length in the same role, where it has one of these."""
    kept: list[Role] = [role for role in roles if has(axis, role)]
    if len(kept) == 1:
        return (factor(length, kept[0]),)
    return (factor(length),) if length != 1 else ()


def demoted(axes: Axes) -> Axes:
    """The axes with every unit axis made an ordinary one: another layer has made units of its own."""
    return tuple(tuple(replace(f, role="other") if f.role == "unit" else f for f in axis) for axis in axes)


def summed(axes: Axes, gone: Iterable[Axis]) -> Axes:
    """The axes that are left where others were summed over, or one entry of them was picked.

    Where a part of the units' factor is left (the heads of attention, the members of an ensemble), its entries are the
    units now. Where all of it went, the value belongs to one unit, which a factor of size 1 says: the positions beside
    it are none.
    """
    keys = {f.key for axis in gone for f in axis if f.role == "unit"}
    if not keys or not axes:
        return axes
    left = [f for axis in axes for f in axis if f.key in keys]
    if left:
        wholes = {key: math.prod(f.size for f in left if f.key == key) for key in keys}
        return tuple(tuple(replace(f, whole=wholes[f.key]) if f.key in keys else f for f in axis) for axis in axes)
    if any(has(axis, "unit") for axis in axes):
        return axes
    return replaced(axes, -1, (*axes[-1], factor(1, "unit")))


def stacked(axes: Axes, dim: int, members: int) -> Axes:
    """The axes with a new one at `dim` for layers of their own side by side: a unit a member and unit of each."""
    parts = {f.key: f for axis in axes for f in axis if f.role == "unit"}
    if len(parts) > 1 or members == 1:
        return (*axes[:dim], (factor(members),) if members != 1 else (), *axes[dim:])
    whole = members * math.prod(f.size for axis in axes for f in axis if f.role == "unit")
    key = next(iter(parts), next(_fresh))
    within = tuple(tuple(replace(f, whole=whole) if f.role == "unit" else f for f in axis) for axis in axes)
    return (*within[:dim], (Factor(members, "unit", key, whole),), *within[dim:])


def marked(axes: Axes, shape: Sequence[int], unit_dim: int | None) -> Axes:
    """The axes with the units at `unit_dim` and nowhere else, because the user says so; None or no such axis: as is.

    So are those of a single axis that holds the samples: a user's word for all sites is not about that one.
    """
    if unit_dim is None or not -len(shape) <= unit_dim < len(shape) or (len(shape) == 1 and has(axes[0], "sample")):
        return axes
    return replaced(demoted(axes), unit_dim, (factor(shape[unit_dim], "unit"),))


@dataclass(frozen=True)
class Layout:
    """How to see a tensor as (samples, units, positions).

    Attributes:
        shape: the tensor's shape with every axis split into its factors.
        order: a permutation of those: samples first, then units, then positions.
        samples, units, positions: the lengths of the three.
        sample_dim, unit_dim: of the tensor as it is; sample_dim None where the whole tensor is one sample, unit_dim
            None where it is all one unit without an axis of its own.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    samples: int
    units: int
    positions: int
    sample_dim: int | None
    unit_dim: int | None

    def resampled(self, samples: int) -> Layout | None:
        """The layout of a tensor that differs in its number of samples alone; None where that cannot be told."""
        if self.sample_dim is None or self.samples < 2 or self.shape[self.order[0]] != self.samples:
            return None
        first = self.order[0]
        return replace(self, shape=(*self.shape[:first], samples, *self.shape[first + 1 :]), samples=samples)


def layout(axes: Axes, shape: Sequence[int]) -> Layout | None:
    """The layout of a pre-activation; None where its unit axis cannot be told.

    Where no weight is behind it and one axis is left beside the samples, that axis holds the units. Where the sample
    axis cannot be told, the tensor counts as one sample: that makes verdicts slower, never wrong.
    """
    axes = _without_single_units(axes)
    if not any(has(axis, "unit") for axis in axes):
        if any(has(axis, "slot") for axis in axes):
            return None
        others = [dim for dim, axis in enumerate(axes) if not has(axis, "sample")]
        if len(others) != 1:
            return None
        axes = replaced(axes, others[0], (factor(shape[others[0]], "unit"),))
    if not _complete(axes, "unit"):
        return None
    sample_dim = find(axes, "sample") if _complete(axes, "sample") else None
    factors = [f for axis in axes for f in axis]
    units = [i for i, f in enumerate(factors) if f.role == "unit"]
    samples = [i for i, f in enumerate(factors) if f.role == "sample"] if sample_dim is not None else []
    positions = [i for i in range(len(factors)) if i not in units and i not in samples]
    sizes = [f.size for f in factors]
    return Layout(
        shape=tuple(sizes),
        order=(*samples, *units, *positions),
        samples=math.prod(sizes[i] for i in samples),
        units=math.prod(sizes[i] for i in units),
        positions=math.prod(sizes[i] for i in positions),
        sample_dim=sample_dim,
        unit_dim=_unit_dim(axes, shape),
    )


def _without_single_units(axes: Axes) -> Axes:
    """The axes in which a factor of size 1 says that all is one unit at most once, and not beside others."""
    units = [f for axis in axes for f in axis if f.role == "unit"]
    kept = [f for f in units if f.whole > 1] or units[:1]
    return tuple(tuple(f for f in axis if f.role != "unit" or f in kept) for axis in axes)


def _unit_dim(axes: Axes, shape: Sequence[int]) -> int | None:
    """The first axis that holds units and is theirs; None where all is one unit without an axis of its own."""
    dims = [dim for dim, axis in enumerate(axes) if has(axis, "unit")]
    single = all(f.size == 1 for axis in axes for f in axis if f.role == "unit")
    return None if single and shape[dims[0]] != 1 else dims[0]


def _complete(axes: Axes, role: Role) -> bool:
    """Whether exactly one factor of this role is there, with all of its parts."""
    parts = [f for axis in axes for f in axis if f.role == role]
    return len({f.key for f in parts}) == 1 and math.prod(f.size for f in parts) == parts[0].whole

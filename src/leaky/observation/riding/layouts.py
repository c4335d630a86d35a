"""How to see a tensor of another shape than the traced one: the last batch, a longer sequence, a larger image.

Must never guess: a shape whose samples and units cannot be told from the traced layout has none, and is traced anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from leaky.structure.axes import Layout


def fitted(layout: Layout, traced: Sequence[int], shape: Sequence[int], samples: int | None) -> Layout | None:
    """The layout of a tensor that differs from the traced one in lengths alone; None where it cannot be told.

    Args:
        layout: of the traced tensor.
        traced: its shape.
        shape: of the tensor now.
        samples: of the pass now; tells apart the factors of an axis that holds samples and something else.
    """
    if tuple(traced) == tuple(shape):
        return layout
    parts = _factors_by_axis(layout.shape, traced)
    if parts is None or len(shape) != len(traced):
        return None
    roles, sizes = _roles(layout), list(layout.shape)
    for axis, factors in enumerate(parts):
        if shape[axis] == traced[axis]:
            continue
        lengths = _lengths([roles[i] for i in factors], [sizes[i] for i in factors], shape[axis], samples)
        if lengths is None:
            return None
        for place, length in zip(factors, lengths, strict=True):
            sizes[place] = length
    count = {role: math.prod(s for s, r in zip(sizes, roles, strict=True) if r == role) for role in _ROLES}
    return replace(
        layout, shape=tuple(sizes), samples=count["sample"], units=count["unit"], positions=count["position"]
    )


_ROLES = ("sample", "unit", "position")


def _roles(layout: Layout) -> list[str]:
    """The role of every factor, in the order of the layout's shape."""
    roles, left = [""] * len(layout.shape), {"sample": layout.samples, "unit": layout.units}
    for factor in layout.order:
        role = "sample" if left["sample"] > 1 else "unit" if left["unit"] > 1 else "position"
        roles[factor] = role
        if role != "position":
            left[role] //= max(1, layout.shape[factor])
    return roles


def _factors_by_axis(sizes: Sequence[int], shape: Sequence[int]) -> list[list[int]] | None:
    """Which factors make up each axis; an axis of length 1 may have none."""
    found: list[list[int]] = []
    place = 0
    for length in shape:
        factors: list[int] = []
        left = length
        while left > 1 and place < len(sizes):
            if sizes[place] == 0 or left % sizes[place]:
                return None
            left //= sizes[place]
            factors.append(place)
            place += 1
        if left > 1:
            return None
        found.append(factors)
    return found if place == len(sizes) else None


def _lengths(roles: Sequence[str], sizes: Sequence[int], length: int, samples: int | None) -> list[int] | None:
    """The new lengths of an axis's factors; units never change theirs."""
    free = [i for i, role in enumerate(roles) if role != "unit"]
    fixed = math.prod(size for size, role in zip(sizes, roles, strict=True) if role == "unit")
    if not free or length == 0 or length % fixed:
        return None
    lengths, left = list(sizes), length // fixed
    if len(free) == 2 and samples is not None and sum(roles[i] == "sample" for i in free) == 1:
        of_samples, other = sorted(free, key=lambda i: roles[i] != "sample")
        if left % samples:
            return None
        lengths[of_samples], lengths[other] = samples, left // samples
        return lengths
    if len(free) != 1:
        return None
    lengths[free[0]] = left
    return lengths

"""Masks among what a batch gives: told by what they hold and how they lie, so that they meet the argument they are for.

A mask is of truth values, or of 0 and numbers that leave nothing of a score they are added to. What lies as samples ×
positions hides positions; what lies as positions × positions says which one may look at which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from leaky.structure.masking import HIDDEN

PAIRS, POSITIONS, ACROSS = "pairs", "positions", "across"
_OF_PAIRS = ("attn_mask", "src_mask", "tgt_mask", "memory_mask")
"""Names of torch's for what lies as positions × positions."""


def is_mask(value: Any) -> bool:
    """Whether it holds truth values, or 0 and numbers that hide, or the ones and zeros of sequences' beginnings."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_nested or value.numel() == 0:
        return False
    if value.dtype == torch.bool:
        return True
    if value.ndim < 2 or value.is_complex():
        return False
    hides = value.is_floating_point() and bool(((value == 0) | (value <= HIDDEN)).all())
    return hides or (value.ndim == 2 and _marks_beginnings(value))


def _marks_beginnings(value: Tensor) -> bool:
    """Whether every row is ones before zeros, or zeros before ones, and not all are alike, as labels never are."""
    if not bool(((value == 0) | (value == 1)).all()) or value.shape[1] < 2:
        return False
    steps = value[:, 1:].int() - value[:, :-1].int()
    one_way = not (bool((steps > 0).any()) and bool((steps < 0).any()))
    return one_way and bool((steps != 0).sum(1).le(1).all()) and bool((steps != 0).any())


def lies(value: Tensor, first: Tensor) -> str | None:
    """How a mask lies to the first input: over pairs of its positions, over its positions, or over those across."""
    shape, whole = tuple(value.shape), tuple(first.shape[:2])
    if value.ndim and shape == tuple(first.shape[: value.ndim]):
        return POSITIONS
    if first.ndim < 2 or value.ndim < 2:
        return None
    if shape == whole[::-1]:
        return ACROSS
    return PAIRS if shape[-1] == shape[-2] and shape[-1] in whole else None


def place_of(value: Any, first: Tensor, names: Sequence[str]) -> str | None:
    """The first of these arguments that a mask is for; None for what is no mask, or for none of them.

    Args:
        value: that a batch gives.
        first: its first input.
        names: of arguments that nothing is given for yet, in order.
    """
    named = [name for name in names if "mask" in name or "pad" in name]
    form = lies(value, first) if named and isinstance(value, Tensor) else None
    if form is None or not is_mask(value):
        return None
    if form == PAIRS:
        fitting = [name for name in named if "pad" not in name]
    else:
        padding = [name for name in named if "pad" in name]
        square = value.ndim > 1 and value.shape[0] == value.shape[1]
        fitting = padding if padding and not square else [n for n in named if square or n not in _OF_PAIRS]
    return fitting[0] if fitting else None

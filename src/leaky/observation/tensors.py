"""Tensors of unusual kinds as plain ones: nested, quantised, MKLDNN's, sparse and sharded ones, for the sums."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from leaky.structure.values import lengths_of, shape_of


def plain_tensor(value: Tensor) -> tuple[Tensor, Tensor | None]:
    """The same numbers as a plain dense tensor, and where they are real, (samples, length), if some are padding."""
    if value.is_nested:
        lengths = lengths_of(value)
        padded = torch.nested.to_padded_tensor(value.detach(), 0.0).reshape(shape_of(value))
        real = torch.arange(padded.shape[1]).expand(len(lengths), -1) < lengths[:, None].cpu()
        return padded, real
    if value.is_quantized:
        return value.detach().dequantize(), None
    return (value if value.layout == torch.strided else value.detach().to_dense()), None


def is_sharded(value: Tensor) -> bool:
    """Whether it is a DTensor, of which this process holds a part."""
    return hasattr(value, "to_local") and hasattr(value, "full_tensor")


def part_here(value: Tensor) -> Tensor:
    """The part of a tensor that this process holds: all of it where it is not sharded."""
    sharded: Any = value
    part: Tensor = sharded.to_local() if is_sharded(value) else value
    return part


def whole(value: Tensor) -> Tensor:
    """The tensor put together from the parts of all ranks, every one of which must ask."""
    sharded: Any = value
    full: Tensor = sharded.full_tensor() if is_sharded(value) else value
    return full

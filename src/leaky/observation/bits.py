"""Compares and restores tensors bit for bit, whatever their layout and dtype.

What was not changed is not written to, so that it keeps its version and autograd does not notice.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree bit for bit: NaN equals itself, −0 differs from 0."""
    if one.shape != other.shape or one.dtype != other.dtype or one.layout != other.layout:
        return False
    if one.layout is not torch.strided:
        return torch.equal(one.detach().to_dense(), other.detach().to_dense())
    return torch.equal(_bytes(one), _bytes(other))


def put_back(tensor: Tensor, copy: Tensor) -> None:
    """Write `copy` into `tensor` where it differs."""
    if tensor.shape != copy.shape or tensor.dtype != copy.dtype or tensor.layout != copy.layout:
        tensor.data = copy
    elif not same_bits(tensor, copy):
        with writing_to(tensor):
            tensor.detach().copy_(copy)


def copied(tensor: Tensor) -> Tensor:
    """A detached copy."""
    with torch.inference_mode() if tensor.is_inference() else contextlib.nullcontext():
        return tensor.detach().clone()


def writing_to(tensor: Tensor) -> AbstractContextManager[object]:
    """The context in which the tensor's values may be written."""
    return torch.inference_mode() if tensor.is_inference() else torch.no_grad()


def version(tensor: Tensor) -> int:
    """Autograd's version counter of the tensor; 0 if it has none."""
    return 0 if tensor.is_inference() else tensor._version


def fingerprint(tensor: Tensor) -> tuple[int, ...]:
    """A hash of the values, in one pass and without a copy of contiguous ones."""
    if tensor.layout is not torch.strided or tensor.numel() == 0:
        return (version(tensor),)
    flat = _bytes(tensor)
    if flat.dtype is not torch.uint8:
        return (version(tensor),)
    size = next(size for size in (8, 4, 2, 1) if flat.numel() % size == 0 and flat.storage_offset() % size == 0)
    words = flat.view({8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.uint8}[size])
    half = words.numel() // 2
    return int(words[:half].sum(dtype=torch.int64)), int(words[half:].sum(dtype=torch.int64))


def _bytes(value: Tensor) -> Tensor:
    flat = value.detach().contiguous().reshape(-1)
    if not flat.numel() or flat.is_quantized or flat.is_conj() or flat.is_neg():
        return flat.resolve_conj().resolve_neg() if not flat.is_quantized else flat
    return flat.view(torch.uint8)

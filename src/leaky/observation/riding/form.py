"""The form of what goes into a model: all of it but the elements of its tensors."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import Tensor

from leaky.observation.riding.course import Constant


class FormlessError(Exception):
    """Something goes in that has no plain form."""


def form_of(value: Any) -> Hashable:
    """What two inputs share that a model cannot tell apart but by the elements of their tensors.

    Raises:
        FormlessError: for anything but plain tensors on the CPU and plain values, in tuples, lists and dictionaries.
    """
    kind = type(value)
    if kind is Tensor:
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_nested or value.is_quantized:
            raise FormlessError
        return value.shape, value.stride(), value.dtype, value.requires_grad, value.is_neg(), value.is_conj()
    if kind in (tuple, list):
        return kind, tuple(map(form_of, value))
    if kind is dict:
        return kind, tuple((form_of(key), form_of(item)) for key, item in value.items())
    if kind in Constant:
        return kind, value
    raise FormlessError

"""Tensors of unusual kinds as plain ones: nested, quantised, MKLDNN's and sparse ones, for the sums."""

from __future__ import annotations

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

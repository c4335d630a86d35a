"""What the user's data are by their form: one set of samples to cut up, one batch, a data set, or batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from leaky.errors import InputError
from leaky.observation.calling import Calling
from leaky.observation.given_masks import ACROSS, PAIRS, is_mask, lies
from leaky.observation.nesting import mapping_of


def items_of(data: Any, sample_dim: int | None, batch_size: int) -> Iterable[Any]:
    """The batches of data as the data give them, arrays as they are.

    Raises:
        InputError: where the data are of no form that holds batches.
    """
    if isinstance(data, Tensor) and (data.is_nested or data.layout != torch.strided):
        return [data]
    if isinstance(data, (Tensor, np.ndarray)):
        return _pieces(data, sample_dim, batch_size)
    if isinstance(data, Mapping) or is_graph(data) or _is_input_and_mask(data):
        return [data]
    if is_inputs_and_targets(data, sample_dim):
        return _pieces_of_all(data, sample_dim, batch_size)
    if isinstance(data, Dataset) and not hasattr(data, "__iter__"):
        return DataLoader(data, batch_size)
    if isinstance(data, (str, bytes)) or not hasattr(data, "__iter__"):
        raise InputError(
            f"data must be a tensor, an array or an iterable of batches, not {type(data).__name__}; "
            "a DataLoader or a list of tensors will do"
        )
    return data  # type: ignore[no-any-return]


def repeatable(data: Any) -> Any:
    """The data in a form that gives the same batches every time: an iterator or loader is run through and kept."""
    if isinstance(data, Calling):
        return Calling(repeatable(data.data), data.forward)
    again = isinstance(data, (Tensor, np.ndarray, Mapping, list, tuple)) or not hasattr(data, "__iter__")
    return data if again or is_graph(data) else list(data)


def is_inputs_and_targets(data: Any, sample_dim: int | None) -> bool:
    """Whether a tuple or list is one set of samples, inputs and targets, and not several batches.

    A tuple of two or more arrays of one length is; so is such a list where the arrays differ in their number of axes
    or in their type, as batches never do; and a tuple whose inputs are a tuple, list or mapping of arrays themselves,
    before targets that are none.
    """
    if type(data) not in (tuple, list) or len(data) < 2:
        return False
    several = type(data) is tuple and isinstance(data[0], (tuple, list, Mapping)) and not hasattr(data[0], "_fields")
    first = _parts(data[0]) if several else [data[0]]
    arrays = [*first, *data[1:]]
    if not first or not all(isinstance(part, (Tensor, np.ndarray)) and part.ndim for part in arrays):
        return False
    if any(isinstance(p, Tensor) and (p.is_nested or p.layout != torch.strided) for p in arrays):
        return False
    dim = 0 if sample_dim is None else sample_dim
    if not -first[0].ndim <= dim < first[0].ndim or len({_length(part, dim) for part in arrays}) > 1:
        return False
    return type(data) is tuple or len({(part.ndim, str(part.dtype)) for part in data}) > 1


def is_graph(value: Any) -> bool:
    """Whether it is one graph of torch_geometric's kind, which is iterable and yet one batch."""
    return hasattr(value, "edge_index") and hasattr(value, "to_dict")


def _is_input_and_mask(data: Any) -> bool:
    """Whether a tuple is one batch, for it holds a mask over pairs of the input's positions, or across its axes."""
    if type(data) is not tuple or not data:
        return False
    parts = data[0] if type(data[0]) is tuple and all(isinstance(part, Tensor) for part in data[1:]) else data
    if len(parts) < 2 or not all(isinstance(part, (Tensor, np.ndarray)) and part.ndim for part in parts):
        return False
    first, *others = (torch.as_tensor(part) for part in parts)
    return any(is_mask(part) and lies(part, first) in (ACROSS, PAIRS) and len(part) != len(first) for part in others)


def _parts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) else list(value)


def _length(part: Tensor | np.ndarray[Any, Any], dim: int) -> int:
    """Samples of a part: along the inputs' axis, or along the first where a target has no such axis."""
    return int(part.shape[dim] if -part.ndim <= dim < part.ndim else part.shape[0])


def _pieces_of_all(data: Any, sample_dim: int | None, size: int) -> Iterator[Any]:
    """The pieces of every part together, in the form that the parts have."""
    parts = [*(_parts(data[0]) if isinstance(data[0], (tuple, list, Mapping)) else data[:1]), *data[1:]]
    for pieces in zip(*(_pieces(part, sample_dim, size) for part in parts), strict=True):
        inputs, targets = pieces[: 1 - len(data)], pieces[1 - len(data) :]
        if isinstance(data[0], Mapping):
            yield type(data)((mapping_of(data[0], dict(zip(data[0], inputs, strict=True))), *targets))
        else:
            yield type(data)((type(data[0])(inputs), *targets) if isinstance(data[0], (tuple, list)) else pieces)


def _pieces(data: Tensor | np.ndarray[Any, Any], sample_dim: int | None, size: int) -> Iterator[Any]:
    if data.ndim == 0:
        raise InputError("data must have a sample axis, and it is a single number; give an array of at least 1-D")
    if sample_dim is None:
        yield data
        return
    dim = sample_dim % data.ndim if -data.ndim <= sample_dim < data.ndim else 0
    for start in range(0, data.shape[dim], size):
        index = (slice(None),) * dim + (slice(start, start + size),)
        yield data[index]

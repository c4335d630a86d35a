"""Which rows of a batch belong to one sample: the nodes of a graph, the steps of an episode, the visits of a patient.

Rows that depend on each other are one sample, or the bound of a verdict would promise too much. A batch of several
graphs says itself which nodes are of which; of anything else the user does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from leaky.errors import InputError
from leaky.observation.batches import Batch
from leaky.observation.calling import is_edge_index
from leaky.observation.nesting import fields_of, tensors_in
from leaky.structure.samples import Ids

Groups: TypeAlias = "bool | str | Callable[[Any], Tensor]"
"""True: the graphs of a batch of several; False: none; a name in the batch; or a function of the batch."""

WITH_PADDING = "padding is counted, because rows are grouped into samples"
NOTE = "a graph counts as one sample, by `batch`; groups=False counts nodes"


def groups_of(batch: Batch, rows: int, groups: Groups) -> Ids | None:
    """The sample that each row of a batch belongs to, numbered from 0; None where each is one by itself.

    Args:
        batch: the batch.
        rows: entries along the samples' axis of its first input.
        groups: where to look.

    Raises:
        InputError: if what the user asked for is not there, or not one whole number a row.
    """
    if groups is False:
        return None
    if callable(groups):
        return _numbered(groups(batch.original), rows, "groups")
    held = dict(batch.kwargs)
    for value in (*batch.args, batch.original):
        held |= {} if isinstance(value, (Tensor, tuple, list)) else fields_of(value)
    if isinstance(groups, str):
        if not isinstance(held.get(groups), (Tensor, np.ndarray)):
            raise InputError(f"groups must name a tensor of the batch, and {groups!r} is none of {', '.join(held)}")
        return _numbered(held[groups], rows, f"groups {groups!r}")
    own = held.get("batch")
    if not (isinstance(own, Tensor) and _one_a_row(own, rows) and isinstance(held.get("edge_index"), Tensor)):
        own = _of_graphs(tensors_in((batch.args, batch.kwargs, batch.original)), rows)
    if own is None:
        return None
    ids = _numbered(own, rows, "batch")
    return ids if ids.max(initial=0) else None


def _one_a_row(value: Tensor, rows: int) -> bool:
    return value.ndim == 1 and value.dtype in (torch.int64, torch.int32) and len(value) == rows


def _of_graphs(tensors: Sequence[Tensor], rows: int) -> Tensor | None:
    """Which graph each row is of, where the form of the tensors says so and no name: edges, and 0, 0, …, 1, 1, …."""
    tensors = [value for value in tensors if not value.is_nested and value.layout == torch.strided]
    edges = any(is_edge_index(value) and value.numel() and int(value.max()) < rows for value in tensors)
    square = any(value.shape == (rows, rows) for value in tensors)
    if rows < 3 or not (edges or square):
        return None
    for value in tensors:
        if _one_a_row(value, rows) and int(value[0]) == 0:
            steps = value.diff()
            if bool(((steps == 0) | (steps == 1)).all()) and 0 < int(value[-1]) < rows - 1:
                return value
    return None


def _numbered(given: Any, rows: int, what: str) -> Ids:
    tensor = torch.as_tensor(given)
    if tensor.ndim != 1 or len(tensor) != rows or tensor.is_floating_point() or tensor.is_complex():
        shape = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
        raise InputError(f"{what} must be one whole number for each of the {rows} rows of the input, not {shape}")
    return np.unique(tensor.cpu().numpy(), return_inverse=True)[1].astype(np.int64)

"""Which rows of a batch belong to one sample: the nodes of a graph, the steps of an episode, the visits of a patient.

Rows that depend on each other are one sample, or the bound of a verdict would promise too much. A batch of several
graphs says itself which nodes are of which; of anything else the user does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from leaky.errors import InputError
from leaky.observation.batches import Batch
from leaky.observation.nesting import fields_of
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
    graphs = isinstance(own, Tensor) and own.ndim == 1 and not own.is_floating_point() and len(own) == rows
    if not graphs or not isinstance(held.get("edge_index"), Tensor):
        return None
    ids = _numbered(own, rows, "batch")
    return ids if ids.max(initial=0) else None


def _numbered(given: Any, rows: int, what: str) -> Ids:
    tensor = torch.as_tensor(given)
    if tensor.ndim != 1 or len(tensor) != rows or tensor.is_floating_point() or tensor.is_complex():
        shape = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
        raise InputError(f"{what} must be one whole number for each of the {rows} rows of the input, not {shape}")
    return np.unique(tensor.cpu().numpy(), return_inverse=True)[1].astype(np.int64)

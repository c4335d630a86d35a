"""Rows that hold each sample several times, each time with another row of a parameter: a batch ensemble.

`x.repeat_interleave(m, 0) * scale.repeat(n, 1)` runs m members over n samples in one batch. A unit is then a feature of
one of them. Copies are known by value where the parameter first meets them, positions of a sample are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from leaky.structure.axes import Axes, Axis
from leaky.structure.graph import Call, Members, Node
from leaky.structure.samples import Ids, SampleIds


def tiled(call: Call, values: Sequence[Any], axes: Axes, samples: SampleIds) -> Members | None:
    """The members of an elementwise result whose rows are copies of samples; None where they are not.

    Args:
        call: the operation.
        values: its positional arguments with their tensors.
        axes: of the result.
        samples: what is known of the samples of the pass.
    """
    known = list(zip(call.args, values, strict=False))
    pairs = [(node, value) for node, value in known if isinstance(node, Node) and isinstance(value, Tensor)]
    data = [value for node, value in pairs if node.from_data and value.ndim == 2]
    rows = [(node, value) for node, value in pairs if node.learned and not node.from_data and len(node.weights) == 1]
    rows = [(node, value) for node, value in rows if value.ndim == 2 and data and len(value) == len(data[0]) > 1]
    ids = _copies(axes[0], data[0], samples) if rows and len(axes) == 2 else None
    for node, value in rows if ids is not None else ():
        assert ids is not None
        _, first, found = np.unique(value.detach().cpu().numpy(), axis=0, return_index=True, return_inverse=True)
        member = np.argsort(np.argsort(first))[found.reshape(-1)]  # numbered as they come
        count, several = len(first), len(np.unique(ids))
        if count > 1 and count * several == len(ids) == len(np.unique(ids * count + member)):
            shaped = member.reshape([f.size for f in axes[0]])
            return Members(node.weights[0], count, ids=shaped, is_weight=False, factors=axes[0], source=member)
    return None


def _copies(rows: Axis, data: Tensor, samples: SampleIds) -> Ids | None:
    """The sample of each row where samples are repeated along them; None where they are not, or by positions."""
    if sum(f.role == "sample" for f in rows) != 1 or len(rows) > 2:
        return None
    if len(rows) == 1:
        return samples.of(rows) if samples.places_of(rows) is None else None
    sizes = [f.size for f in rows]
    if len(data) != sizes[0] * sizes[1]:
        return None
    along = next(d for d, f in enumerate(rows) if f.role != "sample")
    if rows[along].key not in samples.copies:
        parts = data.detach().reshape(*sizes, -1)
        if not bool(torch.equal(parts, parts.narrow(along, 0, 1).expand_as(parts))):
            return None
        samples.copies.add(rows[along].key)
    return samples.numbered(rows, np.indices(sizes).reshape(2, -1))

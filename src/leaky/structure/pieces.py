"""Maxout: units that are the largest of several linear pieces, and the pieces that are never the largest.

A piece that another one exceeds on everything gets no gradient, as a dead unit does, though nothing rectifies. What is
drawn together must be parts of one layer's units, or what two linear maps gave: a maximum over positions is pooling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from leaky.structure.axes import Axes, has
from leaky.structure.graph import Call, Node
from leaky.structure.operators import operator_named

OVER_AN_AXIS = ("amax", "max")
OF_TWO = ("maximum", "max")


def axis_of_pieces(call: Call) -> int | None:
    """The axis along which a maximum picks among pieces of one layer's units; None where it picks among others."""
    node, dim = call.args[0] if call.args else None, call.get("dim")
    dims = [dim] if isinstance(dim, int) else list(dim) if isinstance(dim, (list, tuple)) else []
    if call.name not in OVER_AN_AXIS or len(dims) != 1 or not isinstance(node, Node) or not node.productions:
        return None
    axis = node.axes[dims[0]] if node.axes and node.from_data else ()
    split = bool(axis) and all(f.role == "unit" and 1 < f.size < f.whole for f in axis)
    others = [f.key for d, each in enumerate(node.axes) if d != dims[0] % len(node.axes) for f in each]
    return dims[0] % len(node.axes) if split and axis[0].key in others else None


def chosen_pieces(call: Call, values: Sequence[Any], result: Any) -> Tensor | None:
    """Which pieces were the largest anywhere, a flag for each of a maximum's pieces; None where it is no maxout."""
    dim = axis_of_pieces(call)
    if dim is not None:
        largest = result[0] if isinstance(result, (tuple, list)) else result
        largest = largest if largest.ndim == values[0].ndim else largest.unsqueeze(dim)
        return _anywhere(values[0] == largest, call.args[0].axes)
    nodes = call.args[:2]
    if call.name not in OF_TWO or len(nodes) < 2 or not all(isinstance(node, Node) for node in nodes):
        return None
    left, right = nodes
    if left.shape != right.shape or left.origin == right.origin or not (_is_piece(left) and _is_piece(right)):
        return None
    return torch.cat([_anywhere(a >= b, left.axes) for a, b in (values[:2], values[1::-1])])


def _is_piece(node: Node) -> bool:
    """Whether it is a linear map's own result, or a part of one."""
    made = operator_named(node.operation).numbers in ("takes", "picks", "moves", "normalises")
    return node.from_data and bool(node.productions) and node.site is None and made


def _anywhere(flags: Tensor, axes: Axes) -> Tensor:
    dims = [dim for dim, axis in enumerate(axes) if not has(axis, "unit")]
    return (flags.any(dim=dims) if dims else flags).reshape(-1)

"""What an operator does to the numbers of units that its arguments' elements carry: tables and pure functions.

An operator that moves elements is run on the numbers themselves; one without a rule mixes units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from leaky.structure.graph import Node
from leaky.structure.history import History, Step

NONE = -1
"""The label of an element that belongs to no unit in question."""

MOVING = frozenset(
    {
        "view",
        "_unsafe_view",
        "reshape",
        "_reshape_alias",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "t",
        "squeeze",
    }
    | {"unsqueeze", "expand", "slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unsafe_split"}
    | {"unsafe_chunk", "unbind", "cat", "stack", "flip", "roll", "pixel_shuffle", "pixel_unshuffle", "diagonal"}
    | {"unfold", "repeat", "swapaxes", "movedim", "channel_shuffle", "rot90", "alias", "detach", "numpy_T"}
)
"""Operators that put elements elsewhere and change none."""

PADDING = frozenset(
    {"constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d"}
)

ELEMENTWISE = frozenset(
    {"clone", "contiguous", "_to_copy", "dropout", "native_dropout", "lift_fresh", "neg", "abs", "exp", "log", "sqrt"}
    | {"rsqrt", "square", "pow", "tanh", "sigmoid", "relu", "relu6", "leaky_relu", "hardtanh", "clamp", "clip"}
    | {"clamp_min", "clamp_max", "prelu", "_prelu_kernel", "rrelu", "rrelu_with_noise", "threshold", "maximum", "fmax"}
    | {"minimum", "fmin", "where", "gelu", "silu", "mish", "hardswish", "hardsigmoid", "elu", "selu", "celu"}
    | {"softplus", "add", "sub", "rsub", "mul", "div", "copy", "gt", "ge", "lt", "le", "eq", "ne", "isnan", "sign"}
    | {"reciprocal", "log1p", "expm1", "sin", "cos", "erf", "nan_to_num", "logical_not", "addcmul", "addcdiv"}
)
"""Operators that work on each element by itself; operands of other data join."""

SCALING = frozenset({"mul", "div"})
"""Elementwise operators through which a unit that is zero stays zero, whatever other data come in."""

BATCH_NORMS = frozenset({"native_batch_norm", "cudnn_batch_norm", "_native_batch_norm_legit_no_training"})

LINEAR = (
    MOVING
    | PADDING
    | BATCH_NORMS
    | {"clone", "contiguous", "_to_copy", "dropout", "native_dropout", "lift_fresh", "neg", "add", "sub", "mul", "div"}
    | {"copy", "mean", "sum", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "max_pool2d"}
    | {"max_pool2d_with_indices", "max_pool3d_with_indices", "upsample_nearest1d", "upsample_nearest2d"}
)
"""Operators that a pre-activation may go through on its way to its site: they keep its sign's meaning and its scale."""

REDUCTIONS = frozenset({"mean", "sum", "amax", "amin", "max", "min"})

SPATIAL = {
    "avg_pool1d": 1,
    "avg_pool2d": 2,
    "avg_pool3d": 3,
    "_adaptive_avg_pool2d": 2,
    "_adaptive_avg_pool3d": 3,
    "adaptive_max_pool2d": 2,
    "adaptive_max_pool3d": 3,
    "max_pool2d": 2,
    "max_pool2d_with_indices": 2,
    "max_pool3d_with_indices": 3,
    "upsample_nearest1d": 1,
    "upsample_nearest2d": 2,
    "upsample_nearest3d": 3,
    "upsample_linear1d": 1,
    "upsample_bilinear2d": 2,
    "upsample_bicubic2d": 2,
    "upsample_trilinear3d": 3,
}
"""Operators over the last so many axes, and how many."""


class MixedError(Exception):
    """An operator works on several units at once."""


PRODUCTS = frozenset({"mm", "bmm", "matmul", "addmm", "baddbmm", "linear", "convolution", "mv", "addmv"})


def overwriting_steps(history: History) -> set[int]:
    """The numbers of the steps that write over memory which another value that is used later shares."""
    root: dict[int, int] = {}
    families: dict[int, list[int]] = {}
    last_use: dict[int, int] = {}
    for step in history.steps:
        for node in step.call.nodes:
            last_use[node.index] = step.number
    found = set()
    for step in history.steps:
        sources = step.call.nodes
        if not sources or not (step.views or step.writes):
            continue
        first = sources[0].index
        family = root.setdefault(first, first)
        members = families.setdefault(family, [first])
        if step.writes and any(last_use.get(member, -1) > step.number for member in members):
            found.add(step.number)
        if step.writes:
            members.clear()
        for node in step.results:
            root[node.index] = family
            members.append(node.index)
    return found


def labels_in(label: Tensor) -> tuple[int, ...]:
    """The labels that occur, ascending, without NONE."""
    return tuple(int(i) for i in torch.unique(label).tolist() if i != NONE)


def element_count(shape: Sequence[int]) -> int:
    """Elements of a tensor of this shape."""
    return int(torch.Size(shape).numel())


_RESHAPING = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten"})
"""Operators whose order of elements is the logical one, however the memory of labels lies."""


def moved_labels(step: Step, labels: dict[int, Tensor]) -> list[Tensor]:
    """The operator of a step on labels; what carries none is NONE throughout."""
    name = step.call.name
    if name == "constant_pad_nd":
        padded = torch.nn.functional.pad(label_of(step.call.args[0], labels), step.call.args[1], value=NONE)
        return [padded]
    if name in PADDING:
        return [step.function(label_of(step.call.args[0], labels).double(), *step.call.args[1:]).long()]

    if name in _RESHAPING:
        return [label_of(step.call.args[0], labels).reshape(step.results[0].shape)]

    def replaced(value: Any) -> Any:
        if isinstance(value, Node):
            return label_of(value, labels)
        if isinstance(value, (list, tuple)):
            return [replaced(item) for item in value]
        return value

    output = step.function(*map(replaced, step.call.args), **{k: replaced(v) for k, v in step.call.kwargs.items()})
    return list(output) if isinstance(output, (list, tuple)) else [output]


def label_of(node: Node, labels: dict[int, Tensor]) -> Tensor:
    """The labels of a value, NONE throughout where it has none."""
    found = labels.get(node.index)
    return torch.full(node.shape, NONE) if found is None else found


def takes_no_value(step: Step) -> bool:
    """Whether the operator's other operands do not enter its result's value: a copy's target, a comparison's."""
    return step.call.name in ("copy", "gt", "ge", "lt", "le", "eq", "ne")


def spread_over(label: Tensor, shape: tuple[int, ...], step: Step) -> Tensor:
    """The labels of an operand, broadcast to the result's shape."""
    try:
        return label.expand(shape)
    except RuntimeError as error:
        raise MixedError(f"{step} mixes units") from error


def labels_along(label: Tensor, dim: int, step: Step) -> Tensor:
    """The labels along one axis, where they are the same over all the others; shape of that axis."""
    others = [d for d in range(label.ndim) if d != dim]
    if label.ndim <= dim or label.numel() == 0:
        raise MixedError(f"{step} mixes units")
    low, high = (label.amin(others), label.amax(others)) if others else (label, label)
    if bool((low != high).any()):
        raise MixedError(f"{step} mixes units: they lie along several of its axes")
    return low


def owners_of(elements: Tensor, label: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The label of each element of a parameter that is spread over labelled values; NONE where it meets several."""
    spread = elements.expand_as(label).reshape(-1) if elements.ndim <= label.ndim else elements.reshape(-1)
    flat = label.reshape(-1)
    high = torch.full((element_count(shape),), NONE).scatter_reduce(0, spread, flat, "amax")
    low = torch.full((element_count(shape),), torch.iinfo(torch.long).max).scatter_reduce(0, spread, flat, "amin")
    return torch.where(high == low, high, torch.full_like(high, NONE)).reshape(shape)


def pooled_labels(step: Step, labels: dict[int, Tensor]) -> dict[int, Tensor]:
    """Of an operator over some axes: the labels, where they do not differ along those."""
    value = step.call.args[0]
    label = labels.get(value.index)
    if label is None:
        raise MixedError(f"{step} takes it beside the value")
    result = step.results[0]
    if step.call.name in SPATIAL:
        dims = list(range(label.ndim - SPATIAL[step.call.name], label.ndim))
        kept = _same_over(label, dims, step).expand(result.shape)
    else:
        asked = step.call.get("dim")
        if not isinstance(asked, (int, list, tuple)) or isinstance(asked, bool):
            raise MixedError(f"{step} mixes units: it works on all of them at once")
        dims = [d % label.ndim for d in ([asked] if isinstance(asked, int) else asked)] or list(range(label.ndim))
        kept = _same_over(label, dims, step).reshape(result.shape)
    return {node.index: kept for node in step.results[:1]}


def _same_over(label: Tensor, dims: list[int], step: Step) -> Tensor:
    low, high = label.amin(dims, keepdim=True), label.amax(dims, keepdim=True)
    if bool((low != high).any()):
        raise MixedError(f"{step} mixes units")
    return low


def listed(value: Any) -> list[Any]:
    """A list of one or of several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def operands_of(step: Step) -> tuple[Node, Node, Node | None]:
    """Value, weight and bias of a product; the weight is the operand without data, if one is."""
    args = step.call.args
    if step.call.name in ("addmm", "baddbmm", "addmv"):
        bias, left, right = args[:3]
    elif step.call.name in ("mm", "bmm", "matmul", "mv", "linear", "convolution"):
        left, right = args[:2]
        bias = step.call.get("bias") if step.call.name in ("linear", "convolution") else None
    else:
        raise MixedError(f"{step} takes it in a way that is not followed")
    value, weight = (right, left) if right.from_data and not left.from_data else (left, right)
    return value, weight, bias if isinstance(bias, Node) else None


def contracted_labels(step: Step, weight: Node, label: Tensor) -> tuple[str, Tensor]:
    """The kind of a product, and the label of each element of its weight as it was taken.

    Raises:
        MixedError: if units lie along other axes than the one that is summed over.
    """
    call = step.call
    if call.name == "convolution":
        kind = "transposed_convolution" if bool(call.get("transposed")) else "convolution"
        return kind, over_weight(step, weight, labels_along(label, 1, step))
    if call.name == "linear":
        return "linear", over_weight(step, weight, labels_along(label, label.ndim - 1, step))
    return "linear", over_weight(
        step, weight, _matrix_labels(label, -2 if weight_comes_first(step, weight) else -1, step)
    )


def over_weight(step: Step, weight: Node, contracted: Tensor) -> Tensor:
    """What belongs to each entry of the axis that is summed over, at each element of the weight as it was taken.

    Args:
        step: the product.
        weight: its weight.
        contracted: of the axis, or of that of each matrix in a stack.
    """
    call = step.call
    if call.name == "convolution":
        tail, groups = (1,) * (len(weight.shape) - 2), int(call.get("groups"))
        if bool(call.get("transposed")):
            return contracted.reshape(-1, 1, *tail).expand(weight.shape)
        rows = contracted.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
        return rows.reshape(weight.shape[0], weight.shape[1], *tail).expand(weight.shape)
    if call.name == "linear" or weight_comes_first(step, weight):
        return contracted.unsqueeze(-2).expand(weight.shape)
    if len(weight.shape) == 1:
        return contracted
    return contracted.unsqueeze(-1).expand(weight.shape)


def units_of_weight(step: Step, weight: Node) -> Tensor:
    """The unit that each element of a weight, as it was taken, makes a part of."""
    call, shape = step.call, weight.shape
    if call.name == "convolution" and bool(call.get("transposed")):
        groups, made = int(call.get("groups")), step.results[0].shape[1]
        rows = torch.arange(made).reshape(groups, 1, -1).expand(-1, shape[0] // groups, -1)
        return rows.reshape(shape[0], shape[1], *(1,) * (len(shape) - 2)).expand(shape)
    if call.name == "convolution":
        return torch.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1)).expand(shape)
    if call.name == "linear" or weight_comes_first(step, weight):
        return torch.arange(shape[-2]).unsqueeze(-1).expand(shape)
    return torch.arange(shape[-1]).expand(shape)


def unit_dim_of(step: Step, weight: Node) -> int:
    """The axis of a product's result along which its units lie."""
    if step.call.name == "convolution":
        return 1
    first = step.call.name != "linear" and weight_comes_first(step, weight)
    return len(step.results[0].shape) - (2 if first else 1)


def weight_comes_first(step: Step, weight: Node) -> bool:
    """Whether a product is weight · value."""
    args = step.call.args
    return weight is (args[1] if step.call.name in ("addmm", "baddbmm", "addmv") else args[0])


def _matrix_labels(label: Tensor, axis: int, step: Step) -> Tensor:
    """The labels along the contracted axis of a matrix, or of each matrix of a stack."""
    if label.ndim == 1:
        return label
    other = -1 if axis == -2 else -2
    low, high = label.amin(other), label.amax(other)
    if bool((low != high).any()):
        raise MixedError(f"{step} mixes units: they lie along several of its axes")
    return low

"""What an operator does to the numbers of units that its arguments' elements carry: pure functions on numbers.

Which of them an operator takes is in its row of the table; one without a row mixes units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from leaky.structure.graph import Node
from leaky.structure.history import Event, History
from leaky.structure.operators.operator import dims_of

NONE = -1
"""The label of an element that belongs to no unit in question."""


class MixedError(Exception):
    """An operator works on several units at once."""


def overwriting_events(history: History) -> set[int]:
    """The numbers of the events that write over memory which another value that is used later shares."""
    root: dict[int, int] = {}
    families: dict[int, list[int]] = {}
    last_use: dict[int, int] = {}
    for event in history.events:
        for node in event.call.nodes:
            last_use[node.index] = event.number
    found = set()
    for event in history.events:
        sources = event.call.nodes
        if not sources or not (event.views or event.writes):
            continue
        first = sources[0].index
        family = root.setdefault(first, first)
        members = families.setdefault(family, [first])
        if event.writes and any(last_use.get(member, -1) > event.number for member in members):
            found.add(event.number)
        if event.writes:
            members.clear()
        for node in event.results:
            root[node.index] = family
            members.append(node.index)
    return found


def labels_in(label: Tensor) -> tuple[int, ...]:
    """The labels that occur, ascending, without NONE."""
    return tuple(int(i) for i in torch.unique(label).tolist() if i != NONE)


def element_count(shape: Sequence[int]) -> int:
    """Elements of a tensor of this shape."""
    return int(torch.Size(shape).numel())


def moved_labels(event: Event, labels: dict[int, Tensor]) -> list[Tensor]:
    """The operator of an event on labels; what carries none is NONE throughout."""
    if event.operator.numbers == "pads":
        return [_padded_labels(event, label_of(event.call.args[0], labels))]
    if len(event.call.nodes) == 1 and event.operator.same_value and not event.operator.reorders:
        return [label_of(event.call.args[0], labels).reshape(event.results[0].shape)]

    def replaced(value: Any) -> Any:
        if isinstance(value, Node):
            return label_of(value, labels)
        if isinstance(value, (list, tuple)):
            return [replaced(item) for item in value]
        return value

    output = event.function(*map(replaced, event.call.args), **{k: replaced(v) for k, v in event.call.kwargs.items()})
    return list(output) if isinstance(output, (list, tuple)) else [output]


def _padded_labels(event: Event, label: Tensor) -> Tensor:
    """Numbers are shifted by one, so that the zeros around them are those of no unit."""
    call = event.call
    given = {**dict(zip(call.names, call.args, strict=False)), **call.kwargs, "self": label.double() - NONE}
    padded: Tensor = event.function(**{name: value for name, value in given.items() if name != "value"})
    return padded.long() + NONE


def label_of(node: Node, labels: dict[int, Tensor]) -> Tensor:
    """The labels of a value, NONE throughout where it has none."""
    found = labels.get(node.index)
    return torch.full(node.shape, NONE) if found is None else found


def spread_over(label: Tensor, shape: tuple[int, ...], event: Event) -> Tensor:
    """The labels of an operand, broadcast to the result's shape."""
    try:
        return label.expand(shape)
    except RuntimeError as error:
        raise MixedError(f"{event} mixes units") from error


def labels_along(label: Tensor, dim: int, event: Event) -> Tensor:
    """The labels along one axis, where they are the same over all the others; shape of that axis."""
    others = [d for d in range(label.ndim) if d != dim]
    if label.ndim <= dim or label.numel() == 0:
        raise MixedError(f"{event} mixes units")
    low, high = (label.amin(others), label.amax(others)) if others else (label, label)
    if bool((low != high).any()):
        raise MixedError(f"{event} mixes units: they lie along several of its axes")
    return low


def owners_of(elements: Tensor, label: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The label of each element of a parameter that is spread over labelled values; NONE where it meets several."""
    spread = elements.expand_as(label).reshape(-1) if elements.ndim <= label.ndim else elements.reshape(-1)
    flat = label.reshape(-1)
    high = torch.full((element_count(shape),), NONE).scatter_reduce(0, spread, flat, "amax")
    low = torch.full((element_count(shape),), torch.iinfo(torch.long).max).scatter_reduce(0, spread, flat, "amin")
    return torch.where(high == low, high, torch.full_like(high, NONE)).reshape(shape)


def pooled_labels(event: Event, labels: dict[int, Tensor]) -> dict[int, Tensor]:
    """Of an operator over some axes: the labels, where they do not differ along those."""
    value = event.call.args[0]
    label = labels.get(value.index)
    if label is None:
        raise MixedError(f"{event} takes it beside the value")
    result = event.results[0]
    if event.operator.spatial:
        dims = list(range(label.ndim - event.operator.spatial, label.ndim))
        kept = _same_over(label, dims, event).expand(result.shape)
    else:
        asked = dims_of(event.call.get("dim"), label.ndim)
        if asked is None:
            raise MixedError(f"{event} mixes units: it works on all of them at once")
        kept = _same_over(label, sorted(asked), event).reshape(result.shape)
    return {result.index: kept}


def picked_labels(event: Event, labels: dict[int, Tensor]) -> dict[int, Tensor]:
    """Of an operator that picks or places entries along some axes: the labels, where they do not differ along those.

    What else comes in along these axes is of the same units, such as the messages of other nodes.
    """
    source = event.call.get(event.operator.source)
    label = labels.get(source.index)
    base = labels.get(event.call.args[0].index)
    result = event.results[0]
    if label is None or len(source.shape) != len(result.shape):
        raise MixedError(f"{event} takes it beside the entries that are moved")
    given = event.call.get("indices")
    dims = [d for d, index in enumerate(given) if index is not None] if given else [event.call.get("dim") % label.ndim]
    whole = [d for d in range(label.ndim) if d not in dims and label.shape[d] != result.shape[d]]
    kept = _same_over(label, [*dims, *whole], event).expand(result.shape)
    if base is not None and source is not event.call.args[0] and bool((base != kept).any()):
        raise MixedError(f"{event} puts units among other units")
    return {result.index: kept}


def _same_over(label: Tensor, dims: list[int], event: Event) -> Tensor:
    low, high = label.amin(dims, keepdim=True), label.amax(dims, keepdim=True)
    if bool((low != high).any()):
        raise MixedError(f"{event} mixes units")
    return low


def listed(value: Any) -> list[Any]:
    """A list of one or of several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def operands_of(event: Event) -> tuple[Node, Node, Node | None]:
    """Value, weight and bias of a product; the weight is the operand without data, if one is."""
    if event.operator.operands is None:
        raise MixedError(f"{event} takes it in a way that is not followed")
    bias, left, right = (event.call.get(name) for name in event.operator.operands)
    value, weight = (right, left) if right.from_data and not left.from_data else (left, right)
    return value, weight, bias if isinstance(bias, Node) else None


def is_convolution(event: Event) -> bool:
    """Whether a product slides its weight over positions."""
    return event.call.get("groups") is not None


def contracted_labels(event: Event, weight: Node, label: Tensor) -> tuple[str, Tensor]:
    """The kind of a product, and the label of each element of its weight as it was taken.

    Raises:
        MixedError: if units lie along other axes than the one that is summed over.
    """
    call = event.call
    if is_convolution(event):
        kind = "transposed_convolution" if bool(call.get("transposed")) else "convolution"
        return kind, over_weight(event, weight, labels_along(label, 1, event))
    if event.operator.rows:
        return "linear", over_weight(event, weight, labels_along(label, label.ndim - 1, event))
    return "linear", over_weight(
        event, weight, _matrix_labels(label, -2 if weight_comes_first(event, weight) else -1, event)
    )


def over_weight(event: Event, weight: Node, contracted: Tensor) -> Tensor:
    """What belongs to each entry of the axis that is summed over, at each element of the weight as it was taken.

    Args:
        event: the product.
        weight: its weight.
        contracted: of the axis, or of that of each matrix in a stack.
    """
    call = event.call
    if is_convolution(event):
        tail, groups = (1,) * (len(weight.shape) - 2), int(call.get("groups"))
        if bool(call.get("transposed")):
            return contracted.reshape(-1, 1, *tail).expand(weight.shape)
        rows = contracted.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
        return rows.reshape(weight.shape[0], weight.shape[1], *tail).expand(weight.shape)
    if event.operator.rows or weight_comes_first(event, weight):
        return contracted.unsqueeze(-2).expand(weight.shape)
    if len(weight.shape) == 1:
        return contracted
    return contracted.unsqueeze(-1).expand(weight.shape)


def units_of_weight(event: Event, weight: Node) -> Tensor:
    """The unit that each element of a weight, as it was taken, makes a part of."""
    call, shape = event.call, weight.shape
    if is_convolution(event) and bool(call.get("transposed")):
        groups, made = int(call.get("groups")), event.results[0].shape[1]
        rows = torch.arange(made).reshape(groups, 1, -1).expand(-1, shape[0] // groups, -1)
        return rows.reshape(shape[0], shape[1], *(1,) * (len(shape) - 2)).expand(shape)
    if is_convolution(event):
        return torch.arange(shape[0]).reshape(-1, *(1,) * (len(shape) - 1)).expand(shape)
    if event.operator.rows or weight_comes_first(event, weight):
        return torch.arange(shape[-2]).unsqueeze(-1).expand(shape)
    return torch.arange(shape[-1]).expand(shape)


def unit_dim_of(event: Event, weight: Node) -> int:
    """The axis of a product's result along which its units lie."""
    if is_convolution(event):
        return 1
    first = not event.operator.rows and weight_comes_first(event, weight)
    return len(event.results[0].shape) - (2 if first else 1)


def weight_comes_first(event: Event, weight: Node) -> bool:
    """Whether a product is weight · value."""
    operands = event.operator.operands
    return operands is not None and weight is event.call.get(operands[1])


def _matrix_labels(label: Tensor, axis: int, event: Event) -> Tensor:
    """The labels along the contracted axis of a matrix, or of each matrix of a stack."""
    if label.ndim == 1:
        return label
    other = -1 if axis == -2 else -2
    low, high = label.amin(other), label.amax(other)
    if bool((low != high).any()):
        raise MixedError(f"{event} mixes units: they lie along several of its axes")
    return low

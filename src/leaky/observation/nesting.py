"""Tensors inside whatever holds them: tuples, mappings, dataclasses, graphs' data, a model's own output classes."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from leaky.structure.samples import Ids

_DEPTH = 6
"""How deep a nesting is looked into; objects may hold each other."""


def tensors_in(value: Any, depth: int = _DEPTH) -> list[Tensor]:
    """Every tensor in nested tuples, lists, mappings and objects with fields, in order."""
    if isinstance(value, Tensor):
        return [value]
    if depth == 0:
        return []
    if isinstance(value, Mapping):
        return [tensor for item in value.values() for tensor in tensors_in(item, depth - 1)]
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in tensors_in(item, depth - 1)]
    if isinstance(getattr(value, "data", None), Tensor):  # a PackedSequence
        return [value.data]
    if hasattr(value, "to_tuple"):  # a model's output of the transformers kind
        return tensors_in(value.to_tuple(), depth - 1)
    return tensors_in(fields_of(value), depth - 1)


def fields_of(value: Any) -> dict[str, Any]:
    """The named parts of an object that holds data; none of what is no such object.

    A mapping's items, a namedtuple's or dataclass's fields, the keys of a graph (torch_geometric's `Data`) or of a
    dictionary of tensors that is no mapping, and else the attributes that a class of the user's has.
    """
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: getattr(value, name) for name in value._fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (str, bytes, int, float, complex, type, nn.Module, np.ndarray, Tensor)):
        return {}
    if inspect.isroutine(value) or inspect.ismodule(value):
        return {}
    if callable(getattr(value, "keys", None)) and hasattr(value, "__getitem__"):
        keys = sorted(value.keys(), key=lambda key: key != "x")  # a graph's nodes come first
        return {str(key): value[key] for key in keys}
    held = getattr(value, "__dict__", None)
    return dict(held) if isinstance(held, dict) else {}


def map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nesting with every tensor changed; objects that are no tuple, list, mapping or dataclass as they are."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        changed = {key: map_tensors(item, change) for key, item in value.items()}
        return mapping_of(value, changed)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return value if hasattr(value, "batch_sizes") else type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(map_tensors(item, change) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {name: map_tensors(item, change) for name, item in fields_of(value).items()}
        try:
            return dataclasses.replace(value, **parts)
        except (TypeError, ValueError):  # fields that its constructor does not take
            return value
    return value


def mapping_of(value: Mapping[Any, Any], changed: dict[Any, Any]) -> Any:
    """A mapping with other values, of its own class (BatchEncoding, OrderedDict) where it can be made of them."""
    if type(value) is dict:
        return changed
    try:
        return type(value)(changed)  # type: ignore[call-arg]
    except TypeError:
        return changed


def rows_of(packed: Any) -> Ids:
    """The sample of each row of a PackedSequence: those of the first step, the longest first, then of the next."""
    counts, order = packed.batch_sizes.tolist(), packed.sorted_indices
    numbers = np.arange(counts[0]) if order is None else order.cpu().numpy()
    return np.concatenate([numbers[:count] for count in counts])

"""How a batch goes into a model: one adapter for every way to call one.

A batch is what the user's data give; a model takes what its `forward` asks for. A mapping, a namedtuple, a dataclass or
a graph goes in by the names of the arguments, without what the model does not ask for (labels), or whole where the
model takes one argument that is none of its names; a function `forward(model, batch)` of the user's decides where that
is not enough.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.observation.given_masks import place_of
from leaky.observation.nesting import fields_of

Forward = Callable[[nn.Module, Any], Any]
"""The user's own way to call the model with a batch as the data gave it."""


@dataclass(frozen=True, eq=False)
class Calling:
    """Data with the user's own way to call a model with a batch of them; wherever data are taken, these are.

    Attributes:
        data: in any form in which data are taken.
        forward: a function of the model and a batch as the data give it, its tensors on the model's device.
    """

    data: Any
    forward: Forward


def calling(data: Any, forward: Forward | None) -> Any:
    """The data with the user's way to call the model; as they are where there is none.

    Raises:
        InputError: if `forward` is no function, or is given without data.
    """
    if forward is None:
        return data
    if not callable(forward):
        raise InputError(f"forward must be a function of the model and a batch, not {type(forward).__name__}")
    if data is None:
        raise InputError("forward must come with a batch to call the model with")
    return Calling(data.data if isinstance(data, Calling) else data, forward)


@dataclass(frozen=True)
class Signature:
    """What a model's forward takes.

    Attributes:
        names: of its arguments, in order.
        required: those without a default.
        anything: whether it takes names that it does not list.
        positional: whether it takes any number of arguments by position.
        of_tensors: whether its first argument is annotated as a list or tuple of tensors.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    anything: bool
    positional: bool
    of_tensors: bool = False

    @property
    def takes_one(self) -> bool:
        """Whether one argument is enough and the first is the one."""
        return bool(self.names) and set(self.required) <= {self.names[0]}


def signature_of(model: nn.Module) -> Signature | None:
    """The signature of a model's forward, wrappers looked through; None where it cannot be read."""
    while type(model).__name__ in ("DataParallel", "DistributedDataParallel", "OptimizedModule"):
        inner = getattr(model, "module", None) or getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    try:
        parameters = list(inspect.signature(model.forward).parameters.values())
    except (TypeError, ValueError, AttributeError):
        return None
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return Signature(
        tuple(p.name for p in named),
        tuple(p.name for p in named if p.default is p.empty),
        any(p.kind == p.VAR_KEYWORD for p in parameters),
        any(p.kind == p.VAR_POSITIONAL for p in parameters),
        bool(named) and _SEVERAL.fullmatch(_annotation(named[0])) is not None,
    )


_SEVERAL = re.compile(r"(typing\.)?(list|tuple|sequence|iterable)\[(torch\.)*tensor\b.*\]", re.IGNORECASE)


def _annotation(parameter: inspect.Parameter) -> str:
    given = parameter.annotation
    return given if isinstance(given, str) else str(given)


def arguments_of(item: Any, model: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The positional and named arguments that a batch gives a model.

    Args:
        item: the batch: an input; a tuple whose first item is the input; several inputs in a tuple as that first item;
            or something with names.
        model: that is called.

    Raises:
        InputError: where a batch with names lacks one that the model needs.
    """
    several = isinstance(item, (tuple, list)) and not hasattr(item, "_fields")
    if isinstance(item, list) and item and all(isinstance(part, str) for part in item):
        return (item,), {}  # texts
    if is_list_of_samples(item) and not _takes(model, len(item)):
        return (item,), {}
    if several and item and all(isinstance(part, Tensor) for part in item) and _takes_several_as_one(model):
        return (item,), {}
    inputs = item[0] if several and item else item
    if isinstance(inputs, (tuple, list)) and not hasattr(inputs, "_fields") and several:
        return (tuple(inputs) if _takes(model, len(inputs)) else (inputs,)), {}
    if several and isinstance(inputs, Tensor):
        given = inputs_in_order(item, model)
        return given.args, given.kwargs
    names = {} if isinstance(inputs, Tensor) or hasattr(inputs, "batch_sizes") else fields_of(inputs)
    return _by_name(inputs, names, model) if names else ((inputs,), {})


def is_list_of_samples(value: Any) -> bool:
    """Whether it is a list of tensors of several lengths, a sample each, as sequences are before they are packed."""
    several = isinstance(value, list) and all(isinstance(part, Tensor) and part.ndim > 0 for part in value)
    return several and len({part.ndim for part in value}) == 1 < len({len(part) for part in value})


def _takes_several_as_one(model: nn.Module) -> bool:
    """Whether a model takes a list of tensors as its one input, by its annotation."""
    signature = signature_of(model)
    return signature is not None and signature.takes_one and signature.of_tensors


def _takes(model: nn.Module, count: int) -> bool:
    """Whether a model takes so many inputs by position; where it takes a single one, several are that one."""
    signature = signature_of(model)
    return signature is None or signature.positional or not signature.takes_one or len(signature.names) >= count


class InOrder(NamedTuple):
    """What a tuple gives.

    Attributes:
        args, kwargs: the inputs; by name what stands elsewhere in the tuple than among the model's arguments.
        rest: the targets, and what else is no input.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    rest: tuple[Any, ...]


def inputs_in_order(item: Sequence[Any], model: nn.Module) -> InOrder:
    """The inputs of a tuple: as many as the model needs, and what is no target by its name and form."""
    needed, signature = inputs_needed(model), signature_of(model)
    names = () if signature is None else signature.names
    edges = next((value for value in item if isinstance(value, Tensor) and is_edge_index(value)), None)
    args = list(item[:needed])
    kwargs: dict[str, Any] = {}
    rest: list[Any] = []
    for value in item[needed:]:
        free = [name for name in names[len(args) :] if name not in kwargs]
        in_turn = bool(free) and not kwargs and not rest and _of_graph(free[0], value, item[0], edges)
        name = free[0] if in_turn else place_of(value, item[0], free)
        if name is None:
            rest.append(value)
        elif name == names[len(args)] and not kwargs:
            args.append(value)
        else:
            kwargs[name] = value
    return InOrder(tuple(args), kwargs, tuple(rest))


def _of_graph(name: str, value: Any, first: Tensor, edges: Tensor | None) -> bool:
    """Whether a value is the part of a graph that an argument with a default asks for."""
    if edges is None or not isinstance(value, Tensor) or value.ndim == 0:
        return False
    if not name.startswith("edge") and name != "batch":
        return False
    return value is edges or len(value) == (len(first) if name == "batch" else edges.shape[1])


def is_edge_index(value: Tensor) -> bool:
    """Whether it may be the edges of a graph: pairs of whole numbers, of shape (2, edges)."""
    whole = value.dtype in (torch.int64, torch.int32)
    return whole and value.layout == torch.strided and value.ndim == 2 and value.shape[0] == 2


def inputs_needed(model: nn.Module) -> int:
    """How many inputs a model cannot do without; 1 where that cannot be told."""
    signature = signature_of(model)
    return max(1, len(signature.required)) if signature is not None else 1


def _by_name(inputs: Any, names: dict[str, Any], model: nn.Module) -> tuple[tuple[Any, ...], dict[str, Any]]:
    signature = signature_of(model)
    if signature is None or (
        signature.anything and set(signature.required) <= {*names} and isinstance(inputs, Mapping)
    ):
        return (), names
    needed = set(signature.required)  # None may be what is meant there
    known = {name: value for name, value in names.items() if name in signature.names}
    known = {name: value for name, value in known.items() if value is not None or name in needed}
    if needed and needed <= {*known}:
        return (), known
    if signature.takes_one and not known:
        first = isinstance(inputs, tuple) and not _is_named_for(signature.names[0])
        return (next(iter(names.values())) if first else inputs,), {}
    if not signature.names:
        whole = next(iter(names.values())) if isinstance(inputs, tuple) else inputs
        return ((whole,), {}) if signature.positional and not signature.anything else ((), names)
    if known and not signature.required:
        return (), known
    missing = [name for name in signature.required if name not in known]
    raise InputError(
        f"a batch must hold what {type(model).__name__}.forward takes: {', '.join(missing)} is missing among "
        f"{', '.join(names)}; pass forward=lambda model, batch: … to call the model in your own way"
    )


def _is_named_for(name: str) -> bool:
    """Whether an argument's name says that it takes a batch as it is."""
    return name in ("batch", "data", "sample", "samples", "inputs", "obs", "observation", "transition", "item")

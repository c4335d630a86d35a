"""Which weights an initialisation leaves as they are, and why: what has a beginning of its own, or is not one layer's.

Attention that is drawn anew saturates, an embedding has a padding row, a tied weight is two things at once, and a
parameter of the user's own module may mean anything.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from torch import nn

from leaky.structure.graph import Node
from leaky.structure.history import Event, History
from leaky.structure.layers import Layer
from leaky.structure.modules import without_wrappers

_OWN_START = {
    nn.RNNBase: "its gates have an initialisation of their own",
    nn.RNNCellBase: "its gates have an initialisation of their own",
    nn.Embedding: "it is an embedding",
    nn.EmbeddingBag: "it is an embedding",
}

_LAYERS = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd)
"""Modules whose weight is known to be what a layer multiplies by."""

_ATTENTION = "it is attention's, whose scale its own initialisation sets"


def reasons_of(
    model: nn.Module, history: History, layers: Sequence[Layer], include: Collection[str] = ()
) -> dict[str, str]:
    """Why weights of two dimensions or more are left alone, by name.

    Args:
        model: the model.
        history: of one pass.
        layers: that ran in it.
        include: names of parameters that are initialised all the same, where a layer ran with them.
    """
    found: dict[str, str] = {}
    names = _names(model)
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=path, recurse=False):
            reason = _by_module(model, path, module) or _by_parameter(parameter, names)
            if reason is not None:
                found.setdefault(without_wrappers(name), reason)
    for layer in layers:
        if _meets_data(history, layer.event):
            found.setdefault(layer.production.weight, _ATTENTION)
    ran = {layer.production.weight for layer in layers}
    large = {without_wrappers(name) for name, p in model.named_parameters() if p.ndim >= 2}
    for name in large - ran:
        found.setdefault(name, "no linear map or convolution ran with it as it is")
    return {name: found[name] for name in found if name in large and not (name in include and name in ran)}


def _names(model: nn.Module) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(without_wrappers(name))
    return names


def _by_module(model: nn.Module, path: str, module: nn.Module) -> str | None:
    for kind, reason in _OWN_START.items():
        if isinstance(module, kind):
            return reason
    parts = path.split(".") if path else []
    for i in range(len(parts) + 1):
        if "Attention" in type(model.get_submodule(".".join(parts[:i]))).__name__:
            return _ATTENTION
    known = isinstance(module, _LAYERS) or type(module).__module__.startswith("torch.nn.")
    return None if known else f"it is a parameter of a {type(module).__name__}'s own"


def _by_parameter(parameter: nn.Parameter, names: dict[int, list[str]]) -> str | None:
    if not parameter.requires_grad:
        return "it is frozen"
    same = names[id(parameter)]
    return f"it is tied: {' and '.join(same[:3])} are one parameter" if len(same) > 1 else None


def _meets_data(history: History, made: Event) -> bool:
    """Whether what a layer makes is multiplied with other data, through whatever works on one value: a query or key."""
    reached = {node.index for node in made.results}
    for event in history.events[made.number + 1 :]:
        data = [node for node in event.call.nodes if isinstance(node, Node) and node.from_data]
        if not any(node.index in reached for node in data):
            continue
        if event.operator.operands is not None or "scaled_dot_product" in event.call.name:
            return len({node.index for node in data}) > 1
        if len(data) == 1 and event.site is None and not event.call.produced:
            reached.update(node.index for node in event.results)
    return False

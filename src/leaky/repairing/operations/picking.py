"""Maxout's pieces that are never the largest, brought to the level of those that are, by their biases.

What another piece exceeds on everything gets no gradient; its weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from leaky.repairing.ground import Ground
from leaky.repairing.trouble import MOST_LEFT
from leaky.structure.graph import Node
from leaky.structure.history import Event
from leaky.structure.pieces import axis_of_pieces


@dataclass(frozen=True, eq=False)
class Picking:
    """A maximum over the pieces of one layer's units.

    Attributes:
        event: the maximum.
        bias: the name of the bias of the layer that made the pieces.
        dim: the axis of a unit's pieces.
        places: index of each piece in the bias, in the order of the pieces' axes.
    """

    event: Event
    bias: str
    dim: int
    places: Tensor


def pickings(ground: Ground) -> list[Picking]:
    """The maxima whose layer has a bias of its own that is free."""
    found = []
    for event in ground.history.events:
        dim = axis_of_pieces(event.call)
        if dim is None:
            continue
        node: Node = event.call.args[0]
        bias, places = _bias_of(ground, node), _places(node)
        if bias is not None and places is not None and ground.tensor(bias).numel() == places.numel():
            found.append(Picking(event, bias, dim, places))
    return found


def _bias_of(ground: Ground, node: Node) -> str | None:
    weights = {production.weight for production in node.productions}
    layers = [layer for layer in ground.layers.values() if layer.production.weight in weights]
    if len(layers) != 1:
        return None
    biases = [name for n in layers[0].event.call.nodes if len(n.shape) == 1 for name in n.weights]
    known = len(biases) == 1 and biases[0] in ground.parameters and not ground.unfree(biases)
    return biases[0] if known else None


def _places(node: Node) -> Tensor | None:
    """The number of the unit at each place of the axes that hold units."""
    places = torch.zeros((), dtype=torch.long)
    for axis in node.axes:
        if any(f.role == "unit" for f in axis):
            if len(axis) != 1:
                return None
            places = places.unsqueeze(-1) + torch.arange(axis[0].size) * axis[0].step
    return places


class Picked:
    """Runs a maximum, tells the pieces that are never the largest on the first batch, and shifts them if asked to.

    Args:
        ground: of the model.
        picking: the maximum.
        shifts: whether biases are changed.
    """

    def __init__(self, ground: Ground, picking: Picking, shifts: bool) -> None:
        self.picking, self.idle = picking, torch.zeros(0, dtype=torch.bool)
        self._bias, self._shifts, self._done = ground.tensor(picking.bias), shifts, False

    @property
    def stuck(self) -> bool:
        """Whether more pieces are than a network has anyway."""
        return bool(self.idle.numel()) and float(self.idle.double().mean()) > MOST_LEFT

    @property
    def mask(self) -> Tensor:
        """The same for each entry of the bias."""
        return torch.zeros(self._bias.numel(), dtype=torch.bool).index_put((self.picking.places,), self.idle.cpu())

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if self._done:
            return function(*args, **kwargs)
        self._done = True
        pieces, node, dim = args[0].detach(), self.picking.event.call.args[0], self.picking.dim
        units = [d for d, axis in enumerate(node.axes) if any(f.role == "unit" for f in axis)]
        others = [d for d in range(pieces.ndim) if d not in units]
        chosen = (pieces == pieces.amax(dim, keepdim=True)).any(dim=others)
        levels = pieces.movedim(others, [*range(len(others))]).flatten(0, len(others) - 1).double().median(0).values
        self.idle, along = ~chosen, units.index(dim)
        if not (self._shifts and self.stuck):
            return function(*args, **kwargs)
        level = torch.where(chosen, levels, torch.nan).nanmean(along, keepdim=True)
        by = torch.where(self.idle, level - levels, torch.zeros_like(levels))
        with torch.no_grad():
            self._bias.view(-1)[self.picking.places.to(self._bias.device)] += by.to(self._bias)
        shape = [size if d in units else 1 for d, size in enumerate(pieces.shape)]
        return function(args[0] + by.reshape(shape).to(args[0]), *args[1:], **kwargs)

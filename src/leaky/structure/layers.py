"""The layers of one pass: each use of a parameter as a linear map or convolution, its fans and what follows it.

A layer is found by what it does, not by its class, so that functional calls and rectifiers in another module count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from leaky.structure.activations import Activation
from leaky.structure.graph import Node, Production
from leaky.structure.history import Event, History
from leaky.structure.modules import without_wrappers
from leaky.structure.operators import operator_named

KINDS = ("linear", "convolution", "transposed_convolution")


@dataclass(frozen=True, eq=False)
class Layer:
    """One use of a weight in a pass.

    Attributes:
        event: the operation.
        production: the linear map.
        weight: the parameter.
        follows: the first rectifier behind it; None where none is.
    """

    event: Event
    production: Production
    weight: Tensor
    follows: Activation | None

    @property
    def fan_in(self) -> float:
        """Products that one output element sums, on average: a strided transposed convolution spreads its kernel."""
        return self.production.fan_in

    @property
    def fan_out(self) -> float:
        """Products that one input element enters, on average."""
        return self.production.fan_out


def layers_of(model: nn.Module, history: History) -> list[Layer]:
    """Every use of a parameter as a linear map or convolution, in the order of the pass."""
    parameters = {without_wrappers(name): p for name, p in model.named_parameters(remove_duplicate=False)}
    nodes = {node.index: node for event in history.events for node in (*event.call.nodes, *event.results)}
    sites = [(nodes[event.site.pre_activation], event.site.activation) for event in history.events if event.site]
    found = []
    for event in history.events:
        for production in event.call.produced:
            weight = parameters.get(production.weight)
            if weight is not None and production.kind in KINDS and _as_it_is(event, production.weight, weight):
                follows = next((a for node, a in sites if _behind(production, event, node)), None)
                found.append(Layer(event, production, weight, follows))
    return found


def _as_it_is(event: Event, name: str, weight: Tensor) -> bool:
    """Whether the operation takes the parameter itself, up to its shape, and not something computed from it."""
    made_of = [node for node in event.call.nodes if not node.from_data and name in node.weights]
    return weight.ndim >= 2 and all(
        node.weights == (name,)
        and (node.operation == "weight" or operator_named(node.operation).same_value)
        and math.prod(node.shape) == weight.numel()
        for node in made_of
    )


def _behind(production: Production, event: Event, pre_activation: Node) -> bool:
    return production in pre_activation.productions and pre_activation.index >= event.results[0].index

"""The graph that `leaky.theory` reasons about, derived from a model by one traced pass.

What the closed forms do not cover is said, never guessed: it ends in `Graph.not_derived`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from leaky.structure.graph import Node
from leaky.structure.history import Event, History
from leaky.structure.layers import Layer
from leaky.structure.modules import without_wrappers
from leaky.theory.signals import Graph, Vertex


def graph_of(model: nn.Module, history: History, layers: Mapping[int, Layer]) -> Graph:
    """The network of a model as theory sees it.

    Args:
        model: whose weights count.
        history: of a pass of it.
        layers: of that pass, by the event's number.
    """
    return _Derivation(model, history, layers).graph()


class _Derivation:
    def __init__(self, model: nn.Module, history: History, layers: Mapping[int, Layer]) -> None:
        self._history = history
        self._layers = layers
        named = [*model.named_parameters(remove_duplicate=False), *model.named_buffers()]
        self._named: dict[str, Tensor] = {without_wrappers(name): tensor for name, tensor in named}
        self._vertices: list[Vertex] = []
        self._of_node: dict[int, int] = {}
        self._rectified: dict[str, int] = {}
        self._assumptions: dict[str, None] = {}
        self._not_derived: dict[str, None] = {}

    def graph(self) -> Graph:
        for node in self._history.inputs:
            self._add(Vertex("input"), node)
        for event in self._history.events:
            if event.results and event.results[0].from_data:
                self._event(event)
        reached = [self._of_node[index] for index in self._history.outputs if index in self._of_node]
        return Graph(
            tuple(self._vertices),
            tuple(sorted(set(reached))),
            tuple(self._assumptions),
            tuple(self._not_derived),
        )

    def _add(self, vertex: Vertex, *nodes: Node) -> None:
        for node in nodes:
            self._of_node[node.index] = len(self._vertices)
        self._vertices.append(vertex)

    def _event(self, event: Event) -> None:
        data = [node for node in event.call.nodes if node.from_data and node.index in self._of_node]
        inputs = tuple(self._of_node[node.index] for node in data)
        if not inputs:
            self._add(Vertex("input"), *event.results)
            return
        self._add(self._vertex(event, data, inputs), *event.results)

    def _vertex(self, event: Event, data: list[Node], inputs: tuple[int, ...]) -> Vertex:
        signal = event.operator.signal
        if event.site is None and event.results[0].site is not None and signal != "same":
            # the gain, clamp and second branch that belong to a site
            return Vertex("same", (self._rectified.get(event.results[0].site, inputs[0]),), (1.0,))
        if event.number in self._layers:
            return self._layer(self._layers[event.number], inputs[-1:])
        if event.site is not None:
            return self._rectifier(event)
        if signal == "concatenation":
            sizes = [float(np.prod(node.shape)) for node in data]
            return Vertex("concatenation", inputs, tuple(size / sum(sizes) for size in sizes))
        if signal == "sum" and len(inputs) == 2:
            alpha = float(event.call.kwargs.get("alpha", 1))
            return Vertex("sum", inputs, (1.0, alpha**2))
        if signal in ("batch_norm", "layer_norm", "rms_norm"):
            return self._normalisation(event, inputs[:1])
        return self._elementwise(event, inputs)

    def _elementwise(self, event: Event, inputs: tuple[int, ...]) -> Vertex:
        """What works on one value: a shape, a scalar factor, pooling; all else is not covered."""
        name, signal = event.call.name, event.operator.signal
        if len(inputs) > 1:
            self._lost(event, "joins values other than by addition")
        other = event.call.get("other")
        if signal == "scales" and isinstance(other, (int, float)) and other != 0:
            factor = float(other) if name == "mul" else 1 / float(other)
            return Vertex("same", inputs[:1], (factor**2,))
        if signal == "sum" and isinstance(other, Node) and other.learned:
            added = sum(float(self._named[n].detach().double().square().mean()) for n in other.weights)
            return Vertex("same", inputs[:1], (1.0,), added=added)
        if signal == "pools":
            self._assumptions.setdefault("pooling is taken to keep the correlation and the second moment")
        elif signal == "pads":
            self._assumptions.setdefault("padding is taken to keep the second moment")
        elif signal != "same":
            self._lost(event, "is not covered by the closed forms")
        return Vertex("same", inputs[:1], (1.0,))

    def _lost(self, event: Event, reason: str) -> None:
        self._not_derived.setdefault(f"{event} {reason}")

    def _layer(self, layer: Layer, inputs: tuple[int, ...]) -> Vertex:
        square = float(layer.weight.detach().double().square().mean())
        biases = {n for node in layer.event.call.nodes if len(node.shape) == 1 for n in node.weights}
        added = sum(float(self._named[n].detach().double().square().mean()) for n in biases if n in self._named)
        return Vertex(
            "layer",
            inputs,
            (layer.fan_in * square,),
            (layer.fan_out * square,),
            added=added,
            name=layer.production.weight,
        )

    def _rectifier(self, event: Event) -> Vertex:
        assert event.site is not None
        activation = event.site.activation
        if activation.smooth or activation.cap is not None or activation.threshold or activation.value:
            self._not_derived.setdefault(
                f"{event.site.name} is a {activation.name}, whose correlation map is not the leaky ReLU's"
            )
        slopes = np.asarray(activation.negative_slope, np.float64)
        before = self._of_node[event.site.pre_activation]
        self._rectified[event.site.name] = len(self._vertices)
        return Vertex(
            "rectifier",
            (before,),
            (activation.gain**2,),
            negative_slope=float(np.sqrt(np.mean(slopes**2))),
            name=event.site.name,
        )

    def _normalisation(self, event: Event, inputs: tuple[int, ...]) -> Vertex:
        centres = event.operator.signal == "batch_norm"
        if centres:
            self._lost(event, "takes a mean over the samples away, which the correlation map does not follow")
        elif event.operator.signal == "layer_norm":
            self._assumptions.setdefault(
                "the mean over a layer's units is taken to be zero in front of a normalisation"
            )
        scales = [node for node in event.call.nodes if node.learned]
        squares = [float(self._named[n].detach().double().square().mean()) for node in scales for n in node.weights]
        return Vertex(
            "normalisation",
            inputs,
            (squares[0] if squares else 1.0,),
            added=squares[1] if len(squares) > 1 else 0.0,
            centres=centres,
        )

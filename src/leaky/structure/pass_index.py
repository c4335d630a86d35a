"""Index of a recorded pass: the event that made a value, the events that use it, the parameter behind a constant."""

from __future__ import annotations

import torch
from torch import Tensor

from leaky.structure.graph import Node
from leaky.structure.history import Event, History
from leaky.structure.label_rules import element_count, moved_labels, overwriting_events


class PassIndex:
    """Index of one recorded pass.

    Args:
        history: of the pass.
        shapes: of the model's parameters and buffers, by name.
    """

    def __init__(self, history: History, shapes: dict[str, tuple[int, ...]]) -> None:
        self.history = history
        self._shapes = shapes
        self.nodes: dict[int, Node] = {node.index: node for node in history.inputs}
        self._makers: dict[int, Event] = {}
        self._users: dict[int, list[Event]] = {}
        for event in history.events:
            for node in event.call.nodes:
                self.nodes.setdefault(node.index, node)
                self._users.setdefault(node.index, []).append(event)
            for node in event.results:
                self.nodes[node.index] = node
                self._makers[node.index] = event
        self.overwritten = overwriting_events(history)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter or buffer."""
        return self._shapes[name]

    def elements_of(self, name: str) -> int:
        """Elements of a parameter or buffer."""
        return element_count(self._shapes[name])

    def maker(self, node: Node) -> Event | None:
        """The event that made a value."""
        return self._makers.get(node.index)

    def users(self, node: Node) -> list[Event]:
        """The events that take a value."""
        return self._users.get(node.index, [])

    def elements(self, node: Node) -> tuple[str, Tensor] | None:
        """The parameter or buffer that a constant is, moved about at most, and which of its elements stands where."""
        if node.from_data:
            return None
        if node.operation == "weight":
            shape = self._shapes.get(node.weights[0])
            if shape is None or shape != node.shape:
                return None
            return node.weights[0], torch.arange(element_count(shape)).reshape(shape)
        event = self.maker(node)
        sources = event.call.nodes if event else []
        if event is None or len(sources) != 1 or not (event.operator.numbers == "moves" or event.operator.same_value):
            return None
        before = self.elements(sources[0])
        if before is None or event.operator.numbers != "moves":
            return before
        return before[0], moved_labels(event, {sources[0].index: before[1]})[event.results.index(node)]

    def is_padded(self, value: Node) -> bool:
        """Whether zeros that stand for positions outside were put around a value."""
        maker = self.maker(value)
        return maker is not None and maker.operator.numbers == "pads"

    def behind(self, event: Event, bias: Node | None) -> tuple[str | None, str | None]:
        """The bias that is added to a result, there or in the next operation, and the running mean taken off it."""
        name = self.name(bias)
        node, before = event.results[0], event
        while True:
            users = self.users(node)
            if len(users) != 1 or node.index in self.history.outputs:
                return name, None
            before, user = users[0], users[0]
            if user.operator.numbers == "normalises" and user.call.args[0] is node:
                mean = user.call.get("running_mean")
                return name, self.name(mean) if isinstance(mean, Node) else None
            constants = [argument for argument in user.call.nodes if argument is not node]
            if user.call.name == "add" and name is None and len(constants) == 1 and constants[0].learned:
                return self.name(constants[0]), None
            if user.operator.numbers != "moves" or constants or not before.results:
                return name, None
            node = before.results[0]

    def name(self, node: Node | None) -> str | None:
        """The parameter or buffer that a constant is; None where it is none."""
        source = None if node is None else self.elements(node)
        return None if source is None else source[0]

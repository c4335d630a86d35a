"""Which values of a pass are the model's inputs as they came, up to their shape."""

from __future__ import annotations

from leaky.structure.history import History


def as_they_came(history: History) -> dict[int, int]:
    """The nodes that are the model's inputs, up to their shape, each with the node of the input that it is."""
    came = {node.index: node.index for node in history.inputs}
    for event in history.events:
        data = [node for node in event.call.nodes if node.from_data]
        same = event.operator.same_value or event.operator.mirrors  # a mirrored border holds nothing else
        if same and len(data) == 1 and data[0].index in came:
            came |= {node.index: came[data[0].index] for node in event.results}
    return came

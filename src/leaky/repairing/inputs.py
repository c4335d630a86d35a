"""Which values of a pass are the model's inputs as they came, up to their shape."""

from __future__ import annotations

from leaky.structure.history import History

_AS_IT_CAME = frozenset(
    {"view", "_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze", "clone", "contiguous", "detach"}
    | {"alias", "_to_copy", "permute", "transpose", "t", "flatten", "unflatten", "reflection_pad1d"}
    | {"reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d"}
)


def as_they_came(history: History) -> set[int]:
    """The nodes that are the model's inputs, up to their shape."""
    came = {node.index for node in history.inputs}
    for step in history.steps:
        data = [node for node in step.call.nodes if node.from_data]
        if step.call.name in _AS_IT_CAME and len(data) == 1 and data[0].index in came:
            came.update(node.index for node in step.results)
    return came

"""Small pre-activations of a compiled pass are handed over all at once, at its end.

Calling an operator takes longer than adding up a small tensor. What is handed over later stays in memory for as long,
so that this is for small ones only, and for those that nothing writes to in between.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import Node

from leaky.watching.compiled import operators

SMALL = 1 << 17
"""Bytes of one pre-activation."""
TOGETHER = 1 << 21
"""Bytes of all that one pass hands over at its end."""
_VERSION = "leaky_version"


def mark_version(context: Any) -> None:
    """Note how often a pre-activation had been written to when it was handed over, to know of a later time.

    Args:
        context: of Dynamo, in the middle of making a graph, where the last operator is the one that takes it.
    """
    node = _last(_graph(context), operators.take)
    if node is not None:
        node.meta[_VERSION] = _value(node)._version


def gather(context: Any) -> None:
    """Have the last operator, which ends a pass, take in what those before it would have, one by one.

    Args:
        context: of Dynamo, in the middle of making a graph.
    """
    graph = _graph(context)
    end = _last(graph, operators.end)
    begin = None if end is None else _begin_of(graph, end.args[1])
    if end is None or begin is None:
        return
    told = [node for node in _between(begin, end) if node.target in (operators.take, operators.follow)]
    late: dict[Any, int] = {}
    for node in told:
        size = _size(node)
        if node.target is operators.take and size <= min(SMALL, TOGETHER - sum(late.values())) and _is_as_it_was(node):
            late[node.args[2]] = size
    told = [node for node in told if node.args[2] in late]
    numbers: Any = [node.args[2] for node in told]
    numbers = [n if node.target is operators.take else -n for n, node in zip(numbers, told, strict=True)]
    end.args = (*end.args[:2], [node.args[0] for node in told], numbers)
    for node in told:
        node.replace_all_uses_with(begin)
        graph.erase_node(node)


def _graph(context: Any) -> Any:
    """The graph that nodes are added to now: of the whole, or of what a higher-order operator is given."""
    return context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output.current_tracer.graph


def _last(graph: Any, target: Any) -> Node | None:
    return next((node for node in reversed(graph.nodes) if node.target is target), None)


def _begin_of(graph: Any, number: Any) -> Node | None:
    begun = (node for node in reversed(graph.nodes) if node.target is operators.begin)
    return next((node for node in begun if node.args[2] == number), None)


def _between(begin: Node, end: Node) -> list[Node]:
    found, node = [], begin.next
    while node is not end:
        found.append(node)
        node = node.next
    return found


def _is_as_it_was(node: Node) -> bool:
    """Whether nothing has written to a pre-activation since it was handed over."""
    return _value(node)._version == node.meta.get(_VERSION)


def _value(node: Node) -> Tensor:
    """What stands for the value that is handed over while a graph is made."""
    z: Any = node.args[0]
    value: Tensor = z.meta["example_value"]
    return value


def _size(node: Node) -> int:
    value = _value(node)
    sizes = (int(size) if isinstance(size, int) else int(size.node.hint) for size in value.shape)
    size = value.element_size()
    for each in sizes:
        size *= each
    return size

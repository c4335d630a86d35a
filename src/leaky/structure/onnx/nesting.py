"""How many operations an ONNX model has once its local functions are written out: told without writing them out.

Functions that call functions double at each level, so that a file of some kilobytes can stand for more operations than
any memory holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from leaky.errors import InputError

MOST = 1_000_000
"""Operations of a model, its functions written out."""


def must_be_bounded(proto: Any, label: str) -> None:
    """Refuse a model that would have more than `MOST` operations, or whose functions call themselves.

    Raises:
        InputError: it names the file.
    """
    functions = {(function.domain, function.name): function for function in proto.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(key: tuple[str, str], within: tuple[tuple[str, str], ...]) -> int:
        if key in within or len(within) > len(functions):
            raise InputError(f"{label} must have functions that end, and {key[1]!r} calls itself")
        if key not in sizes:
            sizes[key] = total(functions[key].node, (*within, key))
        return sizes[key]

    def total(nodes: Iterable[Any], within: tuple[tuple[str, str], ...]) -> int:
        found = 0
        for node in _all(nodes):
            key = (node.domain, node.op_type)
            found += size(key, within) if key in functions else 1
        return found

    try:
        operations = total(proto.graph.node, ())
    except RecursionError:
        raise InputError(f"{label} must have functions nested less deeply than Python calls") from None
    if operations > MOST:
        raise InputError(
            f"{label} must have at most {MOST:,} operations once its functions are written out, and has "
            f"{'more than ' + format(10**15, ',') if operations > 10**15 else format(operations, ',')}"
        )


def _all(nodes: Iterable[Any]) -> Iterator[Any]:
    """The operations and those in their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _all(attribute.g.node)
            for graph in attribute.graphs:
                yield from _all(graph.node)

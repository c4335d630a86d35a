"""Which additions of one pass join a branch to a shortcut around it."""

from __future__ import annotations

from dataclasses import dataclass

from leaky.structure.graph import Node
from leaky.structure.history import Event, History


@dataclass(frozen=True, eq=False)
class Residual:
    """An addition of a branch and what goes round it.

    Attributes:
        event: the addition.
        branch: the operand with layers of its own.
        shortcut: the other one.
    """

    event: Event
    branch: Node
    shortcut: Node


class Ancestry:
    """What each node was made of, over all events before it.

    Args:
        history: of the pass.
    """

    def __init__(self, history: History) -> None:
        self._sets: dict[int, int] = {node.index: 1 << node.index for node in history.inputs}
        self._sites = self._productions = 0
        for event in history.events:
            before = 0
            for node in event.call.nodes:
                before |= self.of(node)
            for result in event.results:
                self._sets[result.index] = before | 1 << result.index
                if event.site is not None:
                    self._sites |= 1 << result.index
                if event.call.produced:
                    self._productions |= 1 << result.index

    def of(self, node: Node) -> int:
        """The node and everything behind it, as a set of bits by index."""
        return self._sets.get(node.index, 1 << node.index)

    def sites(self, nodes: int) -> int:
        """How many of these nodes came out of a site."""
        return (nodes & self._sites).bit_count()

    def layers(self, nodes: int) -> int:
        """How many of these nodes came out of a weight."""
        return (nodes & self._productions).bit_count()


def residuals(history: History) -> list[Residual]:
    """The residual additions of a pass, in order.

    One operand lies behind the other, with a layer between them (an identity shortcut); or both lie behind a common
    value, and only the one has a rectifier on its way from there (a projection).
    """
    ancestry = Ancestry(history)
    found = []
    for event in history.events:
        operands = [node for node in event.call.nodes if node.from_data]
        if event.operator.signal != "sum" or len(operands) != 2:
            continue
        for branch, shortcut in (operands, operands[::-1]):
            if _is_branch(ancestry, branch, shortcut):
                found.append(Residual(event, branch, shortcut))
                break
    return found


def _is_branch(ancestry: Ancestry, branch: Node, shortcut: Node) -> bool:
    inside, outside = ancestry.of(branch), ancestry.of(shortcut)
    own, others = inside & ~outside, outside & ~inside
    if outside & ~inside == 0:
        return ancestry.layers(own) > 0
    return bool(inside & outside) and ancestry.sites(own) > 0 and ancestry.sites(others) == 0

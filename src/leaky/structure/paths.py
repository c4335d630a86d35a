"""Finds the sites that lie on every path from the network's input to a value.

What a site loses is lost to the output only if no path leads around it: a residual branch or a squeeze-and-excitation
gate may be silent as a whole while the network works.
"""

from __future__ import annotations

from leaky.structure.graph import Node
from leaky.structure.operators import operator_named


class Paths:
    """The sites on every path to each value of one pass, kept as the values are made."""

    def __init__(self) -> None:
        self._through: dict[int, frozenset[str]] = {}
        self._sites: dict[int, str] = {}
        self._squashed: dict[int, str] = {}

    def clear(self) -> None:
        """Forget the pass."""
        self._through.clear()
        self._sites.clear()
        self._squashed.clear()

    def made(self, node: Node) -> None:
        """Add a value; an input has no site before it."""
        before = [self._through[index] for index in node.inputs if index in self._through]
        if node.operation != "input" and not before:
            return  # made of weights alone
        through = frozenset.intersection(*before) if before else frozenset()
        if node.operation == "mul":  # where a factor is 0, so is the product
            through |= {self._sites[index] for index in node.inputs if index in self._sites}
        self._through[node.index] = through if node.site is None else through | {node.site}
        if node.site is not None:
            self._sites[node.index] = node.site
        if len(node.inputs) == 1:
            row, operand = operator_named(node.operation), node.inputs[0]
            if row.squashes and operand in self._sites:
                self._squashed[node.index] = self._sites[operand]
            elif row.same_value and operand in self._squashed:
                self._squashed[node.index] = self._squashed[operand]

    def unavoidable(self, node: Node | None) -> frozenset[str] | None:
        """The sites on every path to a value; None where its origin is not known."""
        return None if node is None else self._through.get(node.index)

    def behind(self, node: Node | None) -> str | None:
        """The site whose output a last softmax or sigmoid took, where the value is what it gave."""
        return None if node is None else self._squashed.get(node.index)

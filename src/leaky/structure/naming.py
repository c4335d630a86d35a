"""Names of sites: stable from batch to batch, readable, one a place and producer.

A site is one place (a module, or a call line of one) behind one set of weights. The same place behind other weights is
another site; the same place behind the same weights (a siamese tower, an RNN cell over time) is the same one again, and
so is the same place of a block with weights of its own that is called again, whatever came before the block.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

from leaky.structure.graph import Node
from leaky.structure.visits import Visits

Key: TypeAlias = tuple["Place", str, frozenset[str], int]


@dataclass(frozen=True)
class Place:
    """Where a rectifier was called.

    Attributes:
        module: qualified path of the innermost running module.
        call: None where the module is the activation itself; else the operation, "relu".
        source: "model.py:31" of a functional call, where it has a line.
        position: what tells apart several calls on one line, or in scripted code, which has none.
    """

    module: str
    call: str | None
    source: str | None = None
    position: int = 0


class SiteNames:
    """Hands out names; remembers them over the passes of one observation.

    Args:
        visits: the calls of modules.
    """

    def __init__(self, visits: Visits) -> None:
        self._visits = visits
        self._names: dict[Key, str] = {}
        self._made: Counter[tuple[str, str | None]] = Counter()
        self._occurrences: Counter[Place] = Counter()

    def start_pass(self) -> None:
        """Count the calls of each place anew."""
        self._occurrences.clear()

    def name(self, place: Place, activation: str, node: Node) -> str:
        """The name of the site that computes `activation` at this place behind the weights of its pre-activation."""
        name = self._visits.again((place, activation), node) or self._behind_weights(place, activation, node)
        self._visits.meet((place, activation), node, name)
        return name

    def _behind_weights(self, place: Place, activation: str, node: Node) -> str:
        weights = frozenset(p.weight for p in node.productions) | node.modifiers
        occurrence = 0
        if not weights:
            self._occurrences[place] += 1
            occurrence = self._occurrences[place]
        key = (place, activation, weights, occurrence)
        if key not in self._names:
            self._names[key] = self._fresh(place)
        return self._names[key]

    def _fresh(self, place: Place) -> str:
        self._made[(place.module, place.call)] += 1
        number = self._made[(place.module, place.call)]
        if place.call is None:
            path = place.module or "(model)"
            return path if number == 1 else f"{path}#{number}"
        path = f"{place.module}." if place.module else ""
        line = f" ({place.source})" if place.source else ""
        return f"{path}{place.call}#{number}{line}"

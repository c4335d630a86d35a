"""Which scores of a pass a mask hides: those that a constant was added to, or put in their place, that leaves nothing.

−∞ is not the only such number: −100, −1000 and −1e4 are in use, and a row in which all but one place is hidden so is no
choice. What is added may be told from what the network computed: no learned weight had a part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from leaky.structure.graph import Call, Node
from leaky.structure.masking import HIDDEN
from leaky.structure.operators import operator_named

_FILLS = ("masked_fill", "where")
_ADDS = ("add", "sub")
_ADDS_A_PRODUCT = "baddbmm"
_SCALES = ("mul", "div")
_RESHAPES = ("view", "_unsafe_view")


class HiddenPlaces:
    """What masks hide in the values of one pass."""

    def __init__(self) -> None:
        self._of: dict[int, Tensor] = {}

    def clear(self) -> None:
        """Forget the pass."""
        self._of.clear()

    def of(self, node: Node, shape: Sequence[int]) -> Tensor | None:
        """Where a value is hidden, of that shape; None where nothing hides it."""
        hidden = self._of.get(node.index)
        return None if hidden is None else hidden.expand(tuple(shape))

    def concerns(self, call: Call) -> bool:
        """Whether an operation may hide something, or takes what is hidden."""
        return _hides_by(call) is not None or any(node.index in self._of for node in call.nodes)

    def made(self, call: Call, values: Sequence[Any], results: Sequence[Node]) -> None:
        """Take in an operation, with its positional arguments and the nodes of what came out."""
        if len(results) != 1:
            return
        hidden = [self._of[node.index] for node in call.nodes if node.index in self._of]
        hides = _hides_by(call)
        own = None if hides is None else hides(call, values)
        shape, elementwise = results[0].shape, hides is not None or call.name in _SCALES
        same = elementwise or (operator_named(call.name).same_value and call.nodes[0].shape == shape)
        if hidden and call.name in _RESHAPES:
            hidden = [hidden[0].expand(call.nodes[0].shape).reshape(shape)]
        elif not same:
            hidden = []
        found = [*hidden, *([] if own is None else [own])]
        if found:
            together = found[0]
            for other in found[1:]:
                together = together | other
            self._of[results[0].index] = together


def _hides_by(call: Call) -> Callable[[Call, Sequence[Any]], Tensor | None] | None:
    """What tells the places that an operation hides; None where it hides none."""
    if call.name in _FILLS:
        return _filled
    return _added if call.name in _ADDS or call.name == _ADDS_A_PRODUCT else None


def _filled(call: Call, values: Sequence[Any]) -> Tensor | None:
    """Where a fill puts what hides."""
    if len(values) < 3:
        return None
    if call.name == "masked_fill":
        return values[1] if _hides(call.args[2], values[2]) else None
    left, right = (_hides(call.args[i], values[i]) for i in (1, 2))
    return None if left == right else values[0] if left else ~values[0]


def _hides(known: Any, value: Any) -> bool:
    if isinstance(value, Tensor):
        constant = not (isinstance(known, Node) and known.shaped)
        return constant and value.numel() == 1 and float(value) <= HIDDEN
    return isinstance(value, (int, float)) and value <= HIDDEN


def _added(call: Call, values: Sequence[Any]) -> Tensor | None:
    """Where an addend that no weight made hides."""
    for place, (known, value) in enumerate(zip(call.args[:2], values[:2], strict=False)):
        if not isinstance(known, Node) or known.shaped or not isinstance(value, Tensor) or value.numel() < 2:
            continue
        if call.name == _ADDS_A_PRODUCT and place:
            continue
        taken_off = call.name == "sub" and place == 1
        hides = value >= -HIDDEN if taken_off else value <= HIDDEN
        if value.dtype != torch.bool and bool(hides.any()):
            return hides
    return None

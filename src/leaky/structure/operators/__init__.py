"""One table of operators: what each does to axes, to the numbers of units and to signals.

An operator without a row keeps the axes that correspond one to one, mixes units and ends what theory can derive;
forgetting makes a site "not examined" or its verdicts slower, never wrong.
"""

from __future__ import annotations

from leaky.structure.axes import Axes, plain
from leaky.structure.graph import Call
from leaky.structure.operators import creating, elementwise, moving, picking, pooling, products
from leaky.structure.operators.operator import Numbers, Operator, Signal, like_the_data, table

__all__ = ["OPERATORS", "Numbers", "Operator", "Signal", "axes_of", "operator_named"]

OPERATORS = table([*moving.ROWS, *picking.ROWS, *elementwise.ROWS, *pooling.ROWS, *products.ROWS, *creating.ROWS])
"""The rows by the operator's name."""

_UNKNOWN = Operator("", like_the_data)


def operator_named(name: str) -> Operator:
    """The row of an operator; one that claims nothing where there is none."""
    return OPERATORS.get(name, _UNKNOWN)


def axes_of(call: Call) -> list[Axes]:
    """The axes of each tensor that the operation returned."""
    try:
        results = operator_named(call.name).axes(call)
    except (IndexError, TypeError, ValueError, AttributeError, KeyError):  # a signature that the rule does not know
        results = like_the_data(call)
    complete = [results[i] if i < len(results) else plain(shape) for i, shape in enumerate(call.shapes)]
    return [
        axes if len(axes) == len(shape) else plain(shape) for axes, shape in zip(complete, call.shapes, strict=True)
    ]

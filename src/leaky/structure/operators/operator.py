"""One row of the table: what an operator of torch's dispatcher does to axes, to unit numbers and to signals.

A row claims only what holds for every argument that the operator takes; one test runs every row against brute force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from leaky.structure.axes import Axes, broadcast, has, keep_equal, plain
from leaky.structure.graph import Call, Node

AxesRule: TypeAlias = Callable[[Call], list[Axes]]

Numbers = Literal[
    "moves",
    "pads",
    "joins",
    "scales",
    "compares",
    "normalises",
    "pools",
    "reduces",
    "picks",
    "places",
    "takes",
    "creates",
    "mixes",
]
"""What becomes of the numbers of units that elements carry.

moves: elements are put elsewhere, none is changed; pads: the same with elements of no unit around them;
joins: each element by itself, operands of other data come in; scales: the same, and zero stays zero;
compares: the same, and no operand's value is in the result; normalises: parameters of its own for each unit;
pools: over the last axes; reduces: over axes that are given; picks: entries of one axis; places: entries into one axis;
takes: a weight sums over units and makes new ones; creates: no value of the arguments is in the result;
mixes: units with other units.
"""

Signal = Literal[
    "same",
    "pools",
    "pads",
    "sum",
    "concatenation",
    "scales",
    "batch_norm",
    "layer_norm",
    "rms_norm",
    "product",
    "unknown",
]
"""What becomes of the second moment of an element and of the correlation of two samples.

same: both stay; pools, pads: both stay where positions are alike; sum, concatenation: those of the operands, added or
in their shares; scales: by the number squared; the norms set the second moment; product: fan_in·E[w²];
unknown: the closed forms do not cover it.
"""


@dataclass(frozen=True)
class Operator:
    """What is known of one operator.

    Attributes:
        name: in torch's dispatcher, without the underscore of an in-place variant; outside aten with its namespace.
        axes: what its results' axes stand for.
        numbers: what it does to the numbers of units.
        signal: what it does to moments and correlations.
        same_value: whether the result's elements are the argument's, each as it was.
        keeps_scale: whether a pre-activation may go through it on the way to its site, sign and scale kept.
        spatial: of one over the last axes: over how many.
        operands: of a product, the names of what is added, of the left and of the right factor.
        rows: of a product, whether a row of its weight, and not a column, makes a unit.
        reorders: of one that moves the same values, whether their logical order changes.
        mirrors: of one that pads, whether it does so with entries of the value.
        chooses: whether a layer of winners is made with it: it ranks entries by value, or writes to chosen places.
        side: of one that compares with 0, which side of it is true.
        activation: which recogniser of `leaky.structure.activations` knows what it computes; "" for none.
        arithmetic: whether it rectifies only where its arguments make it, and limits or masks elsewhere.
        samples: which rule of `leaky.structure.sample_rules` follows the samples through it; "" for none.
        source: of one that picks or places, the name of the argument whose entries they are.
        squashes: whether it bounds what comes in, so that it may end a network whose last rectifier stands before it.
        random: whether the result is drawn at random.
        fill: the number that it is filled with, where that is always the same one.
        arguments: the names of its positional arguments, for a graph in another format that is translated into it.
    """

    name: str
    axes: AxesRule
    numbers: Numbers = "mixes"
    signal: Signal = "unknown"
    same_value: bool = False
    keeps_scale: bool = False
    spatial: int = 0
    operands: tuple[str, str, str] | None = None
    rows: bool = False
    reorders: bool = False
    mirrors: bool = False
    chooses: bool = False
    side: Literal["", "positive", "negative"] = ""
    activation: str = ""
    arithmetic: bool = False
    samples: str = ""
    source: str = "self"
    squashes: bool = False
    random: bool = False
    fill: float | None = None
    arguments: tuple[str, ...] = ()

    @property
    def keeps(self) -> bool:
        """Whether a pre-activation keeps its sign's meaning and its scale on its way through it."""
        return self.keeps_scale or self.numbers in ("moves", "pads", "normalises")


def family(row: Operator, names: str, **arguments: tuple[str, ...]) -> list[Operator]:
    """Operators that differ in their names alone, and in the names of their arguments where those are given."""
    return [replace(row, name=name, arguments=arguments.get(name, row.arguments)) for name in names.split()]


def like_the_data(call: Call) -> list[Axes]:
    """The axes that correspond one to one are kept and the others forgotten; data tell more than constants."""
    nodes = [node for node in call.nodes if node.from_data] or call.nodes
    return [_like(nodes, shape) for shape in call.shapes]


def _like(nodes: list[Node], shape: tuple[int, ...]) -> Axes:
    if not nodes:
        return plain(shape)
    if any(node.shape == shape for node in nodes) or (
        len(nodes) > 1 and len(shape) == max(len(n.shape) for n in nodes)
    ):
        return broadcast([(node.axes, node.shape) for node in nodes], shape)
    first = nodes[0]
    if len(first.shape) == len(shape):
        return keep_equal(first.axes, first.shape, shape)
    if shape and first.shape and shape[0] == first.shape[0] and has(first.axes[0], "sample"):
        return (first.axes[0], *plain(shape[1:]))
    return plain(shape)


def dims_of(given: Any, rank: int) -> set[int] | None:
    """Axes given as one number or several; None where they are not, which means all of them."""
    if isinstance(given, int) and not isinstance(given, bool):
        return {given % rank}
    if isinstance(given, (list, tuple)) and given:
        return {int(dim) % rank for dim in given}
    return None


def table(rows: Iterable[Operator]) -> dict[str, Operator]:
    """The rows by name.

    Raises:
        ValueError: if two have the same name.
    """
    found: dict[str, Operator] = {}
    for row in rows:
        if row.name in found:
            raise ValueError(f"operator {row.name!r} has two rows")
        found[row.name] = row
    return found

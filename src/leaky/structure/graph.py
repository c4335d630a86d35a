"""The computation graph of one forward pass as plain data, with the meaning of each axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leaky.structure.axes import Axes, Axis, Factor, factor, has

UNNAMED = "(unnamed"
"""How the names begin of tensors that neither the pass nor the model knows."""


@dataclass(frozen=True)
class Affine:
    """A value that is scale · root + shift, elementwise, by numbers: how a hard-swish is recognised."""

    root: int
    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Gate:
    """A value that lets another one through: sigmoid(x), clip(x + 3, 0, 6), x > 0.

    Attributes:
        root: the value x.
        kind: "sigmoid", "hardsigmoid", "positive" or "negative".
        scale: what it is at its highest; 6 for a clip at 6.
    """

    root: int
    kind: str
    scale: float = 1.0


@dataclass(frozen=True)
class Production:
    """A linear map of a weight that produced a value.

    Attributes:
        weight: its name.
        kind: "linear", "convolution", "transposed_convolution" or "embedding".
        groups: of a convolution.
        fan_in: products that one output element sums; on average, where a stride makes them differ.
        fan_out: products that one input element enters; on average likewise.
    """

    weight: str
    kind: str
    groups: int = 1
    fan_in: float = 1
    fan_out: float = 1


@dataclass(frozen=True, eq=False)
class Members:
    """Which slice of a stack of matrices a value was made with, or is.

    Attributes:
        weight: name of the stacked parameter.
        count: slices of it.
        member: the one, where it is one for the whole value.
        ids: the slice of each entry, where those differ: an axis for each of the factors.
        is_weight: whether the value is the slices themselves, and not yet made with them.
        factors: of the value's axes, along which those entries lie.
        source: what said so, by which members are known to be the same.
    """

    weight: str
    count: int
    member: int = 0
    ids: NDArray[np.int64] | None = None
    is_weight: bool = True
    factors: tuple[Factor, ...] = ()
    source: Any = None


@dataclass(frozen=True, slots=True)
class Node:
    """One value.

    Attributes:
        index: in the order in which the pass made the values.
        operation: its maker's name, as `Call` has it ("addmm"); "input" or "weight" for what was there before.
        module: qualified path of the module that ran it.
        shape: of the value.
        axes: what its axes stand for.
        inputs: indices of the values it was made of.
        from_data: whether the network's input had a part in it.
        weights: names of the weights that it consists of, where no data had a part.
        learned: whether a parameter is among those.
        productions: the linear maps behind it, up to the last ones.
        modifiers: names of the weights that scaled or shifted it since (a BatchNorm's, a bias).
        affine: where it is a scalar affine function of another value.
        gate: where it is the gate of a spelled-out activation.
        shaped: whether a learned weight had a part in it.
        site: the site whose output it is, up to its shape.
        lost: whether a value of unknown origin had a part in it, which may be the data.
        sample: the one sample that it belongs to, where the axis of the samples was taken off it.
        members: the slices of a stacked parameter that it was made with, or is.
    """

    index: int
    operation: str
    module: str
    shape: tuple[int, ...]
    axes: Axes
    inputs: tuple[int, ...] = ()
    from_data: bool = True
    weights: tuple[str, ...] = ()
    learned: bool = False
    productions: tuple[Production, ...] = ()
    modifiers: frozenset[str] = frozenset()
    affine: Affine | None = None
    gate: Gate | None = None
    shaped: bool = False
    site: str | None = None
    lost: bool = False
    sample: int | None = None
    members: Members | None = None

    @property
    def origin(self) -> int:
        """The index of the value that this one is a plain copy of; its own where it is none."""
        same = self.affine is not None and (self.affine.scale, self.affine.shift) == (1.0, 0.0)
        return self.affine.root if same and self.affine is not None else self.index

    @property
    def is_stack(self) -> bool:
        """Whether it is a parameter of matrices side by side, moved about at most."""
        if self.from_data or not self.learned or len(self.shape) < 3 or len(self.axes[0]) != 1 or not self.weights:
            return False
        (first,) = self.axes[0]
        return first.role == "member" and first.size == first.whole

    @property
    def stack(self) -> str | None:
        """The parameter that it is slices of; None where it is no weight of that kind."""
        return self.members.weight if self.members is not None and self.members.is_weight else None


@dataclass(frozen=True)
class SampleEvidence:
    """An operation that shows that the samples lie along another axis of the input than was assumed.

    Attributes:
        sample_dim: the axis of the network's first input; None where that input is one sample without a batch axis.
        reason: what said so, for the reader.
    """

    sample_dim: int | None
    reason: str

    @property
    def note(self) -> str:
        """What was made of it, for the reader."""
        if self.sample_dim is None:
            return f"each input was taken for one sample without a batch axis, because {self.reason}"
        return f"samples were taken from axis {self.sample_dim} of the input, because {self.reason}"


@dataclass
class Call:
    """One operation while it is traced: its arguments with every tensor replaced by its node, its results' shapes.

    Attributes:
        name: of the operator without namespace and without the underscore of an in-place variant.
        args, kwargs: with nodes.
        shapes: of the tensors that came out.
        names: of the positional arguments, as the operator's schema has them.
        produced: linear maps that the rules found.
        evidence: nodes and axes that told something of the sample axis, and the operation's words for it.
    """

    name: str
    args: Sequence[Any]
    kwargs: dict[str, Any]
    shapes: list[tuple[int, ...]]
    names: Sequence[str] = ()
    produced: tuple[Production, ...] = ()
    evidence: list[tuple[Axes, str]] = field(default_factory=list)

    def get(self, name: str, default: Any = None) -> Any:
        """The argument of this name, however it was given."""
        if name in self.kwargs:
            return self.kwargs[name]
        place = self.place(name)
        return self.args[place] if place < len(self.args) else default

    def place(self, name: str) -> int:
        """Where the argument of this name stands among the positional ones; behind them, if it does not."""
        return self.names.index(name) if name in self.names else len(self.args)

    @cached_property
    def nodes(self) -> list[Node]:
        """The nodes among the arguments, lists of tensors included; asked for several times an operation."""
        found: list[Node] = []
        for value in (*self.args, *self.kwargs.values()):
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, (list, tuple)):
                found.extend(item for item in value if isinstance(item, Node))
        return found

    def produce(self, weight: Node, kind: str, units: int, fans: Sequence[float], groups: int = 1) -> Axis:
        """A fresh unit axis, made by the linear map of `weight`, with these fan_in and fan_out."""
        names = weight.weights if weight.stack is None else (weight.stack,)
        self.produced += tuple(Production(name, kind, groups, float(fans[0]), float(fans[1])) for name in names)
        return (factor(units, "unit"),)

    def contracts(self, axis: Axis, left: Axes) -> None:
        """Note that `axis` of a value was summed over by a weight; `left` are the axes that stay."""
        if has(axis, "sample"):
            self.evidence.append((left, f"{self.name} sums over the axis that was taken for the samples"))

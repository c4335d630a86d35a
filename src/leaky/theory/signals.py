"""A network as theory sees it: a graph of layers, rectifiers, sums and concatenations, and what travels through it.

Plain data and closed forms: no model, no torch. Second moments are of one element, weights have mean zero, the branches
of a sum are uncorrelated; pre-activations are Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from leaky.text import counted

NodeKind = Literal["input", "layer", "rectifier", "sum", "concatenation", "normalisation", "same"]


@dataclass(frozen=True)
class Vertex:
    """One value on its way through the network.

    Attributes:
        kind: what made it.
        inputs: the vertices that it was made of, by index; all of them come before it.
        factors: for each input, by what its second moment is multiplied: s² of the factor in a sum, the share of the
            elements in a concatenation; fan_in·E[w²] of a layer, gain² of a rectifier, E[γ²] of a normalisation.
        backward: for each input, by what the gradient's second moment is multiplied, where that differs from `factors`.
        added: what is added to the second moment, E[b²].
        negative_slope: √E[α²] of a rectifier.
        name: of a rectifier's site or a layer's weight.
        centres: of a normalisation, whether it subtracts a mean over the samples.
    """

    kind: NodeKind
    inputs: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()
    backward: tuple[float, ...] = ()
    added: float = 0.0
    negative_slope: float = 0.0
    name: str = ""
    centres: bool = False


@dataclass(frozen=True)
class Graph:
    """A network for `leaky.theory`, derived from a model or written down.

    Attributes:
        vertices: each after its inputs.
        outputs: the indices of the results.
        assumptions: what was taken for granted of this network in deriving the graph.
        not_derived: what the closed forms do not cover, a sentence each.
    """

    vertices: tuple[Vertex, ...]
    outputs: tuple[int, ...]
    assumptions: tuple[str, ...] = ()
    not_derived: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Graph of {counted(len(self.vertices), 'value')}, {counted(self.rectifiers, 'rectifier')}>"

    @property
    def rectifiers(self) -> int:
        """How many vertices rectify."""
        return sum(vertex.kind == "rectifier" for vertex in self.vertices)


def plain(depth: int) -> Graph:
    """A network of `depth` layers in a row, a rectifier behind each."""
    vertices = [Vertex("input")]
    for _ in range(depth):
        last = len(vertices)
        vertices += [Vertex("layer", (last - 1,), (1.0,)), Vertex("rectifier", (last,), (1.0,))]
    return Graph(tuple(vertices), (len(vertices) - 1,))


def mapped(c: float, bend: float) -> float:
    """C(c) = c + bend·(√(1−c²) − c·arccos c), with bend = (1−α)²/(π(1+α²))."""
    c = max(-1.0, min(1.0, c))
    return min(1.0, c + bend * (math.sqrt(1.0 - c * c) - c * math.acos(c)))


def highest_correlation(graph: Graph, bend: float, c: float = 0.0, *, branches: bool = True) -> float:
    """The highest correlation that inputs of correlation `c` reach at an output, every layer being He-scaled.

    Args:
        graph: the network.
        bend: of every rectifier, see `mapped`.
        c: in front of the network.
        branches: whether each operand of a sum or concatenation counts as a network of its own too, from where it
            parts from the others.
    """
    shares = he_shares(graph)
    reached = _correlations(graph, shares, bend, 0, None, c)
    highest = max((reached[output] for output in graph.outputs), default=c)
    if not branches:
        return highest
    dominators = _dominators(graph)
    for index, vertex in enumerate(graph.vertices):
        if len(vertex.inputs) > 1:
            inside = _correlations(graph, shares, bend, dominators[index], index, c)
            highest = max(highest, *(inside[part] for part in vertex.inputs))
    return highest


def _correlations(
    graph: Graph, shares: Sequence[tuple[float, ...]], bend: float, start: int, end: int | None, c: float
) -> list[float]:
    """The correlation at each vertex up to `end`, if it is `c` at `start` and at whatever has nothing before it."""
    result: list[float] = []
    for index, vertex in enumerate(graph.vertices[:end]):
        if index <= start or not vertex.inputs:
            result.append(c)
            continue
        value = math.fsum(w * result[i] for w, i in zip(shares[index], vertex.inputs, strict=True))
        result.append(mapped(value, bend) if vertex.kind == "rectifier" else max(-1.0, min(1.0, value)))
    return result


def he_shares(graph: Graph) -> list[tuple[float, ...]]:
    """Each input's share of a vertex's second moment, where layers and rectifiers keep what comes in."""
    moments: list[float] = []
    shares: list[tuple[float, ...]] = []
    for vertex in graph.vertices:
        joins = vertex.kind in ("sum", "concatenation")
        factors = vertex.factors if joins else (1.0,) * len(vertex.inputs)
        parts = [f * moments[i] for f, i in zip(factors, vertex.inputs, strict=True)]
        total = math.fsum(parts)
        shares.append(tuple(part / total for part in parts) if total > 0 else (0.0,) * len(parts))
        scaled = vertex.factors[0] * total if vertex.kind == "same" and vertex.factors else total
        moments.append(1.0 if vertex.kind in ("input", "normalisation") else scaled)
    return shares


def _dominators(graph: Graph) -> list[int]:
    """The last vertex before each that every way from the inputs to it passes; −1 where there is none."""
    dominators: list[int] = []
    depth: list[int] = []

    def nearest(a: int, b: int) -> int:
        while a != b:
            if a < 0 or b < 0:
                return -1
            if depth[a] >= depth[b]:
                a = dominators[a]
            else:
                b = dominators[b]
        return a

    for vertex in graph.vertices:
        common = -1
        if vertex.inputs:
            common = vertex.inputs[0]
            for other in vertex.inputs[1:]:
                common = nearest(common, other)
        dominators.append(common)
        depth.append(depth[common] + 1 if common >= 0 else 0)
    return dominators


@dataclass(frozen=True)
class Prediction:
    """What theory expects at one rectifier.

    Attributes:
        site: its name, as `leaky.check` has it.
        depth: rectifiers on the longest way to it, itself included.
        second_moment: E[z²] of its pre-activation.
        correlation: of the pre-activations of two inputs; NaN behind what cannot be derived.
        gradient: E[(∂L/∂h)²] at its output over that at the network's output.
    """

    site: str
    depth: int
    second_moment: float
    correlation: float
    gradient: float


def predictions(graph: Graph, second_moment: float, correlation: float) -> tuple[Prediction, ...]:
    """What travels through the network with the weights that it has, a rectifier at a time.

    Args:
        graph: the network.
        second_moment: E[x²] of its inputs.
        correlation: of two inputs.
    """
    gradients = _gradients(graph, moments := _moments(graph, second_moment))
    correlations = _actual_correlations(graph, moments, correlation)
    depth: list[int] = []
    found: list[Prediction] = []
    for index, vertex in enumerate(graph.vertices):
        own = int(vertex.kind == "rectifier")
        depth.append(own + max((depth[i] for i in vertex.inputs), default=0))
        if own:
            before = vertex.inputs[0]
            found.append(Prediction(vertex.name, depth[index], moments[before], correlations[before], gradients[index]))
    return tuple(found)


def _moments(graph: Graph, second_moment: float) -> list[float]:
    moments: list[float] = []
    for vertex in graph.vertices:
        if vertex.kind == "input":
            moments.append(second_moment)
            continue
        total = math.fsum(f * moments[i] for f, i in zip(vertex.factors, vertex.inputs, strict=True))
        if vertex.kind == "normalisation":
            total = vertex.factors[0]
        elif vertex.kind == "rectifier":
            total *= (1.0 + vertex.negative_slope**2) / 2.0
        moments.append(total + vertex.added)
    return moments


def _actual_correlations(graph: Graph, moments: Sequence[float], correlation: float) -> list[float]:
    result: list[float] = []
    for index, vertex in enumerate(graph.vertices):
        if not vertex.inputs:
            result.append(correlation)
            continue
        parts = [f * moments[i] for f, i in zip(vertex.factors, vertex.inputs, strict=True)]
        total = math.fsum(parts)
        if vertex.kind == "normalisation" or total <= 0 or not math.isfinite(total):
            lost = vertex.centres or (vertex.kind != "normalisation" and not total > 0)
            result.append(math.nan if lost else result[vertex.inputs[0]])
            continue
        c = math.fsum(part * result[i] for part, i in zip(parts, vertex.inputs, strict=True)) / total
        if vertex.kind == "rectifier":
            alpha = vertex.negative_slope
            c = mapped(c, (1.0 - alpha) ** 2 / (math.pi * (1.0 + alpha**2))) if math.isfinite(c) else c
        elif vertex.added:
            c = (c * total + vertex.added) / moments[index]
        result.append(c)
    return result


def _gradients(graph: Graph, moments: Sequence[float]) -> list[float]:
    gradients = [0.0] * len(graph.vertices)
    for output in graph.outputs:
        gradients[output] += 1.0
    for index in range(len(graph.vertices) - 1, -1, -1):
        vertex = graph.vertices[index]
        passed = gradients[index]
        if vertex.kind == "rectifier":
            passed *= (1.0 + vertex.negative_slope**2) / 2.0
        for factor, i in zip(vertex.backward or vertex.factors, vertex.inputs, strict=True):
            if vertex.kind == "normalisation":
                factor = factor / moments[i] if moments[i] > 0 else math.nan
            gradients[i] += factor * passed
    return gradients

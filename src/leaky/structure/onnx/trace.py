"""What the axes of every value of an ONNX graph stand for, at the shapes that one run of it had.

The graph is known before it runs, so this looks at no data: shapes and constants are enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from leaky.record import NotExamined
from leaky.structure.activations import Activation
from leaky.structure.axes import Axes, Layout, factor, layout, marked, plain, replaced
from leaky.structure.flow import result_node
from leaky.structure.graph import Call, Members, Node, Production, SampleEvidence
from leaky.structure.onnx.activations import OnnxSite
from leaky.structure.onnx.model import Array, OnnxModel, OnnxOperation
from leaky.structure.onnx.rules import axes_of_operation, call_of

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class SiteView:
    """How to look at a site.

    Attributes:
        activation: what it computes, with its slopes.
        layout: where its samples and units are.
        productions: the weights behind it.
    """

    activation: Activation
    layout: Layout
    productions: tuple[Production, ...]


class OnnxTracer:
    """Follows one run of a graph.

    Args:
        model: the model.
        values: its constants that are known.
        unit_dim: axis of every pre-activation that holds the units, where the user knows better.
    """

    def __init__(self, model: OnnxModel, values: Mapping[str, Array], unit_dim: int | None) -> None:
        self._model = model
        self._values = values
        self._unit_dim = unit_dim

    def trace(
        self, shapes: Shapes, sample_dims: Mapping[str, int | None]
    ) -> tuple[dict[str, Node], SampleEvidence | None]:
        """The nodes of all values whose shape is known, and what contradicts the axis taken for the samples.

        Args:
            shapes: of the inputs and of the operations' results.
            sample_dims: the axis of each input that holds the samples.
        """
        nodes = self._inputs(shapes, sample_dims)
        dims = {f.key: dim for dim, axis in enumerate(next(iter(nodes.values())).axes) for f in axis}
        evidence: SampleEvidence | None = None
        for op in self._model.operations:
            for left, reason in self._follow(op, nodes, shapes):
                if evidence is None:
                    found = [dims[f.key] for axis in left for f in axis if f.key in dims]
                    evidence = SampleEvidence(found[0] if found else None, reason)
        return nodes, evidence

    def _inputs(self, shapes: Shapes, sample_dims: Mapping[str, int | None]) -> dict[str, Node]:
        nodes: dict[str, Node] = {}
        samples = None
        for index, (name, dim) in enumerate(sample_dims.items()):
            axes = plain(shapes[name])
            if dim is not None:
                samples = samples or factor(shapes[name][dim], "sample")
                axes = replaced(axes, dim, (samples,))
            nodes[name] = Node(index, "input", "", shapes[name], axes)
        return nodes

    def _follow(self, op: OnnxOperation, nodes: dict[str, Node], shapes: Shapes) -> list[tuple[Axes, str]]:
        results = [name for name in op.outputs if name]
        if not all(name in shapes for name in results):
            return []
        outputs = [shapes[name] for name in results]
        arguments = [self._argument(name, nodes) for name in op.inputs]
        call = call_of(op, arguments, self._values, outputs)
        axes_of_results = axes_of_operation(op, call)
        for name, axes in zip(results, axes_of_results, strict=True):
            node = result_node(len(nodes), call, axes, shapes[name], op.name, None)
            nodes[name] = replace(node, from_data=name not in self._model.without_data, members=_routed(op, call))
        return call.evidence

    def _argument(self, name: str, nodes: dict[str, Node]) -> Node | None:
        """What is known of an operation's input; None for one that is left out."""
        if name not in nodes and name in self._model.weights:
            nodes[name] = self._weight(name, len(nodes))
        unknown = Node(len(nodes), "unknown", "", (), ()) if name else None  # a sequence, say
        return nodes.get(name, unknown)

    def _weight(self, name: str, index: int) -> Node:
        """An initializer; a matrix of numbers is taken for one that was learned."""
        tensor = self._model.weights[name]
        shape = tuple(int(size) for size in tensor.dims)
        learned = sum(size > 1 for size in shape) > 1 and self._model.types.get(name) not in _INTEGERS
        return Node(index, "weight", "", shape, plain(shape), from_data=False, weights=(name,), learned=learned)

    def view(self, site: OnnxSite, nodes: Mapping[str, Node]) -> SiteView | NotExamined | None:
        """How to look at a site; None where no data flow through it."""
        node = nodes.get(site.pre_activation)
        if node is None:
            return NotExamined(site.name, "its pre-activation is no plain tensor")
        if not node.from_data or self._model.types.get(site.pre_activation) in _INTEGERS:
            return None
        if node.members is not None:
            return NotExamined(site.name, ROUTED)
        view = layout(marked(node.axes, node.shape, self._unit_dim), node.shape)
        if view is None:
            reason = f"its unit axis could not be told from a {len(node.shape)}-D tensor; pass unit_dim to name it"
            return NotExamined(site.name, reason)
        if site.slopes is None:
            return self._view(site.activation, view, node)
        slopes = self._slopes(site.slopes, node, view)
        if isinstance(slopes, str):
            return NotExamined(site.name, slopes)
        return self._view(replace(site.activation, negative_slope=slopes), view, node)

    def _view(self, activation: Activation, view: Layout, node: Node) -> SiteView:
        return SiteView(activation, view, node.productions)

    def _slopes(self, given: str | np.ndarray, node: Node, view: Layout) -> np.ndarray | str:
        """The slope of each unit, or why there is none."""
        if isinstance(given, str) and given not in self._values:
            return "its slopes are computed from the data"
        value = (self._values[given] if isinstance(given, str) else given).astype(np.float64)
        aligned = value.reshape((1,) * (len(node.shape) - value.ndim) + value.shape)
        own = [dim for dim, size in enumerate(aligned.shape) if size > 1]
        if own and own != [view.unit_dim]:
            return f"it has a slope for every entry of shape {list(value.shape)}, not one a unit"
        if aligned.size not in (1, view.units):
            return f"it has {aligned.size} slopes for {view.units} units"
        return aligned.reshape(-1)


ROUTED = "its weights are picked for each sample, as an expert's are, and which expert got it is not followed in ONNX"


def _routed(op: OnnxOperation, call: Call) -> Members | None:
    """The stack of matrices that a result was made with one by one, by numbers that the data give; None for others."""
    stacks = [node.members for node in call.nodes if node.members is not None]
    if op.kind in ("Gather", "GatherND") and isinstance(source := call.args[0], Node):
        by_data = any(node.from_data for node in call.nodes if node is not source)
        if by_data and not source.from_data and source.learned and len(source.shape) > 2:
            return Members(source.weights[0] if source.weights else "", source.shape[0])
    if call.produced:  # another layer's weights, or these themselves
        stacks = [replace(members, is_weight=False) for members in stacks if members.is_weight]
    return stacks[0] if stacks else None


_INTEGERS = {2, 3, 4, 5, 6, 7, 9, 12, 13}
"""ONNX's numbers for the integer and boolean element types."""

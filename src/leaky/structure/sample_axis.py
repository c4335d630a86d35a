"""Which axis of the network's inputs holds the samples, where an operation or a layer of torch says so.

What is assumed at first is the user's word or axis 0; what contradicts it is kept as evidence, the first of it.
"""

from __future__ import annotations

from torch import nn

from leaky.structure.axes import Axes
from leaky.structure.graph import Node, SampleEvidence
from leaky.structure.modules import batch_first_of


class SampleAxis:
    """What the pass tells of the axis of the samples."""

    def __init__(self) -> None:
        self.evidence: SampleEvidence | None = None
        self._input_dims: dict[int, int] = {}

    def clear(self) -> None:
        """Forget the inputs of the pass; the evidence stays."""
        self._input_dims.clear()

    def register(self, axes: Axes) -> None:
        """Add an input; evidence refers to the axes of the first one."""
        if not self._input_dims:
            self._input_dims = {f.key: dim for dim, axis in enumerate(axes) for f in axis}

    def entered(self, module: nn.Module, node: Node | None) -> None:
        """A module starts with this value; one of torch that takes sequences wants the samples along one axis."""
        batch_first = batch_first_of(module)
        if batch_first is None or node is None or len(node.axes) not in (2, 3):
            return
        kind = type(module).__name__
        if len(node.axes) == 2:
            self._expect((), node, f"nn.{kind} was given one unbatched sequence")
        else:
            dim = 0 if batch_first else 1
            self._expect(node.axes[dim : dim + 1], node, f"nn.{kind} has batch_first={batch_first}")

    def _expect(self, batch: Axes, node: Node, reason: str) -> None:
        everywhere = [f for axis in node.axes for f in axis if f.role == "sample"]
        expected = [f for axis in batch for f in axis]
        elsewhere = bool(everywhere) and not any(f.role == "sample" for f in expected)
        missing = not everywhere and any(f.key in self._input_dims for f in expected)
        if elsewhere or missing:
            self.contradicted(batch, reason)

    def contradicted(self, left: Axes, reason: str) -> None:
        """Record evidence that the samples lie along one of these axes."""
        if self.evidence is not None:
            return
        candidates = [self._input_dims[f.key] for axis in left for f in axis if f.key in self._input_dims]
        self.evidence = SampleEvidence(candidates[0] if candidates else None, reason)

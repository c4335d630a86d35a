"""A softmax over the units of a layer is an activation too: where it saturates is not judged, so it is listed.

Over positions it is attention's, and at the end of a network its output: those are no activations of a hidden layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from leaky.structure.graph import Call, Node
from leaky.structure.operators import operator_named

REASON = "a softmax over units; where it saturates is not judged"
WEIGHS = "a softmax over units weighs other values, as a router does; where it saturates is not judged"


class Softmaxes:
    """The softmaxes over units of one pass, told of once a layer takes what they gave."""

    def __init__(self) -> None:
        self._behind: dict[int, tuple[Callable[[str], None], str]] = {}

    def clear(self) -> None:
        """Forget the pass."""
        self._behind.clear()

    def made(self, call: Call, results: Sequence[Node], tell: Callable[[Node], Callable[[str], None]]) -> None:
        """Take in an operation.

        Args:
            call: it.
            results: of it.
            tell: gives, for a pre-activation, what lists it with a reason.
        """
        if call.name.endswith("softmax"):
            node = call.args[0]
            dim = int(call.get("dim", -1)) % max(1, len(node.shape))
            units = bool(node.axes) and any(f.role == "unit" and f.size > 1 for f in node.axes[dim])
            if units and node.from_data and node.productions and results:
                self._behind[results[0].index] = (tell(node), REASON)
            return
        if not self._behind:
            return
        found = [self._behind[node.index] for node in call.nodes if node.index in self._behind]
        if found and operator_named(call.name).numbers == "takes":
            for told, reason in found:
                told(reason)
        elif found and results:
            told, reason = found[0]
            joined = any(node.from_data and node.index not in self._behind for node in call.nodes)
            self._behind[results[0].index] = (told, WEIGHS if joined else reason)

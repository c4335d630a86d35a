"""How a loss was made of what the model gives, as the graph shows that its gradient goes back through.

Must hold while the gradient is on its way: by then nodes have let go of the values, and keep their names and shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from leaky.watching.course import Misfit
from leaky.watching.optimizers import parameters_of

NEAR = 200
"""Nodes from the loss on that are looked at for how it was made, at most."""
LEAD_INTO = ("AddmmBackward", "MmBackward", "BmmBackward", "ConvolutionBackward", "AccumulateGrad")
"""Begins of the names of nodes behind which the model lies."""
OF_ONE_SHAPE = (
    "ViewBackward", "ReshapeAliasBackward", "UnsafeViewBackward", "SqueezeBackward", "UnsqueezeBackward",
    "TransposeBackward", "PermuteBackward", "TBackward", "CloneBackward", "ToCopyBackward", "AliasBackward",
)  # fmt: skip
"""Of those that leave all values as they are."""
TAKES_LOGITS = {"LogSoftmaxBackward": "log_softmax", "BinaryCrossEntropyWithLogitsBackward": "a loss on logits"}
SQUASHES = {"SoftmaxBackward": "softmax", "SigmoidBackward": "sigmoid"}
COMPARES = ("MseLossBackward", "SmoothL1LossBackward", "HuberLossBackward")


def leads_through_others(loss: Tensor, optimizer: torch.optim.Optimizer) -> bool:
    """Whether a gradient of the loss reaches parameters that the optimizer does not hold."""
    own = {id(parameter) for parameter in parameters_of(optimizer)}
    leaves = (getattr(node, "variable", None) for node in _nodes(loss))
    return any(isinstance(leaf, torch.nn.Parameter) and id(leaf) not in own for leaf in leaves)


def misfit(loss: Tensor) -> Misfit | None:
    """What is amiss with how the loss was made; None where nothing is seen to be."""
    for count, node in enumerate(_nodes(loss, LEAD_INTO)):
        if count == NEAR:
            break
        found = _squashed_twice(node) or _every_pair(node)
        if found is not None:
            return found
    return None


def _nodes(loss: Tensor, ends: tuple[str, ...] = ()) -> Iterator[Any]:
    """The nodes of a loss' graph, each once, the nearest first; nothing behind those with these names."""
    nodes, met = [loss.grad_fn], set()
    for node in nodes:
        if node is None or node in met:
            continue
        met.add(node)
        yield node
        if not node.name().startswith(ends):
            nodes.extend(before for before, _ in node.next_functions)


def _squashed_twice(node: Any) -> Misfit | None:
    """Probabilities where logits are asked for: what takes them squashes once more."""
    takes = next((words for name, words in TAKES_LOGITS.items() if node.name().startswith(name)), None)
    if takes is None:
        return None
    before, _ = node.next_functions[0]
    while before is not None and before.name().startswith(OF_ONE_SHAPE):
        before, _ = before.next_functions[0]
    name = "" if before is None else before.name()
    made_by = next((words for start, words in SQUASHES.items() if name.startswith(start)), None)
    return None if made_by is None else Misfit("loss-misfit", made_by, takes)


def _every_pair(node: Any) -> Misfit | None:
    """Outputs of one number each, n of them, which a target of another form makes n × n.

    Where both sides have a gradient, or an axis was added on purpose, pairs are meant.
    """
    given = [before for before, _ in node.next_functions if before is not None]
    difference = node.name().startswith("SubBackward")
    if len(given) != 1 or not (difference or node.name().startswith(COMPARES)):
        return None
    source, pairs = given[0], _shape(node if difference else given[0])
    while source is not None and source.name().startswith("ExpandBackward"):
        source, _ = source.next_functions[0]
    if source is None or source.name().startswith("UnsqueezeBackward") or len(pairs) != 2:
        return None
    n = pairs[0]
    if n < 2 or pairs[1] != n or _shape(source) not in ((n, 1), (n,)):
        return None
    return Misfit("target-shape", " × ".join(map(str, _shape(source))), f"{n} × {n}")


def _shape(node: Any) -> tuple[int, ...]:
    """Of what a node made; empty where it is not known."""
    made = getattr(node, "_input_metadata", ())
    return tuple(made[0].shape) if made else ()

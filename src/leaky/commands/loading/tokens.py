"""Whether a model's input is whole numbers that are looked up, tokens or categories, and below which number.

A torch model is asked by running it once on a few numbers: an embedding that is given them as they are says so. All
embeddings that are given a part of them must know every number. An ONNX file says the type of its input.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from leaky.commands.loading.models import Model

FEW = 2
"""Samples of the run that asks."""


@dataclass(frozen=True)
class Tokens:
    """The numbers that a model looks up.

    Attributes:
        numbers: how many there are, from 0.
        padding: those of them that stand for padding.
    """

    numbers: int
    padding: frozenset[int] = frozenset()

    @property
    def drawn(self) -> tuple[int, ...]:
        """Those that noise is drawn from."""
        return tuple(number for number in range(self.numbers) if number not in self.padding)


def tokens_of(model: Model, sizes: Sequence[int], dim: int) -> Tokens | None:
    """What a model looks its input up in; None where it takes numbers as they are, as far as can be told.

    Args:
        model: that is asked.
        sizes: shape of its input.
        dim: axis of the samples.
    """
    if isinstance(model.model, Path):
        return _of_file(model.model)
    few = [min(size, FEW) if axis == dim % len(sizes) else size for axis, size in enumerate(sizes)]
    return _of_module(model.model, few)


def _of_module(network: nn.Module, sizes: Sequence[int]) -> Tokens | None:
    import torch
    from torch import Tensor, nn

    from leaky.observation.preserve import preserved

    embeddings = [module for module in network.modules() if isinstance(module, (nn.Embedding, nn.EmbeddingBag))]
    if not embeddings:
        return None
    asked: list[Any] = []

    def look(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor) or not args[0].is_floating_point():
            return None
        asked.append(module)
        return (torch.zeros_like(args[0], dtype=torch.long), *args[1:])

    weight = embeddings[0].weight
    alone = preserved(network, "eval", seed=0)
    # Whatever stops the model, what was asked of embeddings until then holds.
    with alone, torch.no_grad(), _hooks(embeddings, look), contextlib.suppress(Exception):
        network(torch.zeros(*sizes, device=weight.device))
    if not asked:
        return None
    padding = {module.padding_idx for module in asked if module.padding_idx is not None}
    return Tokens(min(module.num_embeddings for module in asked), frozenset(padding))


@contextlib.contextmanager
def _hooks(modules: Sequence[nn.Module], look: Any) -> Iterator[None]:
    handles = [module.register_forward_pre_hook(look) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


_CARRIES = ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Split")
"""What an input may go through on its way to the table that it is looked up in."""


def _of_file(path: Path) -> Tokens | None:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    tables = {tensor.name: tensor.dims[0] for tensor in graph.initializer if tensor.dims}
    first = next((node for node in graph.input if node.name not in tables), None)
    whole = (onnx.TensorProto.INT64, onnx.TensorProto.INT32)
    if first is None or first.type.tensor_type.elem_type not in whole:
        return None
    carried, found = {first.name}, []
    for node in graph.node:
        if node.op_type in _CARRIES and node.input[0] in carried:
            carried |= {*node.output}
        if node.op_type == "Gather" and node.input[1] in carried and node.input[0] in tables:
            found.append(int(tables[node.input[0]]))
    return Tokens(min(found)) if found else None

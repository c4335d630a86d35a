"""A network that nobody here wrote: where it comes from, how it is made tiny, and what it is run on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Made(NamedTuple):
    """A model in eval mode with random weights, and its batches: a dict of keywords or a tuple of arguments each."""

    model: nn.Module
    batches: list[Any]


@dataclass(frozen=True)
class Stranger:
    """One of them.

    Attributes:
        name: "package/model".
        package: that must be installed.
        make: the model and its batches; seeded.
        axis: of the units at every activation, where the layer before it does not tell the count which; of an ensemble
            those of members and features; None otherwise.
        trained: whether it comes with trained weights, so that nothing above a note may be said of it.
    """

    name: str
    package: str
    make: Callable[[], Made]
    axis: int | tuple[int, ...] | None = None
    trained: bool = False


def run(model: nn.Module, batch: Any) -> Any:
    """The model on one batch."""
    return model(**batch) if isinstance(batch, dict) else model(*batch)


def numbers(*shape: int, seed: int = 1) -> Tensor:
    """N(0, 1)."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tokens(*shape: int, seed: int = 1, vocabulary: int = 90) -> Tensor:
    """Whole numbers from 1 on."""
    return torch.randint(1, vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def on(model: nn.Module, make: Callable[[int], Any], batches: int = 2) -> Made:
    """The model in eval mode on batches made from seeds."""
    return Made(model.eval(), [make(seed) for seed in range(1, batches + 1)])


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A model whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return build()

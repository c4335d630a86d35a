"""What a trouble is made of: two networks, the data and the loss that each is checked with, and the cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Side:
    """A network as a user would check it.

    Attributes:
        model: trained or not.
        tensors: inputs and targets, cut into batches together.
        loss: of output and batch; None where the trouble shows without.
    """

    model: nn.Module
    tensors: tuple[Tensor, ...]
    loss: Loss | None


@dataclass(frozen=True)
class Trouble:
    """A sick network and its twin.

    Attributes:
        sick, twin: what differs between them is the cause.
        causes: rules that name it; any of them said first is right.
    """

    sick: Side
    twin: Side
    causes: tuple[str, ...]


def train(
    model: nn.Module, loss: Loss, *tensors: Tensor, steps: int = 300, rate: float = 3e-3, seed: int = 0
) -> nn.Module:
    """Adam on random batches; the model comes back in eval mode."""
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], rate)
    g = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        index = torch.randint(0, len(tensors[0]), (64,), generator=g)
        batch = tuple(tensor[index] for tensor in tensors)
        value = loss(model(batch[0]), batch)
        if not value.requires_grad or not torch.isfinite(value):
            break
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return model.eval()


def width_of(seed: int) -> int:
    """A hidden width that depends on the seed."""
    return (24, 32, 48)[seed % 3]


def side_of(seed: int, model: Callable[[], nn.Module], loss: Any, *tensors: Tensor, **how: Any) -> Side:
    """A network that was trained on what it is checked on."""
    torch.manual_seed(seed)
    return Side(train(model(), loss, *tensors, seed=seed, **how), tensors, loss)


def pair_of(
    seed: int, build: Callable[[Any], nn.Module], choices: tuple[Any, Any], loss: Any, *tensors: Tensor
) -> tuple[Side, Side]:
    """The sick one and its twin, which differ by one choice."""
    sick, twin = (side_of(seed, partial(build, choice), loss, *tensors) for choice in choices)
    return sick, twin

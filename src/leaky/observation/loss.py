"""The gradient of the user's loss, scaled to that of one sample whatever the loss's reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.observation.batches import map_tensors

Loss = Callable[[Any, Any], Tensor]


def backward(loss: Loss, model: nn.Module, output: Any, batch: Any, samples: int) -> tuple[float, str | None]:
    """Run the loss and its backward pass; the gradients go to the hooks at the sites, none to any `.grad`.

    Args:
        loss: of the model's output and the batch as the data gave it.
        model: whose parameters the gradient is asked for.
        output: of the model.
        batch: as the data gave it.
        samples: in the batch.

    Returns:
        The factor from the gradient that the hooks saw to that of one sample's loss, and a note where it is a guess.

    Raises:
        InputError: if the loss is not a tensor that depends on a parameter.
    """
    value = loss(output, batch)
    if not isinstance(value, Tensor):
        raise InputError(f"loss must return a tensor, not {type(value).__name__}")
    wanted = [p for p in model.parameters() if p.requires_grad]
    if not value.requires_grad or not wanted:
        raise InputError("loss must depend on a parameter that requires a gradient, and it does not")
    torch.autograd.grad(value.sum(), wanted, allow_unused=True)
    if value.numel() > 1 or samples < 2:
        return 1.0, None
    return _scale(loss, output, batch, value, samples)


def _scale(loss: Loss, output: Any, batch: Any, value: Tensor, samples: int) -> tuple[float, str | None]:
    """Whether the loss is a mean or a sum over the samples, from the losses of the two halves of the batch."""
    half = samples // 2
    try:
        with torch.no_grad():
            first, second = (
                float(loss(_part(output, samples, part), _part(batch, samples, part)))
                for part in (slice(0, half), slice(half, samples))
            )
    except Exception:
        return float(samples), "the loss could not be evaluated on half a batch; it was taken for a mean over samples"
    whole = float(value.detach())
    as_mean = abs((half * first + (samples - half) * second) / samples - whole)
    as_sum = abs(first + second - whole)
    return (1.0 if as_sum < as_mean else float(samples)), None


def _part(value: Any, samples: int, part: slice) -> Any:
    def cut(tensor: Tensor) -> Tensor:
        for dim in range(min(tensor.ndim, 2)):
            if tensor.shape[dim] == samples:
                return tensor[(slice(None),) * dim + (part,)].detach()
        return tensor.detach()

    return map_tensors(value, cut)

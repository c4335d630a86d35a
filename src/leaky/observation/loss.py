"""The gradient of the user's loss, scaled to that of one sample whatever the loss's reduction, and what it compares.

The gradients go to the hooks at the sites, none to any `.grad`; which parameters they reached is noted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.observation.comparing import Comparing
from leaky.observation.differentiating import Differentiating
from leaky.observation.nesting import map_tensors
from leaky.observation.targets import loss_of_batch
from leaky.record import Derivatives, LossTerm, ParameterGradients, merged
from leaky.structure.modules import without_wrappers
from leaky.text import counted

Loss = Callable[[Any, Any], Tensor]
FROZEN = "no parameter of the model requires a gradient: nothing can learn, and gradients were not measured"
SHORT = 4
"""How many times as long a batch with a finite loss must be for one without to be a remainder."""
OF_NOTHING = (
    "the loss of a short batch of {samples} is not finite and was left out: so is a mean over nothing, as where all of "
    "its classes weigh 0"
)


class LossWatch:
    """Runs the user's loss on batch after batch and notes what it showed.

    Args:
        loss: of the model's output and the batch as the data gave it.
        model: whose parameters the gradient is asked for.
    """

    def __init__(self, loss: Loss, model: nn.Module) -> None:
        self.terms: tuple[LossTerm, ...] = ()
        self.gradients: ParameterGradients | None = None
        self.derivatives: Derivatives | None = None
        self._loss = loss_of_batch(loss, model)
        self._model = model
        self._finite = 0

    def backward(
        self, output: Any, outputs: dict[str, Tensor], batch: Any, samples: int, sample_dim: int | None
    ) -> tuple[float, str | None]:
        """Run the loss and its backward pass.

        Args:
            output: of the model.
            outputs: its tensors, by name.
            batch: as the data gave it.
            samples: in the batch.
            sample_dim: axis of the samples, None where the batch is one.

        Returns:
            The factor from the gradient that the hooks saw to that of one sample's loss, and a note where it is a
            guess.

        Raises:
            InputError: if the loss is not a tensor that depends on a parameter.
        """
        with Comparing(outputs, batch, samples, sample_dim) as comparing, Differentiating() as differentiating:
            value = self._loss(output, batch)
        self.terms = merged(self.terms, comparing.terms)
        if differentiating.found is not None:
            self.derivatives = differentiating.found.merge(self.derivatives or differentiating.found)
        if not isinstance(value, Tensor):
            raise InputError(f"loss must return a tensor, not {type(value).__name__}")
        wanted = {without_wrappers(name): p for name, p in self._model.named_parameters() if p.requires_grad}
        if not wanted and next(self._model.parameters(), None) is not None:
            self._note({})
            return 1.0, FROZEN
        if not value.requires_grad or not wanted:
            raise InputError("loss must depend on a parameter that requires a gradient, and it does not")
        if bool(torch.isfinite(value.detach()).all()):
            self._finite = max(self._finite, samples)
        elif SHORT * samples < self._finite:
            return 1.0, OF_NOTHING.format(samples=counted(samples, "sample"))
        try:
            reached = torch.autograd.grad(value.sum(), list(wanted.values()), allow_unused=True)
        except RuntimeError as error:
            if "second time" not in str(error):
                raise
            raise InputError(
                "the model must keep the graph of what it differentiates in its forward pass, and in this mode it does "
                "not, so that the loss has no gradient; pass create_graph=True there, or try mode='train', or leave "
                "loss out"
            ) from error
        self._note(dict(zip(wanted, reached, strict=True)))
        if value.numel() > 1 or samples < 2:
            return 1.0, None
        return _scale(self._loss, output, batch, value, samples)

    def _note(self, gradients: dict[str, Tensor | None]) -> None:
        known = None if self.gradients is None else {*self.gradients.unreached, *self.gradients.zero}
        asked = {name: g for name, g in gradients.items() if known is None or name in known}
        now = ParameterGradients(
            parameters=len(gradients),
            unreached=tuple(name for name, g in asked.items() if g is None),
            zero=tuple(name for name, g in asked.items() if g is not None and not bool(g.any())),
        )
        self.gradients = now if self.gradients is None else self.gradients.merge(now)


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

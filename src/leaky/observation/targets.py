"""What a loss is called with: torch's own take an output and a target, the user's the output and the whole batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from leaky.errors import InputError, LeakyError
from leaky.observation.calling import inputs_in_order, inputs_needed
from leaky.observation.nesting import fields_of

TARGETS = ("labels", "label", "targets", "target", "y")
"""Names of the target in a batch with names, the first that is there."""
OUTPUTS = ("logits", "prediction", "pred", "out", "sample")
"""Names of the tensor that a loss compares, in an output with names."""


def loss_of_batch(loss: Callable[..., Any], model: nn.Module) -> Callable[[Any, Any], Any]:
    """The loss as a function of the model's output and the batch as the data gave it.

    Torch's own losses (`nn.CrossEntropyLoss()`, `torch.nn.functional.mse_loss`, partials of them) get the output's
    tensor and the batch's target: what follows the inputs in a tuple, or what `TARGETS` names.

    Args:
        loss: of torch, or the user's own of output and batch.
        model: whose forward tells how many inputs it needs.

    Returns:
        The function. What the loss raises comes as an InputError that says how it was called.
    """
    of_torch = _is_torch_s(loss)

    def called(output: Any, batch: Any) -> Any:
        arguments = (_compared(output), target_of(batch, model)) if of_torch else (output, batch)
        try:
            return loss(*arguments)
        except LeakyError:
            raise
        except Exception as error:
            raise InputError(_how_called(error, batch, of_torch)) from error

    return called


def target_of(batch: Any, model: nn.Module) -> Any:
    """The target in a batch.

    Raises:
        InputError: where the batch has none.
    """
    if isinstance(batch, (tuple, list)) and not hasattr(batch, "_fields"):
        first = batch[0] if batch else None
        if isinstance(first, Tensor):
            rest: Any = inputs_in_order(batch, model).rest
        else:
            rest = batch[1:] if isinstance(first, (tuple, list)) else batch[inputs_needed(model) :]
        if len(rest) == 1:
            return rest[0]
        if rest:
            return rest
    else:
        names = {} if isinstance(batch, Tensor) else fields_of(batch)
        found = next((name for name in TARGETS if name in names), None)
        if found is not None:
            return names[found]
    raise InputError(
        f"a batch must hold a target for one of torch's own losses, as in (inputs, target) or under a name among "
        f"{', '.join(TARGETS)}, and it is {_form(batch)}; give data with targets, or a loss of your own: "
        "loss=lambda output, batch: …"
    )


def _is_torch_s(loss: Callable[..., Any]) -> bool:
    while isinstance(loss, functools.partial):
        loss = loss.func
    module = type(loss).__module__ if isinstance(loss, nn.Module) else getattr(loss, "__module__", None)
    return module in ("torch.nn.modules.loss", "torch.nn.functional")


def _compared(output: Any) -> Any:
    """The tensor that a loss of torch's compares."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)) and output and not hasattr(output, "_fields"):
        return output[0]
    names = fields_of(output)
    return next((names[name] for name in OUTPUTS if isinstance(names.get(name), Tensor)), output)


def _how_called(error: Exception, batch: Any, of_torch: bool) -> str:
    said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    if of_torch:
        return f"the loss must take the model's output and the target of the batch, and it raised {said}"
    example = (
        ", as in loss=lambda output, batch: your_loss(output, batch[1])" if isinstance(batch, (tuple, list)) else ""
    )
    return f"the loss must take the model's output and the batch ({_form(batch)}){example}, and it raised {said}"


def _form(batch: Any) -> str:
    if isinstance(batch, Tensor):
        return "a tensor"
    if isinstance(batch, (tuple, list)):
        return f"a {type(batch).__name__} of {len(batch)}"
    if isinstance(batch, Mapping):
        return f"a mapping of {', '.join(map(str, list(batch)[:6]))}"
    return f"a {type(batch).__name__}"

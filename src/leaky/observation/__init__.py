"""A model and data in, a Record out, with the model left as it was."""

from __future__ import annotations

import os
from typing import Any

from leaky.arguments import takes
from leaky.errors import InputError
from leaky.observation.options import ObserveArguments, Options, renamed
from leaky.record import Record

__all__ = ["ObserveArguments", "Options", "observe", "observed"]


@takes(ObserveArguments, renamed("observe"))
def observe(given: ObserveArguments) -> Record:
    """Run a model over data and record what each unit of each site saw; the model is left as it was.

    Returns:
        The Record.

    Raises:
        InputError: if the model, the data or an option is not what it must be. What the model's own code raises
            passes through unchanged.
    """
    return observed(given.model, given.data, given)


def observed(model: Any, data: Any, options: Options) -> Record:
    """As `observe`, with all options in one object."""
    if isinstance(model, (str, bytes, os.PathLike)):
        from leaky.observation.onnx_route import observe_onnx

        for name, value in (("loss", options.loss), ("device", options.device), ("forward", options.forward)):
            if value is not None:
                raise InputError(f"{name} needs a torch model; an ONNX model has no backward pass and runs on the CPU")
        if options.mode != "eval":
            raise InputError(f"an ONNX model can only be observed in mode 'eval', not {options.mode!r}")
        return observe_onnx(model, data, options)
    from torch import nn

    from leaky.observation.torch_route import observe_torch

    if type(model).__name__ == "ExportedProgram":
        model = model.module()
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module or an ONNX file, not {type(model).__name__}")
    return observe_torch(model, data, options)

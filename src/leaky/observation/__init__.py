"""A model and data in, a Record out, with the model left as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from leaky.errors import InputError
from leaky.observation.options import AUTOMATIC, Options
from leaky.record import Record

__all__ = ["Options", "observe", "observed"]


def observe(
    model: Any,
    data: Any,
    *,
    mode: str = "eval",
    loss: Callable[[Any, Any], Any] | None = None,
    device: str | None = None,
    max_samples: int | None = None,
    seed: int | None = None,
    unit_dim: int | None = None,
    sample_dim: int | str | None = AUTOMATIC,
    batch_size: int | None = None,
    progress: Callable[[int], None] | None = None,
    forward: Callable[[Any, Any], Any] | None = None,
    mask: Any = True,
    groups: Any = True,
) -> Record:
    """Run a model over data and record what each unit of each site saw; the model is left as it was.

    Args:
        model: a torch module, or an ONNX model as path or bytes.
        data: a tensor or array of shape (samples, …), or inputs and targets as a tuple of such, which are cut into
            batches; or an iterable of batches, each a tensor, an array, a tuple whose first item is the input, or
            something with names (a mapping, a dataclass, a namedtuple, a graph), of which the model gets what its
            forward asks for, or all of it as one argument.
        mode: "eval" or "train", the mode of the modules while they are observed.
        loss: one of torch's (`nn.CrossEntropyLoss()`, `F.mse_loss`), which gets the model's output and the batch's
            target; or a function of the model's output and the batch, as the data gave it. With it the gradient at
            every site's output is recorded too, scaled to the loss of one sample.
        device: where to run; by default where the model is.
        max_samples: samples after which to stop.
        seed: for the random numbers while observing; the generators are put back either way.
        unit_dim: axis of the units in every pre-activation that has it, whatever the model's structure tells.
        sample_dim: axis of the inputs that holds the samples; None where every batch is one sample; by default 0,
            unless a layer of the model says otherwise (`nn.RNN` with batch_first=False).
        batch_size: samples a batch, where an array is cut up (256).
        progress: called with the number of samples seen, after each batch.
        forward: how to call the model where that is not enough: a function of the model and a batch as the data gave
            it, its tensors on the model's device, that returns the output.
        mask: which positions are padding and enter no figure: True takes `attention_mask` or torch's padding masks from
            the batch; False takes none; a name in the batch, or a function of the batch, gives a tensor of shape
            (samples, positions), True where real.
        groups: which rows of the input are one sample together, because they depend on each other (the nodes of a
            graph, the visits of a patient): True takes the graphs of a batch of several, by `batch` beside
            `edge_index`; False counts every row; a name in the batch, or a function of the batch, gives one whole
            number a row. Padding is then counted.

    Returns:
        The Record.

    Raises:
        InputError: if the model, the data or an option is not what it must be. What the model's own code raises
            passes through unchanged.
    """
    options = Options(
        mode, loss, device, max_samples, seed, unit_dim, sample_dim, batch_size, progress, forward, mask, groups
    )
    return observed(model, data, options)


def observed(model: Any, data: Any, options: Options) -> Record:
    """As `observe`, with the options as one thing."""
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

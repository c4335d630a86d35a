"""A model and data in, a Record out, with the model left as it was."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from leaky.errors import InputError
from leaky.record import Record

__all__ = ["observe"]

AUTOMATIC = "auto"


def observe(
    model: Any,
    batches: Any,
    *,
    mode: str = "eval",
    loss: Callable[[Any, Any], Any] | None = None,
    device: str | None = None,
    max_samples: int | None = None,
    seed: int | None = None,
    unit_dim: int | None = None,
    batch_dim: int | str | None = AUTOMATIC,
    batch_size: int | None = None,
    model_name: str | None = None,
    data_name: str | None = None,
    on_noise: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Record:
    """Run a model over data and record what each unit of each site saw; the model is left as it was.

    Args:
        model: a torch module, or an ONNX model as path or bytes.
        batches: a tensor or array of shape (samples, …), which is cut into batches; or an iterable of batches, each a
            tensor, an array, a tuple whose first item is the input, or a mapping of keyword inputs.
        mode: "eval" or "train", the mode of the modules while they are observed.
        loss: a function of the model's output and the batch, as the data gave it; with it the gradient at every site's
            output is recorded too, scaled to the loss of one sample.
        device: where to run; by default where the model is.
        max_samples: samples after which to stop.
        seed: for the random numbers while observing; the generators are put back either way.
        unit_dim: axis of the units in every pre-activation that has it, whatever the model's structure tells.
        batch_dim: axis of the inputs that holds the samples; None where every batch is one sample; by default 0, unless
            a layer of the model says otherwise (`nn.RNN` with batch_first=False).
        batch_size: samples a batch, where an array is cut up (256).
        model_name: what to call the model in reports.
        data_name: what to call the data in reports.
        on_noise: whether the data are made up; every verdict then says so.
        progress: called with the number of samples seen, after each batch.

    Returns:
        The Record.

    Raises:
        InputError: if the model, the data or an option is not what it must be. What the model's own code raises
            passes through unchanged.
    """
    if max_samples is not None and max_samples < 1:
        raise InputError(f"max_samples must be at least 1, not {max_samples}")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, not {batch_size}")
    if batch_dim is not None and not isinstance(batch_dim, int) and batch_dim != AUTOMATIC:
        raise InputError(f"batch_dim must be an axis, None or {AUTOMATIC!r}, not {batch_dim!r}")
    axis = 0 if isinstance(batch_dim, str) else batch_dim
    if isinstance(model, (str, bytes, os.PathLike)):
        from leaky.observation.onnx_route import observe_onnx

        for name, value in (("loss", loss), ("device", device)):
            if value is not None:
                raise InputError(f"{name} needs a torch model; an ONNX model has no backward pass and runs on the CPU")
        if mode != "eval":
            raise InputError(f"an ONNX model can only be observed in mode 'eval', not {mode!r}")
        return observe_onnx(
            model,
            batches,
            max_samples=max_samples,
            seed=seed,
            unit_dim=unit_dim,
            batch_dim=axis,
            batch_dim_given=not isinstance(batch_dim, str),
            batch_size=batch_size,
            model_name=model_name,
            data_name=data_name,
            on_noise=on_noise,
            progress=progress,
        )
    from torch import nn

    from leaky.observation.torch_route import Options, observe_torch

    if loss is not None and not callable(loss):
        raise InputError(f"loss must be a function of the output and the batch, not {type(loss).__name__}")
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module or an ONNX file, not {type(model).__name__}")
    options = Options(
        mode=mode,
        loss=loss,
        device=device,
        max_samples=max_samples,
        seed=seed,
        unit_dim=unit_dim,
        batch_dim=axis,
        batch_dim_given=not isinstance(batch_dim, str),
        batch_size=batch_size,
        model_name=model_name,
        data_name=data_name,
        on_noise=on_noise,
        progress=progress,
    )
    return observe_torch(model, batches, options)

"""What goes into an ONNX model and what comes out of it: the values that are fetched, and what made an output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from leaky.observation.ends import Ends, named
from leaky.observation.onnx_inputs import Feed
from leaky.record import OVER_SAMPLES, TensorStatistics
from leaky.structure.onnx.model import Array, OnnxModel

_MADE_BY = {
    "Sigmoid": "sigmoid", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Tanh": "tanh", "Relu": "relu",
    "Softplus": "softplus",
}  # fmt: skip
"""Operators that bound an output."""


def outputs_of(model: OnnxModel) -> list[str]:
    """The model's outputs that depend on data."""
    return [name for name in dict.fromkeys(model.outputs) if name in model.producers and name not in model.constants]


class OnnxEnds:
    """The tensors at both ends, batch by batch.

    Args:
        model: whose ends they are.
        sample_dim: axis of the samples; None where each batch is one sample.
    """

    def __init__(self, model: OnnxModel, sample_dim: int | None) -> None:
        self._inputs, self._outputs = Ends(), Ends()
        self._model, self._sample_dim = model, sample_dim
        self._names = outputs_of(model)

    def add(self, part: Feed, values: Mapping[str, Array], ran: int) -> None:
        """Take in some samples and what came out of a run of them.

        Args:
            part: the samples.
            values: by name, those of the outputs among them.
            ran: samples that ran, with those that only filled up a batch.
        """
        self._inputs.add(named(list(part.arrays.values()), "input"), part.samples, self._sample_dim)
        kept = [self._kept(values[name], part.samples, ran) for name in self._names]
        self._outputs.add(named(kept, "output"), part.samples, self._sample_dim)

    def _kept(self, value: Array, samples: int, ran: int) -> Array:
        dim = self._sample_dim
        if dim is None or value.ndim <= dim or value.shape[dim] != ran:
            return value
        return value[(slice(None),) * dim + (slice(0, samples),)]

    @property
    def inputs(self) -> tuple[TensorStatistics, ...]:
        return self._inputs.tensors

    @property
    def outputs(self) -> tuple[TensorStatistics, ...]:
        """With the operation that made each, where it bounds its values."""
        found = self._outputs.tensors
        if len(found) != len(self._names):  # one of a type that holds no plain numbers
            return found
        return tuple(self._made(name, tensor) for name, tensor in zip(self._names, found, strict=True))

    def _made(self, name: str, tensor: TensorStatistics) -> TensorStatistics:
        operation = self._model.operations[self._model.producers[name]]
        made_by, over = _MADE_BY.get(operation.kind), None
        axis = operation.attributes.get("axis", -1)
        if made_by in ("softmax", "log_softmax") and -len(tensor.shape) <= axis < len(tensor.shape):
            over = tensor.shape[axis]
            made_by += OVER_SAMPLES if axis % len(tensor.shape) == self._sample_dim else ""
        return replace(tensor, made_by=made_by, made_over=over)

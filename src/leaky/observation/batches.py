"""The user's data, whatever its form, as batches of inputs and the samples in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.interruptions import surely_twice
from leaky.observation.bits import copied, put_back
from leaky.observation.calling import Calling, Forward, arguments_of, is_list_of_samples, signature_of
from leaky.observation.forms import items_of
from leaky.observation.nesting import map_tensors, mapping_of, rows_of, tensors_in
from leaky.structure.samples import Ids

BATCH_SIZE = 256


@dataclass(eq=False)
class Batch:
    """One batch.

    Attributes:
        args, kwargs: for the model, on its device.
        original: as the data gave it, for the user's loss.
        forward: the user's own way to call the model with `original`, in the place of the arguments.
        names: that the model has for `args`, in order; empty where they are not known.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    original: Any
    forward: Forward | None = None
    names: tuple[str, ...] = ()

    def run(self, model: nn.Module) -> Any:
        """Call the model with this batch."""
        return model(*self.args, **self.kwargs) if self.forward is None else self.forward(model, self.original)

    @cached_property
    def tensors(self) -> list[Tensor]:
        """Every tensor among the inputs, in order."""
        return tensors_in((self.args, self.kwargs))

    @cached_property
    def named(self) -> dict[str, Tensor]:
        """The same by name: a keyword, or "input" with its place where there are several; no list of samples."""
        args = [value for value in self.args if not is_list_of_samples(value)]
        places = [(tensor, "input") for tensor in tensors_in(args)]
        several = len(places) > 1
        by_place = {f"{word} {i}" if several else word: tensor for i, (tensor, word) in enumerate(places)}
        return by_place | {key: tensor for key, value in self.kwargs.items() for tensor in tensors_in(value)[:1]}

    @contextmanager
    def kept(self, untouched: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """While open a model may write to its inputs; then they are as they were, so that who looks again sees them.

        Args:
            untouched: asked at the end whether it is known that nothing has written to them.
        """
        inputs = [(tensor, copied(tensor)) for tensor in self.tensors if not tensor.is_nested]
        done = False
        try:
            yield
            done = untouched()
        finally:
            if not done:
                surely_twice(lambda: [partial(put_back, tensor, copy) for tensor, copy in inputs])

    @cached_property
    def _packed(self) -> list[Any]:
        return [value for value in (*self.args, *self.kwargs.values()) if hasattr(value, "batch_sizes")]

    @cached_property
    def rows(self) -> dict[int, Ids | int]:
        """What is told of the samples by the tensor's `id`: each row's of a packed sequence, the one that it is."""
        lists = filter(is_list_of_samples, (*self.args, *self.kwargs.values()))
        single = {id(tensor): number for value in lists for number, tensor in enumerate(value)}
        return single | {id(packed.data): rows_of(packed) for packed in self._packed}

    def samples_of_one(self, sample_dim: int | None) -> int | None:
        """Samples of a plain tensor that is all that goes in; None for anything else."""
        if len(self.args) != 1 or self.kwargs or sample_dim is None:
            return None
        value = self.args[0]
        if type(value) is not Tensor or value.is_nested:
            return None
        shape = value.shape
        return shape[sample_dim] if -len(shape) <= sample_dim < len(shape) else None

    def samples(self, sample_dim: int | None) -> int:
        """Samples along `sample_dim` of the first input; 1 where that is None or the input has no such axis."""
        known = self.samples_of_one(sample_dim)
        if known is not None:
            return known
        if self._packed:
            return int(self._packed[0].batch_sizes[0])
        first = next(iter(self.tensors), None)
        if first is None or is_list_of_samples(next(iter(self.args), None)):  # texts, sequences
            return len(self.args[0]) if sample_dim is not None and self.args else 1
        if sample_dim is None or not -first.ndim <= sample_dim < first.ndim:
            return 1
        return int(first.size(sample_dim))


def batches_of(
    data: Any,
    model: nn.Module,
    *,
    sample_dim: int | None,
    batch_size: int | None,
    max_samples: int | None,
    forward: Forward | None = None,
) -> Iterator[Batch]:
    """The batches of `data` for `model`.

    Args:
        data: a tensor or array, cut into batches along `sample_dim`; inputs and targets as a tuple of arrays of one
            length, cut up together, the inputs a tuple or mapping of their own where they are several; a torch Dataset;
            or an iterable of batches, each a tensor, an array, a tuple whose first item is the input, or something with
            names: a mapping, a dataclass, a namedtuple, a graph. With `Calling` around it, its way to call the model
            holds.
        model: whose device the inputs are moved to, and whose precision floating arrays get.
        sample_dim: axis of the samples; None where each batch is one sample.
        batch_size: of a tensor that is cut up; 256 by default.
        max_samples: where to stop; the last batch is cut, unless its parts belong together otherwise than by samples.
        forward: the user's own way to call the model with a batch.

    Raises:
        InputError: where the data are not of such a form, or empty.
    """
    reference = next((p for p in model.parameters() if p.is_floating_point()), None)
    device = None if reference is None else reference.device
    if isinstance(data, Calling):
        data, forward = data.data, forward or data.forward
    seen = 0
    for item in items_of(data, sample_dim, batch_size or BATCH_SIZE):
        batch = _batch(item, model, reference, device, forward)
        count = batch.samples(sample_dim)
        beyond = max_samples is not None and sample_dim is not None and seen + count > max_samples
        if beyond and _separable(batch, sample_dim, count):
            assert max_samples is not None
            assert sample_dim is not None
            batch = _cut(batch, sample_dim, count, max_samples - seen)
            count = max_samples - seen
        seen += count
        yield batch
        if max_samples is not None and seen >= max_samples:
            return
    if not seen:
        raise InputError("the data must have at least one sample, and there is none")


def _separable(batch: Batch, sample_dim: int | None, count: int) -> bool:
    """Whether a batch can be cut into samples: every input has their axis, and none has it twice.

    The rows of a graph belong together through its edges, the rows of an adjacency matrix through its columns; what an
    object of the user's holds, and what goes in by the user's function, only they know.
    """
    if batch.forward is not None or sample_dim is None:
        return False
    plain = all(isinstance(v, (Tensor, tuple, list, dict)) for v in (*batch.args, *batch.kwargs.values()))
    return plain and all(
        tensor.layout == torch.strided
        and not tensor.is_nested
        and tensor.ndim > 0
        and count in (tensor.shape[0], tensor.shape[min(sample_dim, tensor.ndim - 1)])
        and (place == 0 or count < 3 or list(tensor.shape[:2]).count(count) == 1)
        for place, tensor in enumerate(batch.tensors)
    )


def _batch(
    item: Any, model: nn.Module, reference: Tensor | None, device: torch.device | None, forward: Forward | None
) -> Batch:
    original = _ready(item, reference, device)
    if forward is not None:
        return Batch((original,), {}, original, forward)
    args, kwargs = arguments_of(original, model)
    if not tensors_in((args, kwargs)) and not _is_text(args):
        raise InputError(
            f"a batch must be a tensor, an array, a tuple whose first item is the input, or a mapping of keyword "
            f"inputs, not {_kind(item)}"
        )
    signature = signature_of(model) if len(args) > 1 else None
    return Batch(args, kwargs, original, names=() if signature is None else signature.names)


def _is_text(args: tuple[Any, ...]) -> bool:
    return len(args) == 1 and isinstance(args[0], (list, tuple)) and all(isinstance(text, str) for text in args[0])


def _kind(item: Any) -> str:
    if isinstance(item, (tuple, list)):
        return f"{type(item).__name__} of {', '.join(type(part).__name__ for part in item[:4]) or 'nothing'}"
    return type(item).__name__


def _ready(value: Any, reference: Tensor | None, device: torch.device | None) -> Any:
    """Arrays as tensors, floating ones in the model's precision; tensors on its device."""
    if isinstance(value, np.ndarray):
        return _tensor(value, reference, device)
    if isinstance(value, Tensor):
        return value if device is None else value.to(device)
    if isinstance(value, Mapping):
        return mapping_of(value, {key: _ready(item, reference, device) for key, item in value.items()})
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        if hasattr(value, "batch_sizes"):  # a PackedSequence
            return value if device is None else value.to(device)  # type: ignore[attr-defined]
        return type(value)(*(_ready(item, reference, device) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_ready(item, reference, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return map_tensors(value, lambda tensor: _ready(tensor, reference, device))
    return value.to(device) if device is not None and callable(getattr(value, "to", None)) else value


def _tensor(array: np.ndarray[Any, Any], reference: Tensor | None, device: torch.device | None) -> Tensor:
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise InputError("an input array must have no masked elements; fill them first: array.filled(value)")
    if array.dtype.kind not in "fiub":
        raise InputError(f"an input array must hold numbers or booleans, not {array.dtype}")
    # torch knows neither long doubles nor the other byte order. A copy: a memory-mapped array may be read-only.
    dtype = np.float64 if array.dtype == np.longdouble else array.dtype.newbyteorder("=")
    tensor = torch.from_numpy(np.array(array, dtype, order="C"))
    if reference is not None and tensor.is_floating_point():
        tensor = tensor.to(reference.dtype)
    return tensor if device is None else tensor.to(device)


def _cut(batch: Batch, sample_dim: int, count: int, keep: int) -> Batch:
    def shorten(value: Tensor) -> Tensor:
        for dim in (sample_dim, 0):
            if -value.ndim <= dim < value.ndim and value.shape[dim] == count:
                return value.narrow(dim, 0, keep).contiguous()
        return value

    return replace(
        batch,
        args=map_tensors(batch.args, shorten),
        kwargs=map_tensors(batch.kwargs, shorten),
        original=map_tensors(batch.original, shorten),
    )

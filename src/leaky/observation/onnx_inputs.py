"""Converts the user's data to arrays named like the inputs of an ONNX model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from leaky.errors import InputError
from leaky.observation.batches import BATCH_SIZE
from leaky.structure.onnx.model import Array, Declared
from leaky.text import listed, named

Arrays: TypeAlias = dict[str, Array]

_WHOLE = (Tensor, np.ndarray, Mapping)
"""What holds all samples at once."""
EMPTY = "the data must have at least one sample, and there is none"


@dataclass(frozen=True, eq=False)
class Feed:
    """One batch.

    Attributes:
        arrays: by input, in the model's order, of its types.
        dims: the axis of each input that holds the samples; None for an input that all samples share.
        samples: in the batch.
    """

    arrays: Arrays
    dims: dict[str, int | None]
    samples: int

    def rows(self, start: int, stop: int) -> Feed:
        """Some of the samples."""
        return self._picked(slice(start, stop), min(stop, self.samples) - start)

    def padded(self, samples: int) -> Feed:
        """As many samples, the last one repeated."""
        index = np.minimum(np.arange(samples), self.samples - 1)
        return self._picked(index, samples)

    def replaced_after(self, samples: int) -> Feed:
        """The first samples, followed by the first one again and again."""
        index = np.arange(self.samples)
        return self._picked(np.where(index < samples, index, 0), self.samples)

    def _picked(self, index: slice | Array, samples: int) -> Feed:
        arrays = {
            name: array if (dim := self.dims[name]) is None else array[(slice(None),) * dim + (index,)]
            for name, array in self.arrays.items()
        }
        return Feed(arrays, self.dims, samples)


class OnnxInputs:
    """Reads data for a model.

    Args:
        declared: the model's inputs.
        notes: gets a remark where data had to be converted.
    """

    def __init__(self, declared: Mapping[str, Declared], notes: dict[str, None]) -> None:
        self._declared = declared
        self._notes = notes

    def fixed(self, sample_dim: int | None) -> int | None:
        """The number of samples that the model insists on; None where it takes any."""
        shape = next(iter(self._declared.values())).shape
        if shape is None or sample_dim is None or not -len(shape) <= sample_dim < len(shape):
            return None
        size = shape[sample_dim]
        return size if isinstance(size, int) else None

    def opened(self, data: Any) -> tuple[Any, Any]:
        """The first batch, or all of it where the data are one array; and the data with nothing taken off.

        Raises:
            InputError: where the data are not of a form that `feeds` takes.
        """
        if isinstance(data, _WHOLE):
            return data, data
        if isinstance(data, (str, bytes)) or not hasattr(data, "__iter__"):
            raise InputError(
                f"data must be an array, arrays by input or an iterable of batches, not {type(data).__name__}"
            )
        batches = iter(data)
        for first in batches:
            return first, itertools.chain([first], batches)
        raise InputError(EMPTY)

    def feeds(
        self, data: Any, sample_dim: int | None, batch_size: int | None, max_samples: int | None
    ) -> Iterator[Feed]:
        """The batches of the data.

        Args:
            data: an array, or arrays by input, cut into batches along `sample_dim`; or an iterable of batches, each an
                array, a tuple whose first item is the input, or arrays by input.
            sample_dim: axis of the samples; None where each batch is one sample.
            batch_size: where data are cut; by default what the model insists on, else 256.
            max_samples: where to stop.

        Raises:
            InputError: where the data are not of such a form, do not fit the model, or are empty.
        """
        seen = 0
        for feed in self._batches(data, sample_dim, batch_size or self.fixed(sample_dim) or BATCH_SIZE):
            whole = max_samples is None or seen + feed.samples <= max_samples
            kept = feed if whole else feed.rows(0, max_samples - seen)  # type: ignore[operator]
            seen += kept.samples
            if kept.samples:
                yield self.converted(kept)
            if max_samples is not None and seen >= max_samples:
                return
        if not seen:
            raise InputError(EMPTY)

    def _batches(self, data: Any, sample_dim: int | None, size: int) -> Iterator[Feed]:
        """The batches as they are; a part of large data is converted only when its turn has come."""
        whole = isinstance(data, _WHOLE)
        for item in [data] if whole else data:
            feed = self.feed(item, sample_dim)
            step = size if whole and sample_dim is not None else max(feed.samples, 1)
            for start in range(0, feed.samples, step):
                yield feed.rows(start, start + step)

    def feed(self, item: Any, sample_dim: int | None) -> Feed:
        """One batch of the data before its arrays are converted to the model's types."""
        given = self._by_name(item)
        arrays = {name: _array(name, given[name]) for name in self._declared}
        first = next(iter(arrays.values()))
        if sample_dim is None or not -first.ndim <= sample_dim < first.ndim:
            dims: dict[str, int | None] = dict.fromkeys(arrays)
            samples = 1
        else:
            samples = first.shape[sample_dim]
            dims = {name: self._sample_dim(name, array, sample_dim, samples) for name, array in arrays.items()}
        self._check_shapes(arrays, dims)
        return Feed(arrays, dims, samples)

    def converted(self, feed: Feed) -> Feed:
        """The same samples in the types that the model takes."""
        arrays = {name: self._converted(name, array) for name, array in feed.arrays.items()}
        return Feed(arrays, feed.dims, feed.samples)

    def _by_name(self, item: Any) -> dict[str, Any]:
        names = list(self._declared)
        inputs = item[0] if isinstance(item, (tuple, list)) and len(item) else item
        if isinstance(inputs, Mapping):
            given = {str(name): value for name, value in inputs.items()}
        elif isinstance(inputs, (tuple, list)):
            given = dict(zip(names, inputs, strict=False)) | {
                f"input {i}": None for i in range(len(names), len(inputs))
            }
        else:
            given = {names[0]: inputs}
        unknown, missing = [n for n in given if n not in names], [n for n in names if n not in given]
        if unknown or missing:
            what = f"{listed(map(named, missing))} missing" if missing else f"{listed(map(named, unknown))} unknown"
            raise InputError(f"the model's inputs are {listed(map(named, names))}; {what}: give the arrays by name")
        return given

    def _converted(self, name: str, value: Array) -> Array:
        """The array in the type that the model takes, where it is a number of the same kind."""
        wanted = self._declared[name].dtype
        if value.dtype == wanted:
            return value
        if value.dtype.kind != wanted.kind and not (value.dtype.kind in "iu" and wanted.kind in "iu"):
            raise InputError(f"input {name!r} must be {wanted}, not {value.dtype}; convert it as the model was trained")
        self._notes.setdefault(f"input {name!r} was converted from {value.dtype} to {wanted}, which the model takes")
        return value.astype(wanted)

    def _sample_dim(self, name: str, array: Array, sample_dim: int, samples: int) -> int | None:
        """The sample axis of an input; None for one that all samples share."""
        if not -array.ndim <= sample_dim < array.ndim or array.shape[sample_dim] != samples:
            return None
        dim = sample_dim % array.ndim
        shape, first = self._declared[name].shape, next(iter(self._declared.values())).shape
        free = first is not None and len(first) > dim and isinstance(first[dim], str)
        if free and shape is not None and len(shape) > dim and isinstance(shape[dim], int):
            return None  # of a fixed length where the samples may be many
        return dim

    def _check_shapes(self, arrays: Arrays, dims: Mapping[str, int | None]) -> None:
        for name, array in arrays.items():
            wanted = self._declared[name].shape
            if wanted is None:
                continue
            fits = len(wanted) == array.ndim and all(
                dim == dims[name] or isinstance(size, str) or size == array.shape[dim]
                for dim, size in enumerate(wanted)
            )
            if not fits:
                shown = " × ".join(str(size) if isinstance(size, int) or size else "?" for size in wanted)
                raise InputError(
                    f"input {name!r} must have shape {shown or 'of a single number'}, not "
                    f"{' × '.join(map(str, array.shape)) or 'that of a single number'}"
                )


def _array(name: str, value: Any) -> Array:
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"input {name!r} must be an array of numbers or booleans, not {kind}")
    return array

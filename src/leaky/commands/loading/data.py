"""DATA → batches that `observe` takes: files, noise, or what the user's code makes.

Iterating twice gives the same samples twice, as far as the user's own object can.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from leaky.commands.loading.arrays import LoadedData, form, from_file, from_named, noise
from leaky.errors import InputError
from leaky.user_code import call_without_arguments, resolve

if TYPE_CHECKING:
    from leaky.commands.loading.models import Model


def load_data(
    name: str, model: Model, *, seed: int | None = None, sample_dim: int | None = None, batch_size: int | None = None
) -> LoadedData:
    """The data that `name` names.

    Args:
        name: "data.npy", "data.npz", "noise:SHAPE", "module:name" or "path/to/file.py:name".
        model: whose argument names the arrays in an .npz file must have.
        seed: of the noise; 0 by default.
        sample_dim: axis of the samples in arrays; 0 by default.
        batch_size: of batches that are made here; 256 by default.

    Raises:
        InputError: if there are no such data, or they hold pickled objects.
    """
    dim, size = sample_dim or 0, batch_size or 256
    if name.startswith("noise:"):
        return noise(name.removeprefix("noise:"), 0 if seed is None else seed, dim, size, model)
    if name.lower().endswith(".npy"):
        return from_file(name, model, dim)
    if name.lower().endswith(".npz"):
        return from_named(name, model, dim, size)
    return _from_code(name, size)


def _from_code(name: str, size: int) -> LoadedData:
    if ":" not in name:
        raise InputError(f"DATA must be a .npy or .npz file, noise:SHAPE, module:name or file.py:name, not {name!r}")
    found = resolve(name, "DATA")
    function = found if inspect.isclass(found) or (callable(found) and not _is_data(found)) else None
    if function is not None:
        found = call_without_arguments(function, name, "DATA")
    if isinstance(found, tuple) and found and not isinstance(found[0], tuple):
        # As with a batch: the first item of a tuple is the input.
        return LoadedData(found[0], name, notes=(f"{name} is a tuple; its first item was taken as the input",))
    if isinstance(found, Iterator) and function is not None:
        found = _Restarting(found, function)
    if not _is_data(found):
        raise InputError(
            f"DATA {name!r} must be a tensor, an array, an iterable of batches or a function that returns one, "
            f"not {type(found).__name__}"
        )
    return LoadedData(_batched(found, size), name, form=form(found) if isinstance(found, np.ndarray) else "")


class _Restarting:
    """What a function of the user gives, called again for each run after the first."""

    def __init__(self, first: Iterator[Any], start: Callable[[], Any]) -> None:
        self._first: Iterator[Any] | None = first
        self._start = start

    def __iter__(self) -> Iterator[Any]:
        first, self._first = self._first, None
        return iter(self._start()) if first is None else first


def _is_data(found: Any) -> bool:
    return isinstance(found, Iterable | Mapping) or hasattr(found, "__getitem__") or hasattr(found, "__array__")


def _batched(found: Any, size: int) -> Any:
    """A dataset of single samples as batches of them; everything else as it is."""
    from torch.utils.data import DataLoader, Dataset, IterableDataset

    if isinstance(found, Dataset) and not isinstance(found, IterableDataset):
        return DataLoader(found, batch_size=size)
    return found

"""Arrays from files and from a random generator, lazily where they are large.

Nothing pickled is ever read. Integers stay integers: they may be indices into an embedding.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leaky.commands.loading.tokens import Tokens, tokens_of
from leaky.errors import InputError
from leaky.text import printable, shortened

if TYPE_CHECKING:
    from leaky.commands.loading.models import Model

Array = NDArray[Any]

POSITIONAL = ("x", "X", "input", "inputs")
"""Names of the array in an .npz file that is the model's first input."""
MOST_NOISE, MOST_IN_BATCH = 2**40, 2**31
"""Elements that can be made in a lifetime, and held in memory."""
LAZY_NOISE = 2**24
"""Elements from which on noise is made batch by batch."""


@dataclass(frozen=True)
class LoadedData:
    """What to observe a model on.

    Attributes:
        batches: for `leaky.observe`; may be iterated more than once, unless the user's own object may not.
        name: of the data, for the reader.
        samples: how many there are, None where only running through them tells.
        on_noise: whether they were made up.
        notes: what was done to them or left out.
        form: type and shape in words, "" where unknown.
    """

    batches: Any
    name: str
    samples: int | None = None
    on_noise: bool = False
    notes: tuple[str, ...] = ()
    form: str = ""


@dataclass(frozen=True)
class Repeatable:
    """An iterable that starts afresh each time: `start` returns a new iterator."""

    start: Callable[[], Iterator[Any]] = field(repr=False)

    def __iter__(self) -> Iterator[Any]:
        return self.start()


def from_file(name: str, model: Model, dim: int) -> LoadedData:
    """The array of an .npy file, mapped and not read.

    Args:
        name: path of the file.
        model: that it is for.
        dim: axis of the samples.

    Raises:
        InputError: if it is damaged or holds no numbers.
    """
    # An empty or damaged file cannot be mapped; np.load says so.
    array = _read(name, lambda: np.load(name, mmap_mode="r", allow_pickle=False))
    if not isinstance(array, np.ndarray):
        raise InputError(f"DATA {name!r} must hold one array; files of several are named .npz")
    return _from_array(array, Path(name).name, model, dim)


def _read(name: str, load: Callable[[], Any]) -> Any:
    """Read a file with `load` and turn its exceptions into `InputError`s."""
    if not Path(name).is_file():
        raise InputError(f"DATA {name!r} must be a file; there is none")
    try:
        return load()
    except Exception as error:  # zipfile, zlib, struct, EOF and value errors: a damaged file can raise any
        if any(words in str(error) for words in ("Object arrays", "Python objects")) or _is_pickle(Path(name)):
            raise InputError(
                f"DATA {name!r} must hold numbers; it holds pickled Python objects, which leaky never reads"
            ) from error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        if "pickle" in reason:
            reason = "it does not begin like one"
        raise InputError(f"DATA {name!r} must be a whole {Path(name).suffix} file: {reason}") from error


def _is_pickle(path: Path) -> bool:
    """Whether the file begins like a pickle; NumPy takes whatever it does not know for one."""
    with path.open("rb") as stream:
        return stream.read(1) == b"\x80"


def _read_named(name: str) -> dict[str, Array]:
    # Opened here, because np.load leaves a damaged file open.
    with Path(name).open("rb") as stream:
        content = np.load(stream, allow_pickle=False)
        found = {"x": content} if isinstance(content, np.ndarray) else {key: content[key] for key in content.files}
    for key, value in found.items():
        if not isinstance(value, np.ndarray):  # NumPy gives the bytes of what does not begin like an array
            raise ValueError(f"what it has under {key!r} is no array")
    return found


def _from_array(array: Array, name: str, model: Model, dim: int) -> LoadedData:
    array, notes = _usable(array, name, model, dim)
    return LoadedData(array, name, samples=array.shape[dim], notes=notes, form=form(array))


def _usable(array: Array, name: str, model: Model, dim: int) -> tuple[Array, tuple[str, ...]]:
    """The array converted to a type that the frameworks support, and a note on the conversion."""
    if array.dtype.kind not in "fiub":
        raise InputError(f"DATA {name!r} must hold numbers, not {array.dtype}")
    if not -array.ndim <= dim < array.ndim or array.shape[dim] == 0:
        raise InputError(f"DATA {name!r} must have at least one sample along axis {dim}; its shape is {array.shape}")
    wide = array.dtype.itemsize > 8
    plain = np.dtype(np.float64) if wide else array.dtype.newbyteorder("=")
    used = (model.precision if array.dtype.kind == "f" else None) or plain.name
    notes = () if used == array.dtype.name else (f"{name} was cast from {array.dtype.name} to {used}",)
    # What torch cannot read is converted here and whole; the rest is cast batch by batch while observing.
    return (array if array.dtype == plain and array.dtype.isnative else array.astype(plain)), notes


def form(array: Array) -> str:
    """Type and shape in words."""
    return f"{array.dtype} of shape {tuple(array.shape)}"


def from_named(name: str, model: Model, dim: int, size: int) -> LoadedData:
    """The arrays of an .npz file as the inputs that their names say.

    Args:
        name: path of the file.
        model: whose arguments they are.
        dim: axis of the samples.
        size: of the batches.

    Raises:
        InputError: if it is damaged, or no array fits.
    """
    arrays: dict[str, Array] = _read(name, lambda: _read_named(name))
    if not arrays:
        raise InputError(f"DATA {name!r} must hold an array, and it is empty")
    wanted, takes_any = _argument_names(model)
    chosen, first = _choose(arrays, wanted, takes_any, name)
    notes: tuple[str, ...] = ()
    for key, array in chosen.items():
        chosen[key], changed = _usable(array, f"{Path(name).name}:{key}", model, dim)
        notes += changed
    lengths = {key: array.shape[dim] for key, array in chosen.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(f"the arrays of DATA {name!r} must have the same number of samples, not {lengths}")
    ignored = [key for key in arrays if key not in chosen]
    if ignored:
        notes += (f"{', '.join(ignored)} in {Path(name).name} is no input of the model and was left alone",)
    if first is not None:
        data = _from_array(chosen[first], Path(name).name, model, dim)
        return LoadedData(data.batches, data.name, data.samples, notes=notes, form=data.form)
    words = ", ".join(f"{key}: {form(array)}" for key, array in chosen.items())
    samples = next(iter(lengths.values()))
    batches = Repeatable(lambda: _slices(chosen, samples, dim, size))
    return LoadedData(batches, Path(name).name, samples, notes=notes, form=words)


def _slices(arrays: Mapping[str, Array], samples: int, dim: int, size: int) -> Iterator[dict[str, Array]]:
    for start in range(0, samples, size):
        yield {
            key: array[(slice(None),) * (dim % array.ndim) + (slice(start, start + size),)]
            for key, array in arrays.items()
        }


def _choose(
    arrays: Mapping[str, Array], wanted: list[str], takes_any: bool, name: str
) -> tuple[dict[str, Array], str | None]:
    """The arrays that are inputs, by the model's argument names; and the key of the only one, if it is one."""
    if len(arrays) == 1:
        return dict(arrays), next(iter(arrays))
    chosen = {key: array for key, array in arrays.items() if key in wanted}
    positional = next((key for key in POSITIONAL if key in arrays and key not in chosen), None)
    if positional is not None and (not wanted or wanted[0] not in chosen):
        if not chosen:
            return {positional: arrays[positional]}, positional
        return {wanted[0]: arrays[positional], **chosen}, None
    if not chosen and takes_any:
        return dict(arrays), None
    if not chosen:
        raise InputError(
            f"the arrays of DATA {name!r} must be named like the model's inputs ({', '.join(wanted)}) or 'x', "
            f"not {', '.join(map(repr, arrays))}"
        )
    return chosen, None


def _argument_names(model: Model) -> tuple[list[str], bool]:
    """The names of the model's inputs in order, and whether it takes any others."""
    if isinstance(model.model, Path):
        from leaky.commands.loading.models import onnx_inputs

        return onnx_inputs(model.model), False
    parameters = inspect.signature(model.model.forward).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return named, any(p.kind is p.VAR_KEYWORD for p in parameters)


def noise(shape: str, seed: int, dim: int, size: int, model: Model | None = None) -> LoadedData:
    """Standard normal numbers, or tokens where the model looks its input up; the same whatever the batch size.

    Args:
        shape: "256x3x32x32", samples along axis `dim`.
        seed: of the generator.
        dim: axis of the samples.
        size: of the batches, where there are many numbers.
        model: whose input they are; None for plain numbers.

    Raises:
        InputError: if that is no shape.
    """
    if not re.fullmatch(r"\d{1,30}([x,]\d{1,30}){0,63}", shape, re.ASCII):
        raise InputError(f"noise must have a shape like noise:256x3x32x32, samples first, not {shortened(shape)!r}")
    sizes = tuple(int(part) for part in re.split("[x,]", shape))
    if not -len(sizes) <= dim < len(sizes) or 0 in sizes:
        raise InputError(f"noise must have at least one sample along axis {dim}, and no axis of 0, not {shape}")
    elements, batch = math.prod(sizes), math.prod(sizes) // sizes[dim] * min(size, sizes[dim])
    if elements > MOST_NOISE or batch > MOST_IN_BATCH:
        raise InputError(
            f"noise must have at most {MOST_NOISE:,} numbers, and {MOST_IN_BATCH:,} in a batch of {size} samples, "
            f"not the {_powers(elements)} of {printable(shortened(shape))}"
        )
    tokens = None if model is None else tokens_of(model, sizes, dim)
    name = f"standard normal noise, seed {seed}" if tokens is None else f"random tokens, seed {seed}"
    samples, words = sizes[dim], f"{'float32' if tokens is None else 'int64'} of shape {sizes}"
    if dim == 0 and math.prod(sizes) > LAZY_NOISE:
        return LoadedData(
            Repeatable(lambda: _drawn(sizes, seed, size, tokens)), name, samples, on_noise=True, form=words
        )
    (array,) = _drawn(sizes, seed, sizes[0], tokens)
    return LoadedData(array, name, samples, on_noise=True, form=words)


def _powers(count: int) -> str:
    """An integer for an error message, as a power of ten where it is long."""
    return f"{count:,}" if count < 10**15 else f"more than 10^{int(math.log10(count))}"


def _drawn(sizes: tuple[int, ...], seed: int, size: int, tokens: Tokens | None) -> Iterator[Array]:
    """Draw batches from one stream of random numbers, so that the batch size does not change them."""
    generator = np.random.default_rng(seed)
    drawn = None if tokens is None else np.array(tokens.drawn, np.int64)
    for start in range(0, sizes[0], size):
        count = min(size, sizes[0] - start)
        if drawn is None:
            yield generator.standard_normal((count, *sizes[1:]), dtype=np.float32)
        else:
            yield drawn[(generator.random((count, *sizes[1:])) * len(drawn)).astype(np.int64)]

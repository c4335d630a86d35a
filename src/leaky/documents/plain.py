"""Converts frozen data classes to JSON and back by their type annotations.

Must check everything that an annotation says, so that what comes out is what the class promises; what a class itself
checks (`__post_init__`) is told with its place in the file. Understands bool, int, float, str, None, Literal, unions,
tuples, lists, mappings with string keys, NumPy arrays, data classes inside each other and `Any`. A number that is not
finite is null, and null where a number must be is NaN.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import numpy as np

from leaky.documents.reader import DEEPEST, LARGEST_NUMBER, Reader, came, is_plain
from leaky.errors import InputError

T = TypeVar("T")


def encode(value: Any) -> Any:
    """A data class, or anything that its fields may hold, as JSON-safe data."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return encode(value.tolist())
    if dataclasses.is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [encode(each) for each in value]
    raise TypeError(f"a document cannot hold a {type(value).__qualname__}")


def decode(cls: type[T], at: Reader) -> T:
    """The data class that `encode` wrote; keys that it does not know are ignored.

    A field's metadata may say under which name earlier versions had it, as "formerly".

    Raises:
        InputError: if a field is missing or is not what its annotation says; the message names its place.
    """
    hints, values = hints_of(cls), {}
    for field in dataclasses.fields(typing.cast(Any, cls)):
        if not field.init:
            continue
        name = next((each for each in (field.name, field.metadata.get("formerly")) if each in at.data), None)
        if name is not None:
            values[field.name] = _decoded(hints[field.name], at.data[name], at.source, at.path(name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise at.wrong(field.name, wanted(hints[field.name]))
    try:
        return cls(**values)
    except (InputError, ValueError, TypeError) as error:
        raise InputError(f"{at.source}: {at.place or 'the document'}: {error}") from error


def hints_of(cls: type[Any]) -> dict[str, Any]:
    """The annotations of a class, resolved; they must be importable where the class is defined."""
    if cls not in _hints:
        _hints[cls] = typing.get_type_hints(cls)
    return _hints[cls]


_hints: dict[type[Any], dict[str, Any]] = {}


def wanted(hint: Any) -> str:
    """The JSON type that an annotation requires, in words for an error message."""
    choices = options(hint)
    if len(choices) > 1:
        return " or ".join(dict.fromkeys(wanted(each) for each in choices))
    hint, origin = choices[0], get_origin(choices[0])
    if origin is Literal:
        return f"one of {', '.join(map(repr, get_args(hint)))}"
    if is_array(hint):
        return "a list of numbers"
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return "an object"
    return _WORDS.get(origin or hint, "a value")


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    types.NoneType: "null",
    tuple: "a list",
    list: "a list",
    Sequence: "a list",
    dict: "an object",
    Mapping: "an object",
}


def options(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def is_array(hint: Any) -> bool:
    origin = get_origin(hint)
    meant = getattr(origin, "__value__", None)  # NumPy 2.5's NDArray is an alias of Python 3.12's own kind
    return np.ndarray in (hint, origin, get_origin(meant))


def _decoded(hint: Any, value: Any, source: str, place: str) -> Any:
    fitting = [choice for choice in options(hint) if _fits(choice, value)]
    for choice in fitting[:-1]:  # lists of one kind or another are told apart by what is in them
        try:
            return _built(choice, value, source, place)
        except InputError:
            continue
    if fitting:
        return _built(fitting[-1], value, source, place)
    if value is None and float in options(hint):
        return math.nan
    raise _wrong(hint, value, source, place)


def _wrong(hint: Any, value: Any, source: str, place: str) -> InputError:
    return InputError(f"{source}: {place} must be {wanted(hint)}, not {came(value)}")


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value is of the JSON type of one annotation; what is inside is looked at when it is built."""
    origin = get_origin(hint) or hint
    if hint in (Any, object):
        return is_plain(value)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(hint))
    if hint is float:
        return type(value) is float or (type(value) is int and abs(value) <= LARGEST_NUMBER)
    if hint is int:
        return type(value) is int and abs(value) <= LARGEST_NUMBER
    if hint in (bool, str, types.NoneType):
        return type(value) is hint
    if origin in (tuple, list, Sequence) or is_array(hint):
        return isinstance(value, list)
    if origin in (dict, Mapping) or dataclasses.is_dataclass(hint):
        return isinstance(value, dict)
    raise TypeError(f"documents.plain does not know the annotation {hint!r}")


def _built(hint: Any, value: Any, source: str, place: str) -> Any:
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if hint is float:
        if not math.isfinite(value):
            raise InputError(f"{source}: {place} must be a finite number")
        return float(value)
    if is_array(hint):
        return _array(hint, value, source, place)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return decode(hint, Reader(value, source, place))
    if origin in (dict, Mapping):
        kind = inner[1] if inner else Any
        return {key: _decoded(kind, each, source, Reader({}, source, place).path(key)) for key, each in value.items()}
    if origin in (list, Sequence):
        return [_decoded(inner[0] if inner else Any, each, source, f"{place}[{i}]") for i, each in enumerate(value)]
    if origin is tuple:
        kinds = _kinds_of_tuple(inner, len(value))
        if len(kinds) != len(value):
            raise InputError(f"{source}: {place} must have {len(kinds)} items, not {len(value)}")
        pairs = enumerate(zip(kinds, value, strict=True))
        return tuple(_decoded(kind, each, source, f"{place}[{i}]") for i, (kind, each) in pairs)
    return value


def _kinds_of_tuple(inner: tuple[Any, ...], length: int) -> list[Any]:
    if len(inner) == 2 and inner[1] is Ellipsis:
        return [inner[0]] * length
    return list(inner) if inner else [Any] * length


def _array(hint: Any, value: list[Any], source: str, place: str) -> Any:
    """A NumPy array of any number of dimensions; the class checks its shape."""
    inner = get_args(hint)
    kind = get_args(inner[1])[0] if len(inner) > 1 and get_args(inner[1]) else np.float64
    integers = isinstance(kind, type) and issubclass(kind, np.integer)
    numbers = (lambda each: type(each) is int) if integers else _is_number
    if not _holds(value, numbers):
        raise InputError(f"{source}: {place} must hold {'whole numbers' if integers else 'numbers or nulls'}")
    try:
        found = np.array(_without_nulls(value), np.int64 if integers else np.float64)
    except (ValueError, OverflowError):
        raise InputError(f"{source}: {place} must be lists of one length, of numbers of at most 64 bits") from None
    if not integers and np.isinf(found).any():
        raise InputError(f"{source}: {place} must hold finite numbers")
    return found


def _is_number(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _holds(value: Any, numbers: Any, depth: int = 0) -> bool:
    if isinstance(value, list):
        return depth < DEEPEST and all(_holds(each, numbers, depth + 1) for each in value)
    return bool(numbers(value))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(each) for each in value]
    return math.nan if value is None else value

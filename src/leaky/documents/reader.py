"""Checked access to the fields of a JSON object that was read from a file; errors name the field's path."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from leaky.documents.strict import Json
from leaky.errors import InputError
from leaky.text import named

T = TypeVar("T")

DEEPEST = 20
"""Lists and objects inside each other in a value of free form."""
SHOWN = 60
"""Characters of a wrong value that its error shows."""
LARGEST_NUMBER = 2**64 - 1
"""Of whole numbers, on either side of 0; seeds go so far."""


class Reader:
    """A JSON object with its path in the file, which error messages name."""

    def __init__(self, data: Any, source: str, place: str = "") -> None:
        if not isinstance(data, dict):
            raise InputError(f"{source}: {place or 'the file'} must be an object, not {came(data)}")
        self.data: Json = data
        self.source = source
        self.place = place

    def wrong(self, key: str, needed: str) -> InputError:
        """The error that says what `key` must be and what it is."""
        shown = came(self.data[key]) if key in self.data else "missing"
        return InputError(f"{self.source}: {self.path(key)} must be {needed}, not {shown}")

    def get(self, key: str, kind: type[T], *default: T | None) -> Any:
        """The value of `key`, of exactly this JSON type; the default, if there is one, where it is null or missing."""
        value = self.data.get(key)
        if value is None and default:
            return default[0]
        if type(value) is not kind:
            raise self.wrong(key, f"{_NAMES[kind]}{' or null' if default else ''}")
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            raise self.wrong(key, "a whole number of at most 64 bits")
        return value

    def count(self, key: str, least: int = 0) -> int:
        """A whole number that is at least `least`."""
        value: int = self.get(key, int)
        if value < least:
            raise self.wrong(key, f"{least} or more")
        return value

    def one_of(self, key: str, choices: Sequence[str]) -> str:
        value: str = self.get(key, str)
        if value not in choices:
            raise self.wrong(key, f"one of {', '.join(map(repr, choices))}")
        return value

    def number(self, key: str) -> float:
        """A number; NaN for null."""
        value = self.data.get(key, "")
        if value is None:
            return math.nan
        if type(value) not in (int, float):
            raise self.wrong(key, "a number or null")
        return float(self._array(key, [value], np.float64)[0])

    def list_of(self, key: str, kind: type[T]) -> list[T]:
        values: list[T] = self.get(key, list)
        if any(type(value) is not kind for value in values):
            raise self.wrong(key, f"a list, each item {_NAMES[kind]}")
        if kind is int and any(abs(value) > LARGEST_NUMBER for value in values):  # type: ignore[arg-type]
            raise self.wrong(key, "a list of whole numbers of at most 64 bits")
        return values

    def words(self, key: str) -> dict[str, str]:
        """An object whose values are strings."""
        found: dict[str, str] = self.get(key, dict)
        if any(type(value) is not str for value in found.values()):
            raise self.wrong(key, "an object, each value a string")
        return found

    def free(self, key: str) -> Json:
        """An object of free form: finite numbers, strings, true, false, null, lists and objects."""
        found: Json = self.get(key, dict)
        if not is_plain(found):
            raise self.wrong(key, f"an object of finite numbers and words, nested at most {DEEPEST} deep")
        return found

    def inside(self, key: str) -> Reader:
        """A reader for the object that is the value of `key`."""
        return Reader(self.get(key, dict), self.source, self.path(key))

    def items(self, key: str) -> list[Reader]:
        """The objects of the list under `key`."""
        return [Reader(item, self.source, f"{self.path(key)}[{i}]") for i, item in enumerate(self.get(key, list))]

    def integers(self, key: str, units: int, least: int = 0) -> NDArray[np.int64]:
        """A whole number of at least `least` for each unit."""
        found = self._array(key, self._sized(key, units, (int,)), np.int64)
        if (found < least).any():
            raise self.wrong(key, f"a list of numbers of {least} or more")
        return found

    def floats(self, key: str, units: int, null: float = math.nan, least: float = -math.inf) -> NDArray[np.float64]:
        """A float64 of at least `least` for each unit, `null` where the file has null."""
        found = self._array(key, self._sized(key, units, (int, float, type(None))), np.float64, null)
        if (found < least).any():
            raise self.wrong(key, f"a list of numbers of {least:g} or more")
        return found

    def path(self, key: str) -> str:
        """The place of `key` in the file."""
        shown = key if key.isidentifier() and len(key) < SHOWN else named(key)
        return f"{self.place}.{shown}" if self.place else shown

    def _sized(self, key: str, units: int, kinds: tuple[type, ...]) -> list[Any]:
        values: list[Any] = self.get(key, list)
        if len(values) != units:
            raise InputError(
                f"{self.source}: {self.path(key)} must have one number for each of {units} units, not {len(values)}"
            )
        for value in values:
            if type(value) not in kinds:
                wanted = "whole numbers" if float not in kinds else "numbers or nulls"
                raise InputError(f"{self.source}: {self.path(key)} must hold {wanted}, not {came(value)}")
        return values

    def _array(self, key: str, values: list[Any], kind: type[Any], null: float = 0.0) -> NDArray[Any]:
        try:
            array = np.array([null if value is None else value for value in values], kind)
        except OverflowError:
            raise self.wrong(key, "numbers of at most 64 bits") from None
        given = np.array([value is not None for value in values], bool)
        if not np.isfinite(array[given]).all():
            raise self.wrong(key, "finite numbers")
        return array


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a free-form value is valid JSON: finite numbers, strings, lists and objects, up to a depth."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= LARGEST_NUMBER
    if isinstance(value, list | dict):
        inner = value.values() if isinstance(value, dict) else value
        return depth < DEEPEST and all(is_plain(each, depth + 1) for each in inner)
    return value is None or isinstance(value, str)


def came(value: Any) -> str:
    """A rejected JSON value for an error message, shortened and in ASCII."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**SHOWN:
        return "a whole number of more than 60 digits"
    if isinstance(value, list | dict) and (len(value) > SHOWN or not is_plain(value)):
        return f"{_NAMES[type(value)]} of {len(value):,} items"
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 4]} …"


_NAMES: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}

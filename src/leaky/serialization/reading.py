"""JSON-safe data back as a Record. It comes from outside: every field is checked, and an error names its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from leaky.errors import InputError
from leaky.record import (
    REGIONS,
    FloatArray,
    GradientStatistics,
    IntArray,
    NotExamined,
    Producer,
    Record,
    Site,
    UnitStatistics,
)
from leaky.serialization.ends import ends_from_dict
from leaky.serialization.fields import GRADIENTS, OUTPUTS, Json

T = TypeVar("T")


def record_from_dict(data: Json, source: str = "the record") -> Record:
    """The record that `record_to_dict` wrote, number for number; a null comes back as NaN, in a bound as ±inf.

    Raises:
        InputError: if a field is missing or is not what it must be; the message names it.
    """
    at = Reader(data, source)
    sites = at.items("sites")
    names = [site.get("name", str) for site in sites]
    if len(set(names)) < len(names):
        raise InputError(f"{source}: no two sites may have the same name")
    return Record(
        model=at.get("model", str),
        data=at.get("data", str),
        mode=at.one_of("mode", ("eval", "train")),
        samples=at.get("samples", int),
        batches=at.get("batches", int),
        sites=tuple(_site_from(site) for site in sites),
        not_examined=tuple(NotExamined(e.get("name", str), e.get("reason", str)) for e in at.items("not_examined")),
        on_noise=at.get("on_noise", bool),
        seed=at.get("seed", int, None),
        notes=tuple(at.list_of("notes", str)),
        versions={str(k): str(v) for k, v in at.get("versions", dict).items()},
        **ends_from_dict(at),
    )


def _site_from(at: Reader) -> Site:
    units = at.get("units", int)
    if units < 0:
        raise at.wrong("units", "0 or more")
    # The lists are held against the number of units before anything of that size is made.
    statistics = _statistics_from(at.inside("statistics"), units, at.get("samples", int))
    one_slope = not isinstance(at.data.get("negative_slope"), list)
    return Site(
        name=at.get("name", str),
        activation=at.get("activation", str),
        negative_slope=np.full(units, at.number("negative_slope")) if one_slope else at.floats("negative_slope", units),
        statistics=statistics,
        threshold=at.number("threshold"),
        value=at.number("value"),
        gain=at.number("gain"),
        floor=at.floats("floor", units, null=-np.inf) if at.get("floor", list, None) is not None else None,
        cap=at.floats("cap", units, null=np.inf) if at.get("cap", list, None) is not None else None,
        smooth=at.get("smooth", bool),
        calls=at.get("calls", int),
        is_output=at.get("is_output", bool),
        bypassed=at.get("bypassed", bool, None),
        unit_dim=at.get("unit_dim", int, None),
        sample_dim=at.get("sample_dim", int, None),
        shape=tuple(at.list_of("shape", int)),
        source=at.get("source", str, None),
        producers=tuple(_producer_from(producer) for producer in at.items("producers")),
    )


def _producer_from(at: Reader) -> Producer:
    return Producer(
        name=at.get("name", str),
        kind=at.get("kind", str),
        fan_in=at.number("fan_in"),
        fan_out=at.number("fan_out"),
        weight_rms=at.number("weight_rms"),
        groups=at.get("groups", int),
    )


def _statistics_from(at: Reader, units: int, samples: int) -> UnitStatistics:
    outputs = {name: at.floats(key, units) if key in at.data else None for key, name in OUTPUTS}
    gradient = None
    if "gradient_samples" in at.data:
        sums = {name: at.regional(prefix, units) for prefix, name in GRADIENTS}
        gradient = GradientStatistics(samples=at.get("gradient_samples", int), **sums)
    return UnitStatistics(
        samples=samples,
        fired=at.integers("fired", units),
        counts=at.regional("count", units, np.int64),
        sums=at.regional("sum", units),
        squares=at.regional("sum_of_squares", units),
        minimum=at.floats("minimum", units, null=np.inf),
        maximum=at.floats("maximum", units, null=-np.inf),
        nonfinite=at.integers("nonfinite", units),
        last_fired=at.integers("last_fired", units),
        gradient=gradient,
        **outputs,
    )


class Reader:
    """A JSON object from outside, with its place in the file, so that every complaint says where and what."""

    def __init__(self, data: Any, source: str, place: str = "") -> None:
        if not isinstance(data, dict):
            raise InputError(f"{source}: {place or 'the file'} must be an object, not {_came(data)}")
        self.data: Json = data
        self.source = source
        self.place = place

    def wrong(self, key: str, needed: str) -> InputError:
        """The error that says what `key` must be and what it is."""
        came = _came(self.data[key]) if key in self.data else "missing"
        return InputError(f"{self.source}: {self._path(key)} must be {needed}, not {came}")

    def get(self, key: str, kind: type[T], *default: T | None) -> Any:
        """The value of `key`, of exactly this JSON type; with a default, null and absence stand for the default."""
        value = self.data.get(key)
        if value is None and default:
            return default[0]
        if type(value) is not kind:
            raise self.wrong(key, f"{_NAMES[kind]}{' or null' if default else ''}")
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
            return float("nan")
        if type(value) not in (int, float):
            raise self.wrong(key, "a number or null")
        return float(_checked(self, key, [value], np.float64)[0])

    def list_of(self, key: str, kind: type[T]) -> list[T]:
        values: list[T] = self.get(key, list)
        if any(type(value) is not kind for value in values):
            raise self.wrong(key, f"a list, each item {_NAMES[kind]}")
        return values

    def inside(self, key: str) -> Reader:
        """The object under `key`."""
        return Reader(self.get(key, dict), self.source, self._path(key))

    def items(self, key: str) -> list[Reader]:
        """The objects of the list under `key`."""
        return [Reader(item, self.source, f"{self._path(key)}[{i}]") for i, item in enumerate(self.get(key, list))]

    def integers(self, key: str, units: int) -> IntArray:
        return _checked(self, key, self._sized(key, units, (int,)), np.int64)

    def floats(self, key: str, units: int, null: float = float("nan")) -> FloatArray:
        """A float64 for each unit, `null` where the file has null."""
        return _checked(self, key, self._sized(key, units, (int, float, type(None))), np.float64, null)

    def regional(self, prefix: str, units: int, kind: type[np.generic] = np.float64) -> NDArray[Any]:
        """The (4, units) array whose rows stand under one key a region; a region that is left out saw nothing."""
        rows = np.zeros((len(REGIONS), units), kind)
        for row, region in zip(rows, REGIONS, strict=True):
            key = f"{prefix}_{region}"
            if key in self.data or not region.startswith("beyond"):
                row[:] = self.integers(key, units) if kind is np.int64 else self.floats(key, units)
        return rows

    def _sized(self, key: str, units: int, kinds: tuple[type, ...]) -> list[Any]:
        values: list[Any] = self.get(key, list)
        if len(values) != units:
            raise InputError(
                f"{self.source}: {self._path(key)} must have one number for each of {units} units, not {len(values)}"
            )
        for value in values:
            if type(value) not in kinds:
                wanted = "whole numbers" if float not in kinds else "numbers or nulls"
                raise InputError(f"{self.source}: {self._path(key)} must hold {wanted}, not {_came(value)}")
        return values

    def _path(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key


def _checked(at: Reader, key: str, values: list[Any], kind: type[Any], null: float = 0.0) -> NDArray[Any]:
    try:
        array = np.array([null if value is None else value for value in values], kind)
    except OverflowError:
        raise at.wrong(key, "numbers of at most 64 bits") from None
    given = np.array([value is not None for value in values], bool)
    if not np.isfinite(array[given]).all():
        raise at.wrong(key, "finite numbers")
    return array


_NAMES: dict[type, str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def _came(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} …"

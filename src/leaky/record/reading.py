"""JSON-safe data back as a Record. It comes from outside: every field is checked, and an error names its place."""

from __future__ import annotations

import math

import numpy as np

from leaky.documents import Json, Reader
from leaky.errors import InputError
from leaky.record.directions import MOST_COORDINATES, Directions
from leaky.record.ends_document import ends_from_dict
from leaky.record.fields import GRADIENTS, OUTPUTS
from leaky.record.observation import NotExamined, Record
from leaky.record.site import Producer, Site
from leaky.record.statistics import REGIONS, FloatArray, GradientStatistics, IntArray, UnitStatistics


def record_from_dict(data: Json, source: str = "the record") -> Record:
    """The record that `record_to_dict` wrote, number for number; a null comes back as NaN, in a bound as ±inf.

    Raises:
        InputError: if a field is missing or is not what it must be; the message names it.
    """
    return record_from(Reader(data, source))


def record_from(at: Reader) -> Record:
    """As `record_from_dict`, from anywhere in a document."""
    sites = at.items("sites")
    names = [site.get("name", str) for site in sites]
    if len(set(names)) < len(names):
        raise InputError(f"{at.source}: no two sites may have the same name")
    return Record(
        model=at.get("model", str),
        data=at.get("data", str),
        mode=at.one_of("mode", ("eval", "train")),
        samples=at.count("samples"),
        batches=at.count("batches"),
        sites=tuple(_site_from(site) for site in sites),
        not_examined=tuple(NotExamined(e.get("name", str), e.get("reason", str)) for e in at.items("not_examined")),
        on_noise=at.get("on_noise", bool),
        seed=at.get("seed", int, None),
        notes=tuple(at.list_of("notes", str)),
        versions=at.words("versions"),
        **ends_from_dict(at),
    )


def _site_from(at: Reader) -> Site:
    units = at.count("units")
    # The lists are held against the number of units before anything of that size is made.
    statistics = _statistics_from(at.inside("statistics"), units, at.count("samples"))
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
        calls=at.count("calls"),
        is_output=at.get("is_output", bool),
        bypassed=at.get("bypassed", bool, None),
        unit_dim=at.get("unit_dim", int, None),
        sample_dim=at.get("sample_dim", int, None),
        shape=tuple(at.list_of("shape", int)),
        source=at.get("source", str, None),
        producers=tuple(_producer_from(producer) for producer in at.items("producers")),
        directions=_directions_from(at.inside("directions")) if "directions" in at.data else None,
    )


def _directions_from(at: Reader) -> Directions:
    length = len(at.get("sums", list))
    if length > MOST_COORDINATES:
        raise at.wrong("sums", f"a list of at most {MOST_COORDINATES} numbers")
    return Directions(at.count("samples"), at.floats("sums", length))


def _producer_from(at: Reader) -> Producer:
    return Producer(
        name=at.get("name", str),
        kind=at.get("kind", str),
        fan_in=at.number("fan_in"),
        fan_out=at.number("fan_out"),
        weight_rms=at.number("weight_rms"),
        groups=at.count("groups", 1),
    )


def _statistics_from(at: Reader, units: int, samples: int) -> UnitStatistics:
    outputs = {name: at.floats(key, units) if key in at.data else None for key, name in OUTPUTS}
    gradient = None
    if "gradient_samples" in at.data:
        sums = {name: _regional(at, prefix, units, least=0.0) for prefix, name in GRADIENTS}
        ill = at.count("gradient_nonfinite") if "gradient_nonfinite" in at.data else 0
        gradient = GradientStatistics(samples=at.count("gradient_samples"), nonfinite=ill, **sums)
    fired = at.integers("fired", units)
    if (fired > samples).any():
        raise at.wrong("fired", f"a list of numbers of at most {samples}, the samples of the site")
    return UnitStatistics(
        samples=samples,
        fired=fired,
        counts=_regional_counts(at, units),
        sums=_regional(at, "sum", units),
        squares=_regional(at, "sum_of_squares", units, least=0.0),
        minimum=at.floats("minimum", units, null=np.inf),
        maximum=at.floats("maximum", units, null=-np.inf),
        nonfinite=at.integers("nonfinite", units),
        last_fired=at.integers("last_fired", units, least=-1),
        seen=at.integers("seen", units) if "seen" in at.data else None,
        gradient=gradient,
        **outputs,
    )


def _regional(at: Reader, prefix: str, units: int, least: float = -math.inf) -> FloatArray:
    """The (4, units) array whose rows stand under one key a region; a region that is left out saw nothing."""
    rows = np.zeros((len(REGIONS), units))
    for row, region in zip(rows, REGIONS, strict=True):
        key = f"{prefix}_{region}"
        if _written(at, key, region):
            row[:] = at.floats(key, units, least=least)
    return rows


def _regional_counts(at: Reader, units: int) -> IntArray:
    rows = np.zeros((len(REGIONS), units), np.int64)
    for row, region in zip(rows, REGIONS, strict=True):
        if _written(at, f"count_{region}", region):
            row[:] = at.integers(f"count_{region}", units)
    return rows


def _written(at: Reader, key: str, region: str) -> bool:
    return key in at.data or not region.startswith("beyond")

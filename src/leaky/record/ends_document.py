"""The two ends of a network as JSON has them. Every one of these fields may be absent: older files have none."""

from __future__ import annotations

from typing import Any

import numpy as np

from leaky.documents import Json, Reader
from leaky.record.derivatives import Derivatives
from leaky.record.ends import FeatureStatistics, LossTerm, ParameterGradients, TensorStatistics
from leaky.record.layers import Choice, Normalisation, SharedLayer
from leaky.record.observation import Record

_FEATURES = ("entries", "sums", "squares", "minimum", "maximum")
_NUMBERS = ("total", "squares", "minimum", "maximum")


def ends_to_dict(record: Record) -> Json:
    """The fields of the record that are about its two ends, with those that are empty left out."""
    gradients = record.gradients
    fields: Json = {
        "inputs": [_tensor(tensor) for tensor in record.inputs],
        "outputs": [_tensor(tensor) for tensor in record.outputs],
        "terms": [_term(term) for term in record.terms],
        "gradients": gradients
        and {
            "parameters": gradients.parameters,
            "unreached": list(gradients.unreached),
            "zero": list(gradients.zero),
        },
        "normalisations": [vars(item) for item in record.normalisations],
        "shared_layers": [vars(item) for item in record.shared_layers],
        "unregistered": list(record.unregistered),
        "choices": [vars(item) for item in record.choices],
        "derivatives": record.derivatives and vars(record.derivatives),
    }
    return {name: value for name, value in fields.items() if value}


def ends_from_dict(at: Reader) -> dict[str, Any]:
    """The arguments of `Record` that `ends_to_dict` wrote.

    Raises:
        InputError: if a field is not what it must be; the message names it.
    """

    def items(key: str) -> list[Reader]:
        return at.items(key) if at.get(key, list, None) is not None else []

    gradients = at.inside("gradients") if at.get("gradients", dict, None) is not None else None
    return {
        "inputs": tuple(map(_tensor_from, items("inputs"))),
        "outputs": tuple(map(_tensor_from, items("outputs"))),
        "terms": tuple(map(_term_from, items("terms"))),
        "gradients": None
        if gradients is None
        else ParameterGradients(
            gradients.count("parameters"),
            tuple(gradients.list_of("unreached", str)),
            tuple(gradients.list_of("zero", str)),
        ),
        "normalisations": tuple(map(_normalisation_from, items("normalisations"))),
        "shared_layers": tuple(SharedLayer(e.get("name", str), e.count("calls")) for e in items("shared_layers")),
        "unregistered": tuple(at.list_of("unregistered", str)) if "unregistered" in at.data else (),
        "choices": tuple(
            Choice(e.get("name", str), e.get("kind", str), *map(e.count, ("entries", "low", "high")))
            for e in items("choices")
        ),
        "derivatives": _derivatives_from(at.inside("derivatives"))
        if at.get("derivatives", dict, None) is not None
        else None,
    }


def _derivatives_from(at: Reader) -> Derivatives:
    return Derivatives(at.count("order", 1), at.get("zero", bool))


def _number(value: float) -> float | None:
    """None for what JSON cannot say: the range of nothing, sums that overflowed."""
    return float(value) if np.isfinite(value) else None


def _tensor(tensor: TensorStatistics) -> Json:
    features = tensor.features
    return {
        **{name: value for name, value in vars(tensor).items() if name != "features"},
        "shape": list(tensor.shape),
        **{name: _number(getattr(tensor, name)) for name in _NUMBERS},
        "features": features and {name: [_number(value) for value in getattr(features, name)] for name in _FEATURES},
    }


def _tensor_from(at: Reader) -> TensorStatistics:
    features = at.inside("features") if at.get("features", dict, None) is not None else None
    return TensorStatistics(
        name=at.get("name", str),
        dtype=at.get("dtype", str),
        shape=tuple(at.list_of("shape", int)),
        samples=at.count("samples"),
        entries=at.count("entries"),
        nonfinite=at.count("nonfinite"),
        whole=at.get("whole", bool),
        total=at.number("total"),
        squares=at.number("squares"),
        minimum=_or(at.number("minimum"), np.inf),
        maximum=_or(at.number("maximum"), -np.inf),
        alike=at.get("alike", bool),
        first=at.get("first", str),
        features=None if features is None else _features_from(features),
        made_by=at.get("made_by", str, None),
        made_over=at.get("made_over", int, None),
        **{name: at.number(name) for name in ("lowest", "highest") if at.data.get(name) is not None},
        alike_by_batch=at.get("alike_by_batch", bool, None),
    )


def _features_from(at: Reader) -> FeatureStatistics:
    size = len(at.get("sums", list))
    nulls = {"minimum": np.inf, "maximum": -np.inf}
    return FeatureStatistics(**{name: at.floats(name, size, nulls.get(name, np.nan)) for name in _FEATURES})


def _term(term: LossTerm) -> Json:
    return {
        "operation": term.operation,
        "output": term.output,
        "path": list(term.path),
        "given": _tensor(term.given),
        "target": _tensor(term.target),
        "residual_squares": None if term.residual_squares is None else _number(term.residual_squares),
        "hits": term.hits,
        "compared": term.compared,
        "classes": list(term.classes),
    }


def _term_from(at: Reader) -> LossTerm:
    known = at.data.get("residual_squares") is not None
    return LossTerm(
        operation=at.get("operation", str),
        output=at.get("output", str),
        path=tuple(at.list_of("path", str)),
        given=_tensor_from(at.inside("given")),
        target=_tensor_from(at.inside("target")),
        residual_squares=at.number("residual_squares") if known else None,
        hits=at.get("hits", int, None),
        compared=at.count("compared"),
        classes=tuple(at.list_of("classes", int)),
    )


def _normalisation_from(at: Reader) -> Normalisation:
    measured = {key: at.number(key) for key in ("distance", "spread") if at.data.get(key) is not None}
    return Normalisation(at.get("name", str), at.get("batches", int, None), at.get("untouched", bool), **measured)


def _or(value: float, null: float) -> float:
    return null if np.isnan(value) else value

"""The JSON Schema of each kind of document: generated from its data classes, or kept by hand where a format is its own.

`python -m leaky.documents` writes the generated ones to the folder `schemas`, which ships with the package; a
test holds that they are up to date.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np

from leaky.documents.kinds import KINDS, document
from leaky.documents.plain import hints_of, is_array, options
from leaky.documents.strict import Json, dumps
from leaky.errors import InputError

FOLDER = Path(__file__).parent / "schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"


def schema(kind: str = "checkup") -> Json:
    """The JSON Schema (draft 2020-12) of a kind of document.

    Raises:
        InputError: if there is no such kind.
    """
    if kind not in KINDS:
        raise InputError(f"a kind of document must be one of {', '.join(KINDS)}, not {kind!r}")
    if kind == "record":  # a part of a checkup
        whole = schema("checkup")
        return {"$schema": DRAFT, **whole["$defs"]["record"], "$defs": whole["$defs"]}
    found: Json = json.loads((FOLDER / f"{kind}.schema.json").read_text("utf-8"))
    return found


def generated(kind: str) -> Json | None:
    """The schema that follows from the data class of a kind; None where its schema is kept by hand."""
    cls = KINDS[kind].codec.SCHEMA
    if cls is None:
        return None
    definitions: Json = {}
    body = _object(cls, definitions)
    head = {name: {"const": value} for name, value in document(kind, {}).items()}
    head["kind"]["description"] = "What this is."
    head["schema_version"]["description"] = "Of this format. A reader refuses a newer one than it knows."
    return {
        "$schema": DRAFT,
        "title": f"leaky: {KINDS[kind].words}",
        **body,
        "properties": head | body["properties"],
        "required": [*head, *body["required"]],
        "$defs": definitions,
    }


def _object(cls: type[Any], definitions: Json) -> Json:
    summary, descriptions = described(cls)
    hints, properties, required = hints_of(cls), {}, []
    for field in dataclasses.fields(cls):
        words = descriptions.get(field.name)
        properties[field.name] = _rules(hints[field.name], definitions) | ({"description": words} if words else {})
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    return {"description": summary, "type": "object", "properties": properties, "required": required}


def _rules(hint: Any, definitions: Json) -> Json:
    choices = options(hint)
    if len(choices) > 1:
        return {"anyOf": [_rules(each, definitions) for each in choices]}
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        return {"enum": list(inner)}
    if is_array(hint):
        kind = get_args(inner[1])[0] if len(inner) > 1 and get_args(inner[1]) else np.float64
        whole = isinstance(kind, type) and issubclass(kind, np.integer)
        return {"type": "array", "description": "Lists of whole numbers." if whole else "Lists of numbers or nulls."}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}  # its place, where it holds itself
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    if origin in (dict, Mapping):
        return {"type": "object"} | ({"additionalProperties": _rules(inner[1], definitions)} if inner else {})
    if origin is tuple and inner and inner[-1] is not Ellipsis:
        items = [_rules(each, definitions) for each in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin in (tuple, list, Sequence):
        return {"type": "array"} | ({"items": _rules(inner[0], definitions)} if inner else {})
    return dict(_SIMPLE.get(hint, {}))


_SIMPLE: dict[Any, Json] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": ["number", "null"]},
    str: {"type": "string"},
    types.NoneType: {"type": "null"},
}


def described(cls: type[Any]) -> tuple[str, dict[str, str]]:
    """The first sentence of a class's docstring, and its words on each attribute."""
    text = inspect.getdoc(cls) or ""
    summary, _, rest = text.partition("\n\n")
    _, _, attributes = rest.partition("Attributes:\n")
    found: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \S)", attributes.split("\n\n")[0]):
        names, _, words = entry.strip().partition(":")
        for name in names.split(","):
            found[name.strip()] = " ".join(words.split())
    return " ".join(summary.split()), found


def write_schemas() -> None:
    """Write the generated schemas to their folder."""
    for kind in KINDS:
        found = generated(kind)
        if found is not None:
            (FOLDER / f"{kind}.schema.json").write_text(dumps(found), "utf-8")

"""Strict JSON text and files: the only door in and out. Pickles are never read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from leaky.errors import InputError
from leaky.record import SCHEMA_VERSION
from leaky.serialization.fields import Json


def schema() -> Json:
    """The JSON Schema (draft 2020-12) of the files that leaky writes."""
    parsed: Json = json.loads((Path(__file__).parents[1] / "record.schema.json").read_text("utf-8"))
    return parsed


def dumps(data: Json) -> str:
    """`data` as strict JSON text that ends in a line break; a non-finite number in it is a ValueError."""
    return json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def loads(text: str | bytes, source: str) -> Json:
    """The JSON object in `text`.

    Args:
        text: what was read.
        source: its name, for the messages.

    Raises:
        InputError: if it is no strict JSON object, or of a newer schema version than this leaky knows.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(f"{source} must be JSON that leaky wrote: {reason}") from error
    if not isinstance(data, dict) or type(data.get("schema_version")) is not int:
        raise InputError(f"{source} must be a JSON object with a schema_version, as leaky writes it")
    version = data["schema_version"]
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{source} has schema_version {version}, and this leaky reads up to {SCHEMA_VERSION}: "
            "install a newer leaky (pip install --upgrade leaky)"
        )
    if version < 1:
        raise InputError(f"{source} must have a schema_version of 1 or more, not {version}")
    return data


def read(path: str | os.PathLike[str]) -> Json:
    """The JSON object in a file.

    Raises:
        InputError: if the file cannot be read, or as `loads`.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{os.fspath(path)!r} must be a readable file: {error.strerror or error}") from error
    return loads(content, repr(os.fspath(path)))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")

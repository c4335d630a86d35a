"""The only functions that read or write JSON text: strict, and never a pickle.

What is written must be readable by any JSON reader and hold every number exactly. What is read comes from anybody:
whatever is wrong with it is one `InputError` that names the file, and its cost is linear in its size, which is bounded.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from leaky.errors import InputError
from leaky.text import named, printable

Json = dict[str, Any]

LARGEST = 2**29
"""Bytes of a document: a checkup of a million units has about 250 MB."""

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def dumps(data: Json) -> str:
    """`data` as strict JSON text that ends in a line break and that UTF-8 can encode.

    Half a surrogate pair, which a name may hold, is escaped. A non-finite number is a ValueError.
    """
    text = json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1) + "\n"
    return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def loads(text: str | bytes, source: str) -> Json:
    """The JSON object in `text`.

    Args:
        text: what was read.
        source: its name, for the messages.

    Raises:
        InputError: if it is no strict JSON object: NaN and Infinity, a key that stands twice in an object and nesting
            beyond any document's are refused.
    """
    try:
        data = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))
        raise InputError(f"{source} must be JSON that leaky wrote: {reason}") from None
    if not isinstance(data, dict):
        raise InputError(f"{source} must be a JSON object with a schema_version, as leaky writes it")
    return data


def read(path: str | os.PathLike[str]) -> Json:
    """The JSON object in a file.

    Raises:
        InputError: if the file cannot be read or has more than `LARGEST` bytes, or as `loads`.
    """
    name = named(os.fspath(path))
    try:
        with Path(path).open("rb") as stream:
            # A pipe has no size; of a file, the size is told before anything is read.
            size = os.fstat(stream.fileno())
            too_large = stat.S_ISREG(size.st_mode) and size.st_size > LARGEST
            content = b"" if too_large else stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:  # a null character in the name is a ValueError
        raise InputError(f"{name} must be a readable file: {getattr(error, 'strerror', None) or error}") from error
    if too_large or len(content) > LARGEST:
        raise InputError(f"{name} must have at most {LARGEST:,} bytes, as a document of leaky's has")
    return loads(content, name)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {named(twice)} stands twice in an object")
    return found

"""The one format of everything that leaky saves: strict JSON, `{"kind": …, "schema_version": …, …}`.

What is written must be readable by any JSON reader (no NaN, no Infinity: such numbers are null), must hold every other
number exactly (Python's shortest repr of a float64) and must be described, field by field, by the JSON Schema of its
kind. What is read comes from anybody and is checked field by field: an `InputError` names file and place, and nothing
else is ever raised. Stands on the ground floor: the rooms above register their kinds in `kinds`.
"""

from leaky.documents.kinds import KINDS, Kind, as_data, document, from_data, load, load_as, opened, save, text, write
from leaky.documents.reader import Reader, came
from leaky.documents.schema_generation import schema
from leaky.documents.strict import Json, dumps, loads, read

__all__ = [
    "KINDS",
    "Json",
    "Kind",
    "Reader",
    "as_data",
    "came",
    "document",
    "dumps",
    "from_data",
    "load",
    "load_as",
    "loads",
    "opened",
    "read",
    "save",
    "schema",
    "text",
    "write",
]

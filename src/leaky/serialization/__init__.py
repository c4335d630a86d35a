"""Records as strict JSON, and back.

What is written must be readable by any JSON reader (no NaN, no Infinity: such numbers are null, with their count
beside in `nulls`), must hold every other number exactly (Python's shortest repr of a float64), and must be described,
field by field, by the JSON Schema that is shipped as `record.schema.json`. Nothing here imports torch.
"""

from leaky.serialization.fields import Json
from leaky.serialization.files import dumps, loads, read, schema
from leaky.serialization.reading import Reader, record_from_dict
from leaky.serialization.writing import record_to_dict

__all__ = ["Json", "Reader", "dumps", "loads", "read", "record_from_dict", "record_to_dict", "schema"]

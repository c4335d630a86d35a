"""`python -m leaky.documents`: write the generated schemas."""

from leaky.documents.schema_generation import write_schemas

write_schemas()

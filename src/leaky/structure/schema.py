"""What the schema of one of torch's operators says: its name in the table of operators, the names of its arguments."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def argument_names(function: Any) -> tuple[str, ...]:
    """The names of an operator's arguments, in order."""
    return tuple(argument.name for argument in function._schema.arguments)


@cache
def name_of(function: Any) -> str:
    """The name without the underscore of an in-place variant; outside aten with its namespace, since it is another."""
    whole = str(function._schema.name)
    namespace, _, name = whole.partition("::")
    if namespace != "aten":
        return whole
    return name[:-1] if name.endswith("_") and not name.endswith("__") else name


@cache
def only_compares(function: Any) -> bool:
    """Whether all that an operator gives is a truth value, as `equal` does."""
    return [str(result.type) for result in function._schema.returns] == ["bool"]

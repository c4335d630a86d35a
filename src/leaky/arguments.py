"""Functions whose arguments are a data class: their names, types, defaults and meaning stand once, in the class.

The class can be passed on as one thing, and another may inherit from it where a function takes more.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from leaky.errors import InputError
from leaky.text import did_you_mean, named

P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")


def takes(
    arguments: Callable[P, A], explain: Callable[[str, Any], str | None] = lambda name, value: None
) -> Callable[[Callable[[A], R]], Callable[P, R]]:
    """Let a function of one object be called with what its class is made of: `check(model, data, mode="train")`.

    Type checkers, editors and `help` show the class's signature, and the function's docstring gets the class's words on
    every argument.

    Args:
        arguments: a data class that has its fields explained under "Attributes:".
        explain: of a name that is no argument and its value, what the caller should write; None where that is unknown.
    """

    def decorated(function: Callable[[A], R]) -> Callable[P, R]:
        signature = inspect.signature(arguments)
        signature = signature.replace(return_annotation=inspect.signature(function).return_annotation)

        @functools.wraps(function)
        def called(*args: P.args, **given: P.kwargs) -> R:
            for name, value in given.items():
                if name not in signature.parameters:
                    told = explain(name, value)
                    raise InputError(
                        f"{function.__name__} has no option {named(name)}{did_you_mean(name, signature.parameters)}"
                        if told is None
                        else told
                    )
            try:
                signature.bind(*args, **given)
            except TypeError as error:
                raise TypeError(f"{function.__name__}(): {error}") from None
            return function(arguments(*args, **given))

        called.__signature__ = signature  # type: ignore[attr-defined]
        called.__doc__ = _with_arguments(inspect.getdoc(function) or "", arguments, signature)
        return called

    return decorated


def _with_arguments(words: str, arguments: Any, signature: inspect.Signature) -> str:
    """A docstring with "Args:", in the order of the signature, between what is done and what is returned."""
    meant: dict[str, str] = {}
    for each in inspect.getmro(arguments):  # what a class says itself comes before what it has from others
        _, _, section = (inspect.getdoc(each) or "").partition("Attributes:\n")
        for name, said in re.findall(r"^    (\w+): (.*(?:\n     .*)*)", section, flags=re.MULTILINE):
            meant[name] = f"{meant[name]}\n        {said[0].upper()}{said[1:]}" if name in meant else said
    what, end = re.split(r"\n\n(?=Returns:|Raises:|$)", words + "\n\n", maxsplit=1)
    listed = "\n".join(f"    {name}: {meant[name]}" for name in signature.parameters)
    return f"{what}\n\nArgs:\n{listed}\n\n{end}".rstrip() + "\n"

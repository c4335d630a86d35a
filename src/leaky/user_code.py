"""`package.module:name` and `path/to/file.py:name` → the Python object of that name.

The code found there is the user's and runs as it would under `python`: beside its own folder, or beside the current
one. What it raises is not ours to word; what cannot be found is.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from leaky.errors import InputError
from leaky.signals import tell_what_was_swallowed
from leaky.text import named


def resolve(name: str, role: str) -> Any:
    """The object that `name` names.

    Args:
        name: "package.module:name" or "path/to/file.py:name"; the last part may have dots.
        role: what it is for ("MODEL"), for the messages.

    Raises:
        InputError: if there is no such module, file or name.
    """
    place, colon, attribute = name.rpartition(":")
    if not (place and colon and attribute):
        raise InputError(f"{role} must be package.module:name or path/to/file.py:name, not {name!r}")
    tell_what_was_swallowed()
    try:
        found: Any = _from_file(Path(place), role) if place.endswith(".py") else _from_module(place, role)
    except SystemExit as stop:
        raise InputError(
            f"{role} {place!r} must be importable, and it ended the program on import (status {stop.code}): "
            'put what it runs under if __name__ == "__main__"'
        ) from stop
    except SyntaxError as error:
        raise InputError(_misspelt(error, role, place)) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(f"{role} {place!r} must have {attribute!r}{_instead(part, found)}")
        found = getattr(found, part)
    return found


def call_without_arguments(function: Callable[..., Any], name: str, role: str) -> Any:
    """What the user's `function` returns.

    Raises:
        InputError: if it cannot be called without arguments.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in callables have none
        return function()
    try:
        signature.bind()
    except TypeError as error:
        raise InputError(
            f"{role} {name!r} must be callable without arguments, not with {signature}: "
            "write a function that calls it with yours"
        ) from error
    return function()


def _from_module(place: str, role: str) -> ModuleType:
    if not all(part.isidentifier() for part in place.split(".")):
        raise InputError(f"{role} must be package.module:name or path/to/file.py:name; {named(place)} is no module")
    _look_in(Path.cwd())
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        # Only the module itself is ours to explain; one that it imports in vain is the user's error.
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise InputError(
                f"{role} {place!r} must be a module that can be imported from here; there is none named {error.name!r}"
            ) from error
        raise


def _from_file(path: Path, role: str) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{role} {str(path)!r} must be a Python file; there is none")
    path = path.resolve()
    _look_in(path.parent)
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    if known is not None or not name.isidentifier():
        # A file named like a module that is in use must not take its place.
        name = f"_leaky_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(name, None)
        if isinstance(error, ImportError) and "relative import" in str(error):
            raise InputError(
                f"{role} {str(path)!r} must be importable alone, and it imports from its package: "
                "name it as package.module:name"
            ) from error
        raise
    return module


def _misspelt(error: SyntaxError, role: str, place: str) -> str:
    """Where and what: the file may be another one, which the named one imports."""
    file = Path(error.filename or place)
    shown = file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
    line = f" `{error.text.strip()}`" if error.text and error.text.strip() else ""
    return f"{role} must be valid Python, and {str(shown)!r} is not in line {error.lineno}: {error.msg}{line}"


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _instead(wanted: str, place: Any) -> str:
    names = [name for name in dir(place) if not name.startswith("_")]
    close = difflib.get_close_matches(wanted, names, n=3)
    shown = close or names[:8]
    if not shown:
        return "; it has no public names"
    return f"; {'did you mean' if close else 'it has'} {', '.join(map(repr, shown))}{'?' if close else ''}"

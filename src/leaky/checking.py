"""Checks of arguments that many functions take; each raises an `InputError` that names the argument."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Collection, Iterable, Mapping
from numbers import Real
from typing import Any

from leaky.errors import InputError
from leaky.text import did_you_mean, named, printable, shortened

LARGEST_SEED = 2**63 - 1
"""Every generator takes it."""
LARGEST_DIMENSION = 64
"""Of a tensor, in PyTorch."""
SHOWN = 60
"""Characters of a wrong value that its error shows."""


def whole(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """Check that a value is an integer, of Python or of NumPy, from `least` to `most`, and return it as an int.

    Raises:
        InputError: if it is none; it names the argument.
    """
    wanted = f"at least {least:,}" if most is None else f"from {least:,} to {most:,}"
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None:
        raise InputError(f"{name} must be a whole number {'of ' * (most is None)}{wanted}, not {shown(value)}")
    if found < least or (most is not None and found > most):
        raise InputError(f"{name} must be {wanted}, not {shown(value)}")
    return found


def seed_of(value: Any) -> int | None:
    """Check a random seed: an integer that Python, NumPy and torch all accept, or None."""
    return None if value is None else whole("seed", value, 0, LARGEST_SEED)


def dimension(name: str, value: Any) -> int:
    """Check the number of an axis; negative numbers count from the last axis."""
    return whole(name, value, -LARGEST_DIMENSION, LARGEST_DIMENSION - 1)


def finite(name: str, value: Any, least: float = -math.inf, most: float = math.inf) -> float:
    """Check that a value is a finite number from `least` to `most`, and return it as a float.

    Raises:
        InputError: if it is none; it names the argument.
    """
    try:
        number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    except (OverflowError, ValueError):  # of 400 digits, or no number after all
        number = math.nan
    if not math.isfinite(number) or not least <= number <= most:
        kind = "" if math.isfinite(number) else " a finite number"
        if least > -math.inf and most < math.inf:
            kind += f" from {least:g} to {most:g}"
        elif least > -math.inf:
            kind += f"{' of' * bool(kind)} at least {least:g}"
        elif most < math.inf:
            kind += f"{' of' * bool(kind)} at most {most:g}"
        raise InputError(f"{name} must be{kind}, not {shown(value)}")
    return number


def some_of(name: str, given: Any, known: Collection[str]) -> frozenset[str]:
    """Check that every given name is one of the known names, and return them as a set.

    Raises:
        InputError: if it is a single text, or one of them is not known; it says which is nearest.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"{name} must be a list of names, not {shown(given)}")
    for each in given:
        if each not in known:
            raise InputError(f"{name} has {shown(each)}, which is not there{did_you_mean(str(each), sorted(known))}")
    return frozenset(given)


def unit_numbers(given: Any) -> dict[str, tuple[int, ...]]:
    """Check a mapping from a site's name to indices of its units.

    Raises:
        InputError: if it is no mapping of lists of whole numbers of at least 0.
    """
    if not isinstance(given, Mapping):
        raise InputError(f"units must be numbers by site, {{'relu': [3]}}, not {shown(given)}")
    for name, units in given.items():
        if isinstance(units, str) or not isinstance(units, Iterable):
            raise InputError(f"the units of {shown(name)} must be a list of numbers, not {shown(units)}")
    return {name: tuple(whole(f"a unit of {shown(name)}", unit) for unit in units) for name, units in given.items()}


def file_name(value: Any, what: str = "path") -> str:
    """Check the name of a file and return it as a string.

    Raises:
        InputError: if it is no text and no path.
    """
    if not isinstance(value, str | os.PathLike) or not isinstance(found := os.fspath(value), str):
        raise InputError(f"{what} must be the name of a file, not {shown(value)}")
    return found


def shown(value: Any) -> str:
    """A rejected value for an error message: short, printable, and never raising itself."""
    if isinstance(value, str):
        return named(shortened(value, SHOWN))
    try:
        said = repr(value) if isinstance(value, int | float) else f"a {type(value).__name__}"
    except Exception:  # a number of too many digits, or somebody's own repr
        said = f"a {type(value).__name__} that cannot be shown"
    return printable(shortened(said, SHOWN)) if value is not None else "None"

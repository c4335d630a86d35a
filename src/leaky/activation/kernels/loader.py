"""Finds the compiled core and chooses its instruction set.

Must never make an import fail for want of a compiler, and must be able to say what is in use and why.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
from dataclasses import dataclass
from types import ModuleType

from leaky.errors import InputError

VARIABLE = "LEAKY_INSTRUCTION_SET"
"""Overrides the instruction set: a name of `BuildInfo.available`, or "plain" to leave the core alone."""

PLAIN = "plain"

TOLD = "LEAKY_PLAIN_PATH_TOLD"
"""Set once it was said that there is no core: what this process starts need not say it again."""

_MODULE = "leaky.activation.kernels._core"


@dataclass(frozen=True)
class BuildInfo:
    """Which implementation computes, and why.

    Attributes:
        compiled: whether the compiled core is in use; else plain NumPy and torch operations compute the same.
        instruction_set: "baseline", "avx2" or "avx512"; "plain" without the core.
        available: the instruction sets that this build has and this processor runs, the best last.
        reason: why this one, in a sentence.
    """

    compiled: bool
    instruction_set: str
    available: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        path = f"compiled core, {self.instruction_set}" if self.compiled else "plain path"
        return f"{path}: {self.reason}"


@functools.cache
def _load() -> tuple[ModuleType | None, BuildInfo]:
    asked = os.environ.get(VARIABLE, "").strip().lower()
    if asked == PLAIN:
        return None, BuildInfo(False, PLAIN, (), f"{VARIABLE}={PLAIN} asks for it")
    try:
        module = importlib.import_module(_MODULE)
    except ImportError as error:
        if asked:
            raise InputError(f"{VARIABLE} asks for {asked!r}, but there is no compiled core: {_why(error)}") from error
        _say_once(_why(error))
        return None, BuildInfo(False, PLAIN, (), _why(error))
    available = tuple(module.instruction_sets())
    if not module.use(asked):
        raise InputError(
            f"{VARIABLE} must be one of {', '.join((*available, PLAIN))} on this machine, not {asked!r}; "
            "unset it to let leaky choose"
        )
    reason = f"{VARIABLE} asks for it" if asked else "the best that this build has and this processor runs"
    return module, BuildInfo(True, str(module.instruction_set()), available, reason)


def _say_once(reason: str) -> None:
    """A quiet installation without a compiler said nothing, and nobody asks `build_info` who does not know."""
    if TOLD not in os.environ:
        os.environ[TOLD] = "1"
        logging.getLogger("leaky").warning("slower path in use: %s", reason)


def _why(error: ImportError) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name == _MODULE:
        return (
            "leaky was installed without its compiled core; reinstall where there is a C++17 compiler to have it, "
            f"or set {VARIABLE}={PLAIN} to be content without"
        )
    return f"the compiled core could not be loaded ({error})"


def core() -> ModuleType | None:
    """The compiled core, or None where the plain path is used.

    Raises:
        InputError: if the environment asks for an instruction set that is not to be had here.
    """
    return _load()[0]


def build_info() -> BuildInfo:
    """Whether the compiled core is in use, with which instruction set, and why.

    Returns:
        The BuildInfo: compiled, instruction_set, available and reason.

    Raises:
        InputError: if LEAKY_INSTRUCTION_SET in the environment asks for a set that is not to be had here.
    """
    return _load()[1]

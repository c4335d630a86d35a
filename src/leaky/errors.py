"""The errors that leaky raises on purpose.

Every message says what must hold, what came, and what to do. The command line prints the message alone, without a
traceback, and ends with status 2.
"""

from __future__ import annotations

from leaky.text import in_a_line


class LeakyError(Exception):
    """Something that the caller can put right: the base of every error that leaky raises on purpose.

    Its message is one line, in which nothing steers a terminal: names of files, layers and classes are escaped.
    """

    def __str__(self) -> str:
        return in_a_line(super().__str__())


class InputError(LeakyError, ValueError):
    """A model, data, file or option is not what it must be."""


class MissingExtraError(LeakyError, ImportError):
    """An optional package is not installed; the message names the pip extra that brings it."""


class NothingExaminedError(LeakyError):
    """The model ran, and no site of it could be examined."""

"""The errors that leaky raises on purpose.

Every message says what must hold, what came, and what to do. The command line prints the message alone, without a
traceback, and ends with status 2.
"""

from __future__ import annotations


class LeakyError(Exception):
    """Something that the caller can put right: the base of every error that leaky raises on purpose."""


class InputError(LeakyError, ValueError):
    """A model, data, file or option is not what it must be."""


class MissingExtraError(LeakyError, ImportError):
    """An optional package is not installed; the message names the pip extra that brings it."""


class NothingExaminedError(LeakyError):
    """The model ran, and no site of it could be examined."""

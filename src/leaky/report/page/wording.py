"""Untrusted text for a page's JSON data."""

from __future__ import annotations

from leaky.text import printable, shortened

LONGEST_WORDS = 600
"""Characters of a sentence with words from outside in it."""


def told(text: str) -> str:
    """Untrusted text without control characters, shortened to a maximal length."""
    return shortened(printable(text), LONGEST_WORDS)

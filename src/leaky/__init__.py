"""leaky finds the units of a neural network that have stopped learning, and puts the right Leaky ReLU where it helps.

`import leaky` is light: each public name is imported at its first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leaky import theory
    from leaky.activation import leaky_relu
    from leaky.activation.diagram import plot
    from leaky.activation.kernels import build_info
    from leaky.activation.torch import LeakyReLU
    from leaky.checkup import Checkup, check
    from leaky.diagnosis import compare, diagnose
    from leaky.documents import load
    from leaky.errors import LeakyError
    from leaky.observation import observe
    from leaky.observation.following import analyse
    from leaky.record import Record
    from leaky.repairing import operations
    from leaky.repairing.api import apply_recipe, repair
    from leaky.repairing.calibration import calibrate
    from leaky.repairing.initialization import initialize
    from leaky.repairing.pruning import prune
    from leaky.tuning.api import tune
    from leaky.watching.api import watch

__version__ = "0.1.0"

__all__ = [
    "Checkup",
    "LeakyError",
    "LeakyReLU",
    "Record",
    "analyse",
    "apply_recipe",
    "build_info",
    "calibrate",
    "check",
    "compare",
    "diagnose",
    "initialize",
    "leaky_relu",
    "load",
    "observe",
    "operations",
    "plot",
    "prune",
    "repair",
    "theory",
    "tune",
    "watch",
]

_HOME = {
    "leaky_relu": "leaky.activation",
    "LeakyReLU": "leaky.activation.torch",
    "plot": "leaky.activation.diagram",
    "build_info": "leaky.activation.kernels",
    "observe": "leaky.observation",
    "analyse": "leaky.observation.following",
    "diagnose": "leaky.diagnosis",
    "check": "leaky.checkup",
    "compare": "leaky.diagnosis",
    "load": "leaky.documents",
    "Checkup": "leaky.checkup",
    "Record": "leaky.record",
    "calibrate": "leaky.repairing.calibration",
    "initialize": "leaky.repairing.initialization",
    "repair": "leaky.repairing.api",
    "apply_recipe": "leaky.repairing.api",
    "prune": "leaky.repairing.pruning",
    "tune": "leaky.tuning.api",
    "watch": "leaky.watching.api",
    "LeakyError": "leaky.errors",
}
"""The module of each public name; the same as the imports above, for the interpreter."""
_ROOMS = {"operations": "leaky.repairing.operations", "theory": "leaky.theory"}
"""Public names that are modules."""


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
        return value
    if name in _ROOMS:
        return importlib.import_module(_ROOMS[name])
    raise AttributeError(f"module 'leaky' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

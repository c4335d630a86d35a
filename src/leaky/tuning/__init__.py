"""Slopes × seeds: the experiment on the user's own task, its engines and its statistics."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leaky.tuning.api import tune
    from leaky.tuning.engines.objective import Result
    from leaky.tuning.saving import load_study
    from leaky.tuning.search import Range
    from leaky.tuning.study import Study
    from leaky.tuning.task import Task
    from leaky.tuning.trial import Trial

__all__ = ["Range", "Result", "Study", "Task", "Trial", "load_study", "tune"]

_HOME = {
    "tune": "leaky.tuning.api",
    "Range": "leaky.tuning.search",
    "Result": "leaky.tuning.engines.objective",
    "load_study": "leaky.tuning.saving",
    "Study": "leaky.tuning.study",
    "Trial": "leaky.tuning.trial",
    "Task": "leaky.tuning.task",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'leaky.tuning' has no attribute {name!r}")

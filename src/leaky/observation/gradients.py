"""Models that differentiate inside their own forward pass: known once one of them has asked for it."""

from __future__ import annotations

import weakref

from torch import nn

_differentiating: weakref.WeakSet[nn.Module] = weakref.WeakSet()


def needs_gradients(model: nn.Module) -> bool:
    """Whether the model's forward pass was found to differentiate by itself (forces, residuals of an equation)."""
    return model in _differentiating


def asks_for_gradients(model: nn.Module, error: RuntimeError) -> bool:
    """Whether an error of a pass without gradients says that it needs them; it is remembered of the model."""
    if needs_gradients(model) or "does not require grad" not in str(error):
        return False
    _differentiating.add(model)
    return True

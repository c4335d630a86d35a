"""The slopes of a site while it trains, and what its output tells of its input."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from leaky.observation.tensors import is_sharded
from leaky.record import FloatArray
from leaky.structure.activations import Activation


def slopes_now(site: str, activation: Activation, units: int, model: nn.Module) -> FloatArray:
    """The slopes of a site as they are now, shape (units,): a learned one moves, and so may a module's own."""
    slope: Any = activation.negative_slope
    module = _module_named(model, site)
    if isinstance(module, nn.PReLU) and not is_sharded(module.weight):  # of shards, those of the traced pass
        slope = module.weight.detach().clone().double().cpu().numpy()
    elif isinstance(getattr(module, "negative_slope", None), float):
        slope = module.negative_slope  # type: ignore[union-attr]
    return np.full(units, slope, np.float64)


def _module_named(model: nn.Module, name: str) -> nn.Module | None:
    """The module of a site; None for a functional call."""
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def monotone(activation: str) -> bool:
    """Whether the output tells the region as well as the input does."""
    return activation in ("ReLU", "LeakyReLU", "PReLU", "ReLU6", "Hardtanh", "RReLU")

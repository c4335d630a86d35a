"""The slopes of a site while it trains, and what its output tells of its input."""

from __future__ import annotations

from typing import Any

from torch import nn

from leaky.observation.tensors import is_sharded
from leaky.record import FloatArray
from leaky.structure.activations import Activation


def slope_now(site: str, activation: Activation, model: nn.Module) -> float | FloatArray:
    """The slope of a site as it is now, of all units or of each: a learned one moves, and so may a module's own."""
    slope: Any = activation.negative_slope
    module = _module_named(model, site)
    if isinstance(module, nn.PReLU) and not is_sharded(module.weight):  # of shards, those of the traced pass
        slope = module.weight.detach().clone().double().cpu().numpy()
    elif module is not None and _may_have_slope(module) and isinstance(getattr(module, "negative_slope", None), float):
        slope = module.negative_slope
    found: float | FloatArray = slope
    return found


def _may_have_slope(module: nn.Module) -> bool:
    """Whether a module may have a slope of its own: torch takes long to tell that it has none."""
    kind: Any = type(module)
    plain = kind.__getattr__ is nn.Module.__getattr__
    return not plain or "negative_slope" in module.__dict__ or hasattr(kind, "negative_slope")


def _module_named(model: nn.Module, name: str) -> nn.Module | None:
    """The module of a site; None for a functional call."""
    found: nn.Module = model
    for part in name.split(".") if name else ():
        inside = found._modules.get(part)
        if inside is None:  # not by its truth: what torch has compiled has none
            inside = getattr(found, part, None)
        if not isinstance(inside, nn.Module):
            return None
        found = inside
    return found


def monotone(activation: str) -> bool:
    """Whether the output tells the region as well as the input does."""
    return activation in ("ReLU", "LeakyReLU", "PReLU", "ReLU6", "Hardtanh", "RReLU")

"""Recurrent layers whose weights are far too large: what saturates inside one operation is no site.

Gates and tanh take h·Wᵀ with states h between −1 and 1; with states of ±1 their pre-activations have the deviation
√(mean over the rows of Σ w²), whatever the data. Beyond `FLAT` they give hardly more than a sign.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from leaky.repairing.sizes import FLAT


def blown_up_gates(model: nn.Module) -> str | None:
    """That a recurrent layer's weights are far too large, in words; None where none are."""
    for path, module in model.named_modules():
        size = _size(module)
        if size > FLAT:
            return f"the states of {path} give its gates a deviation of {size:.3g}, where about 1 is usual"
    return None


def ease_gates(model: nn.Module) -> list[str]:
    """Bring those layers back to a deviation of 1, by one gain of weights and biases.

    Returns:
        The parameters that were changed.
    """
    changed: list[str] = []
    with torch.no_grad():
        for path, module in model.named_modules():
            own = dict(module.named_parameters(prefix=path, recurse=False))
            size = _size(module)
            if size > FLAT and all(parameter.requires_grad for parameter in own.values()):
                for parameter in own.values():
                    parameter.mul_(1 / size)
                changed += own
    return changed


def _size(module: nn.Module) -> float:
    """The largest deviation that states of ±1 give; 0 of what is no recurrent layer, or has states without bounds."""
    if not isinstance(module, nn.RNNBase | nn.RNNCellBase) or getattr(module, "nonlinearity", "tanh") == "relu":
        return 0.0
    named = module.named_parameters(recurse=False)
    return max((_deviation(weight) for name, weight in named if name.startswith("weight_hh")), default=0.0)


def _deviation(weight: Tensor) -> float:
    return float(weight.detach().double().square().sum(1).mean().sqrt())

"""The slices of an optimizer's state that belong to weights which begin anew.

Works for any optimizer that keeps tensors of the parameter's shape: SGD, Adam, AdamW, NAdam, RMSprop, Adagrad, …
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

SECOND_MOMENTS = frozenset({"exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "exp_inf", "acc_delta"})
"""State that divides the step. At 0 behind a step count that says "long trained", the next steps would be far too long
(1/√(1−β₂) ≈ 32 times for Adam), so new elements get the mean over the others."""


_COUNTS = {"step": 0.0, "mu_product": 1.0}
"""State of a parameter as a whole, and what it is for a new one."""


def reset_slices(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, mask: Tensor) -> int:
    """Forget what an optimizer knows of some elements of a parameter.

    First moments become 0; second moments the mean over the elements that stay. Where all elements begin anew, the
    state is that of a new parameter, the step count included.

    Args:
        optimizer: whose state is changed in place; parameters that it does not hold are passed over.
        parameter: the parameter.
        mask: which elements, of its shape.

    Returns:
        How many tensors of the state were changed.
    """
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    whole = bool(mask.all())
    changed = 0
    with torch.no_grad():
        for key, value in state.items():
            if key not in _COUNTS and isinstance(value, Tensor) and value.shape == parameter.shape:
                place = mask.to(value.device)
                rest = value[~place]
                fresh = rest.mean() if key in SECOND_MOMENTS and not whole else value.new_zeros(())
                value[place] = fresh
                changed += 1
        if whole and state:
            _restart_counts(state)
    return changed


def _restart_counts(state: dict[str, Any]) -> None:
    for key, start in _COUNTS.items():
        value = state.get(key)
        if isinstance(value, Tensor):
            value.fill_(start)
        elif value is not None:
            state[key] = type(value)(start)


_OF_GRADIENT = frozenset({"exp_avg", "momentum_buffer", "grad_avg", "exp_inf"})
_OF_SQUARE = frozenset({"exp_avg_sq", "max_exp_avg_sq", "max_exp_avg_sqs", "square_avg", "sum"})
"""State that is as large as the gradient, and as its square."""


def unknown_moments(optimizer: torch.optim.Optimizer | None, parameter: nn.Parameter) -> tuple[str, ...]:
    """Names of what an optimizer keeps of each element of a parameter, and of which it is not known how it scales."""
    state: dict[str, Any] = {} if optimizer is None else optimizer.state.get(parameter, {})
    kept = [key for key, value in state.items() if isinstance(value, Tensor) and value.ndim > 0]
    return tuple(key for key in kept if key not in _OF_GRADIENT | _OF_SQUARE)


def rescale_moments(
    optimizer: torch.optim.Optimizer, parameter: nn.Parameter, factor: float, mask: Tensor | None = None
) -> None:
    """Make an optimizer's moments those of a parameter that was multiplied by `factor`, the function being the same.

    The gradient of s·w is that of w, divided by s.

    Args:
        optimizer: whose state is changed in place.
        parameter: the parameter.
        factor: s.
        mask: which elements; all by default.
    """
    state: dict[str, Any] = optimizer.state.get(parameter, {})
    with torch.no_grad():
        for key, value in state.items():
            power = 1 if key in _OF_GRADIENT else 2 if key in _OF_SQUARE else 0
            if key == "momentum_buffer" and not _OF_SQUARE.isdisjoint(state):
                power = 0  # RMSprop's, of steps: gradients over the root of their square
            if power and isinstance(value, Tensor) and value.shape == parameter.shape:
                by = factor**-power
                value.mul_(by if mask is None else torch.where(mask.to(value.device), by, 1.0).to(value))

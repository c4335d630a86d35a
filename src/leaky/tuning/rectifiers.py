"""Replaces the rectifier modules of a model.

Only modules can be exchanged: a functional call is code, and a model that has nothing else is refused with advice.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from leaky.activation.torch import LeakyReLU
from leaky.errors import InputError
from leaky.tuning.arms import PRELU, Slope

_OTHERS: dict[str, Callable[[], nn.Module]] = {PRELU: nn.PReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}
RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, LeakyReLU)


def rectifier_names(model: nn.Module) -> list[str]:
    """The qualified names of the rectifiers that are modules."""
    return [name for name, module in model.named_modules() if isinstance(module, RECTIFIERS)]


def rectifiers_of(model: nn.Module) -> int:
    """How many rectifiers can be exchanged, one at the least.

    Raises:
        InputError: if there is none that is a module.
    """
    names = rectifier_names(model)
    if not names:
        raise InputError(
            f"{type(model).__name__} must have rectifiers that are modules (nn.ReLU, nn.LeakyReLU, …) for others to "
            "take their place; functional calls cannot be exchanged: give a function build(negative_slope), and leave "
            "names of activations and slopes of layers out"
        )
    return len(names)


def exchange(model: nn.Module, value: Slope) -> nn.Module:
    """The model with every rectifier module replaced, in place.

    Args:
        model: changed; itself a rectifier, it is replaced.
        value: a slope, the name of an activation, or a slope for each rectifier in the order of `rectifier_names`.

    Returns:
        The model.

    Raises:
        InputError: if it has no rectifier that is a module, or another number of them than of slopes.
    """
    rectifiers_of(model)
    names = rectifier_names(model)
    if isinstance(value, tuple) and len(value) != len(names):
        raise InputError(f"slopes of layers must be {len(names)}, one for each of {', '.join(names)}, not {len(value)}")
    for name, each in zip(names, value if isinstance(value, tuple) else [value] * len(names), strict=True):
        parent, _, last = name.rpartition(".")
        new = nn.LeakyReLU(each) if isinstance(each, float) else _OTHERS[each]()
        if not name:
            return new
        setattr(model.get_submodule(parent), last, new)
    return model

"""Modules that begin as they were built: what an initialisation of layers does not reach, recurrent gates and tables.

Whoever begins a whole network anew must not leave what put it into its state in the parts that have a beginning of
their own. Frozen and tied parameters stay.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def begin_as_built(model: nn.Module, seed: int) -> tuple[str, ...]:
    """Let each module that knows how it begins do so, by its own `reset_parameters`.

    Args:
        model: changed in place; parameters stay the same objects.
        seed: of torch's generators meanwhile; they go on from where they were.

    Returns:
        The paths of the modules that began anew.
    """
    names = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    found = []
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), torch.no_grad():
        torch.manual_seed(seed)
        for path, module in model.named_modules():
            reset = _beginning(module)
            own = list(module.parameters(recurse=False))
            if reset is not None and own and all(p.requires_grad and names[id(p)] == 1 for p in own):
                reset()
                found.append(path)
    return tuple(found)


def _beginning(module: nn.Module) -> Callable[[], Any] | None:
    """How a module begins; None where it does not say."""
    reset = getattr(module, "reset_parameters", None)
    if reset is None and type(module).__module__.startswith("torch.nn."):
        reset = getattr(module, "_reset_parameters", None)
    if not inspect.ismethod(reset):
        return None
    needed = [p for p in inspect.signature(reset).parameters.values() if p.default is p.empty]
    return None if any(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in needed) else reset

"""What a model keeps beside its tensors: the attributes of its modules, so that one that counts or caches is known."""

from __future__ import annotations

import inspect
import pickle
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.observation.bits import version


class OwnState:
    """The attributes of every module as they are now.

    Args:
        model: whose.
    """

    def __init__(self, model: nn.Module) -> None:
        self._kept = [(module, _attributes(module)) for module in model.modules()]

    @property
    def unchanged(self) -> bool:
        """Whether all are the same objects, and the containers among them hold the same."""
        return all(_same(_attributes(module), kept) for module, kept in self._kept)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Each attribute, with what is in it: what a container or an object holds, how far a generator is."""
    return {name: (value, _inside(value)) for name, value in vars(module).items()}


def _inside(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    if isinstance(value, Tensor):
        return [version(value)]
    if isinstance(value, (list, set)):
        return list(value)
    if isinstance(value, torch.Generator):
        return [value.get_state().cpu().numpy().tobytes()]
    if isinstance(value, (random.Random, np.random.Generator, np.random.RandomState)):
        return [pickle.dumps(value)]
    if isinstance(value, (type, nn.Module)) or inspect.isroutine(value) or inspect.ismodule(value):
        return None
    held = getattr(value, "__dict__", None)
    return [*held.keys(), *held.values()] if isinstance(held, dict) else None


def _same(now: dict[str, tuple[Any, Any]], kept: dict[str, tuple[Any, Any]]) -> bool:
    if now.keys() != kept.keys():
        return False
    for name, (value, inside) in now.items():
        before, inside_before = kept[name]
        if value is not before or (inside is None) != (inside_before is None):
            return False
        if inside is not None and not _same_objects(inside, inside_before):
            return False
    return True


def _same_objects(one: list[Any], other: list[Any]) -> bool:
    pairs = zip(one, other, strict=True) if len(one) == len(other) else ()
    return len(one) == len(other) and all(a is b or (type(a) in (int, bytes) and a == b) for a, b in pairs)


def is_of_torch_alone(model: nn.Module) -> bool:
    """Whether a pass runs no code but that of torch's own modules, which draws from torch's generators alone."""
    return all(
        type(module).__module__.startswith("torch.nn.modules.")
        and "forward" not in vars(module)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        for module in model.modules()
    )

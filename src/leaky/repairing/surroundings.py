"""What a user's function holds besides the model: what of it is put back between trainings, and what goes on.

A piece of training may step a scheduler, update a target network or draw from a generator of its own. What can be found
through its closure, its globals and its own attributes, and can be put back, is; the rest is told by name.
"""

from __future__ import annotations

import copy
import functools
import inspect
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from leaky.repairing.snapshot import Snapshot


class HeldState:
    """The state around a model that functions of the user's change.

    Attributes:
        optimizers: that hold parameters of the model.
        told: what goes on through all trainings, in words.
    """

    def __init__(self, functions: list[Callable[..., Any] | None], model: nn.Module) -> None:
        own = {id(module) for module in model.modules()}
        mine = {id(parameter) for parameter in model.parameters()}
        self.optimizers: list[torch.optim.Optimizer] = []
        self._others: list[torch.optim.Optimizer] = []
        self._modules: list[nn.Module] = []
        self._stateful: list[Any] = []
        self._generators: list[Any] = []
        told: dict[str, None] = {}
        for name, value in _held([f for f in functions if f is not None]):
            if isinstance(value, nn.Module):
                if id(value) not in own and not any(value is known for known in self._modules):
                    self._modules.append(value)
            elif isinstance(value, torch.optim.Optimizer):
                held = any(id(p) in mine for group in value.param_groups for p in group["params"])
                (self.optimizers if held else self._others).append(value)
            elif isinstance(value, (torch.Generator, np.random.Generator, random.Random)):
                self._generators.append(value)
            elif isinstance(value, Iterator):
                told[f"{name} goes on from training to training, so that each sees other batches"] = None
            elif callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
                self._stateful.append(value)
        self.told = tuple(told)

    def kept(self) -> Callable[[], None]:
        """Remember everything; what is returned puts it back."""
        empty = nn.Module()
        snapshots = [Snapshot(module) for module in self._modules]
        snapshots += [Snapshot(empty, optimizer) for optimizer in (*self.optimizers, *self._others)]
        states = [(value, copy.deepcopy(value.state_dict())) for value in self._stateful]
        drawn = [(generator, _state(generator)) for generator in self._generators]

        def put_back() -> None:
            for snapshot in snapshots:
                snapshot.restore()
            for value, state in states:
                value.load_state_dict(copy.deepcopy(state))
            for generator, state in drawn:
                _set_state(generator, state)

        return put_back


def _held(functions: list[Callable[..., Any]]) -> Iterator[tuple[str, Any]]:
    """Name and value of everything that functions refer to, one level of containers deep; each once."""
    seen: set[int] = set()
    for function in functions:
        for name, value in _references(function):
            parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
            for part in [value, *list(parts)[:100]]:
                if id(part) not in seen:
                    seen.add(id(part))
                    yield name, part


def _references(function: Any, depth: int = 3) -> Iterator[tuple[str, Any]]:
    """What a function can reach by name; functions among it are followed a few steps."""
    found: dict[str, Any] = {}
    while isinstance(function, functools.partial):
        found |= {f"argument {i}": value for i, value in enumerate(function.args)} | dict(function.keywords)
        function = function.func
    owner = getattr(function, "__self__", None)
    plain = getattr(function, "__func__", function)
    if owner is None and not inspect.isfunction(plain):
        owner, plain = function, vars(type(function)).get("__call__")
    if owner is not None and not inspect.ismodule(owner) and not isinstance(owner, nn.Module):
        found |= getattr(owner, "__dict__", {})
    if inspect.isfunction(plain):
        try:
            variables = inspect.getclosurevars(plain)
            found |= {**variables.nonlocals, **variables.globals}
        except (TypeError, ValueError):  # an empty cell, or no Python code
            pass
    for name, value in found.items():
        yield name, value
        if depth and (inspect.isfunction(value) or inspect.ismethod(value)):
            yield from _references(value, depth - 1)


def _state(generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return copy.deepcopy(generator.bit_generator.state)
    return generator.getstate()


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, torch.Generator):
        generator.set_state(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = copy.deepcopy(state)
    else:
        generator.setstate(state)

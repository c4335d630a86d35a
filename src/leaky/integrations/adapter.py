"""What every trainer's callback needs: which modules to watch, when a step is over, and the scalars that are new.

A trainer may call its network as a whole, or only parts of it (the methods of a policy, the layers of a LightningModule
in `training_step`). Which modules are called from outside is seen in the first step of training; each is watched from
its first pass on, single layers from the second step on and only where nothing larger is called.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.compiler import is_compiling

from leaky.errors import InputError
from leaky.observation.riding.hooks import Hook
from leaky.watching.alarm import in_words
from leaky.watching.alarms import ALARMS
from leaky.watching.api import watch
from leaky.watching.optimizers import parameters_of, unwrapped
from leaky.watching.watch import Watch

TOTALS = ("dead", "locked", "dormant", "nearly_dead", "silent")
"""Shares of all units, sent always."""
OF_SITES = ("dead", "locked", "dormant", "nearly_dead", "gradient")
"""Sent for each site, where they are asked for."""
OF_THE_LOOP = frozenset({"rising-loss", "unshuffled", "never-zeroed", "target-shape", "loss-misfit"})
"""Alarms that are of the whole loop: the first watch of an optimizer tells them."""
LOOKED_FOR = 20
"""Steps in which no module ran after which that is said."""


class Adapter:
    """The watches of one training.

    Args:
        sites: whether scalars of each site are sent too, or the names of those that are.
        options: of `leaky.watch`.

    Attributes:
        watches: of the modules that were found, by name.
        pending: the newest of each scalar that was not taken yet.
    """

    def __init__(self, sites: bool | list[str] = False, **options: Any) -> None:
        watch(nn.Identity(), None, **options)  # a misspelt option is told before the training
        self.sites = sites
        self.watches: dict[str, Watch] = {}
        self._options = options
        self._optimizers: tuple[torch.optim.Optimizer, ...] = ()
        self._search: _Search | None = None
        self.pending: dict[str, float] = {}
        self._sent: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._controlled: dict[str, int] = {}
        self._by_hand: list[Watch] = []
        self._taken: set[int] = set()
        self._steps = 0

    def start(self, model: nn.Module, optimizers: Iterable[Any] = ()) -> None:
        """The training begins.

        Args:
            model: of which whatever is called is watched.
            optimizers: that train it, or wrappers of those; a part of the model is watched with the one that holds its
                parameters, whose steps are its own.
        """
        self.stop()
        self._optimizers = tuple(each for each in map(unwrapped, optimizers) if each is not None)
        self.watches, self.pending, self._sent, self._told, self._steps = {}, {}, {}, {}, 0
        self._by_hand, self._taken = [], set()
        self._controlled = {}
        self._search = _Search(model, self._begin)

    def begin_step(self) -> None:
        """The gradients of a step are there: of the first one, whose watches began inside the optimizer's `step`."""
        for each in self.watches.values() if self._search is not None else ():
            each.begin_step()

    def step(self) -> None:
        """The optimizer has stepped; a watch that has been given it knows."""
        self._steps += 1
        for each in self._by_hand:
            each.step()
        if self._search is not None and self._search.found:
            roots = self._search.end()
            self._search = None
            for name, module in roots.items():
                if name not in self.watches:
                    self._watch(name, module)
        elif self._search is not None and self._steps == LOOKED_FOR:
            warnings.warn(
                f"leaky: no module of the model was called in training in {LOOKED_FOR} steps, so there is nothing to "
                "watch; pass the network that is trained to leaky.watch in your own loop",
                RuntimeWarning,
                stacklevel=3,
            )
        self.pending |= self._new_scalars()

    def _begin(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Watch a module whose first pass is about to start, that pass too."""
        started = self._watch(name, module)
        if started.observer.model is module:  # of one that torch.compile wraps, the hooks inside are yet to run
            started.observer.clock.safely(lambda: started.observer.rider.begin(module, args, kwargs))

    def _watch(self, name: str, module: nn.Module) -> Watch:
        """Watch a module, with the optimizer that holds its parameters where one of those known does."""
        own = {id(parameter) for parameter in module.parameters()}
        holds = (each for each in self._optimizers if any(id(p) in own for p in parameters_of(each)))
        optimizer, options = next(holds, None), self._options
        if id(optimizer) in self._taken:
            chosen = ALARMS if options.get("alarms") is None else options["alarms"]
            options = {**options, "alarms": [alarm for alarm in chosen if alarm not in OF_THE_LOOP]}
        self.watches[name] = started = watch(module, optimizer, **options).start()
        if optimizer is None:
            self._by_hand.append(started)
        else:
            self._taken.add(id(optimizer))
        return started

    def stop(self) -> None:
        """The training is over, or was broken off; every hook goes."""
        if self._search is not None:
            self._search.end()
            self._search = None
        for each in self.watches.values():
            each.stop()
        self.pending |= self._new_scalars()

    def take(self) -> dict[str, float]:
        """The scalars that wait, which wait no longer."""
        taken, self.pending = self.pending, {}
        return taken

    def texts(self) -> list[str]:
        """The alarms above info since the last call, as a watch words them, and the controls."""
        found = []
        for prefix, each in self.watches.items():
            told = self._told.get(prefix, 0)
            self._told[prefix] = len(each.alarms)
            found += in_words(each.alarms[told:])
            controlled = self._controlled.get(prefix, 0)
            self._controlled[prefix] = len(each.controls)
            found += [f"control, {control.record}" for control in each.controls[controlled:]]
        return found

    def _new_scalars(self) -> dict[str, float]:
        """The scalars of the reports that were made since the last call, by name; empty where there was none.

        `leaky/alarms` counts those above info that were raised so far.
        """
        new = {}
        for prefix, each in self.watches.items():
            reports = len(each.history.steps)
            if reports > self._sent.get(prefix, 0):
                self._sent[prefix] = reports
                new[prefix] = each
        if not new:
            return {}
        found = {f"leaky/{name}": self._total(name) for name in TOTALS}
        alarms = (alarm for each in self.watches.values() for alarm in each.alarms)
        found["leaky/alarms"] = float(sum(alarm.finding.level != "info" for alarm in alarms))
        for prefix, each in new.items():
            found |= self._of_sites(prefix, each)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def _total(self, figure: str) -> float:
        units = total = 0.0
        for each in self.watches.values():
            for name, count in each.history.units.items():
                value = each.history.last(name, figure)
                if math.isfinite(value):
                    units, total = units + count, total + count * value
        return total / units if units else math.nan

    def _of_sites(self, prefix: str, each: Watch) -> dict[str, float]:
        found: dict[str, float] = {}
        for name in each.history:
            whole = f"{prefix}.{name}" if prefix else name
            if self.sites is True or (self.sites and whole in self.sites):
                found |= {f"leaky/{whole}/{figure}": each.history.last(name, figure) for figure in OF_SITES}
        return found

    def figure(self) -> Any:
        """A matplotlib figure: the share of dead and of silent units by layer, as it is now."""
        from leaky.report.figures import layers_figure

        rows = [
            (f"{prefix}.{name}" if prefix else name, each.history.last(name, "dead"), each.history.last(name, "silent"))
            for prefix, each in self.watches.items()
            for name in each.history
        ]
        return layers_figure(rows)


class _Search:
    """Finds the outermost modules that are called in training mode, and says when the first pass of each begins.

    Args:
        model: that is trained.
        begins: told of a module of several layers, with its name and arguments, before its first pass.
    """

    def __init__(self, model: nn.Module, begins: Callable[..., None]) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"the trainer must train a torch.nn.Module, not {type(model).__name__}")
        self.found: dict[str, nn.Module] = {}
        self._begins = begins
        self._names = {id(module): name for name, module in model.named_modules()}
        self._depth = 0
        self._handles = [
            handle
            for module in model.modules()
            for handle in (
                module.register_forward_pre_hook(_Enter(self), with_kwargs=True),
                module.register_forward_hook(_Leave(self), always_call=True),
            )
        ]

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A module starts; what a checkpoint computes again in the backward pass comes from within."""
        outermost = self._depth == 0 and module.training
        self._depth += 1
        if outermost and not is_compiling() and torch._C._current_graph_task_id() != -1:
            return
        name = self._names[id(module)]
        if outermost and name not in self.found and any(True for _ in module.parameters()):
            self.found[name] = module
            if _has_parts(module) and not is_compiling():
                self._begins(name, module, args, kwargs)

    def leave(self) -> None:
        """It has run."""
        self._depth -= 1

    def end(self) -> dict[str, nn.Module]:
        """Take the hooks off; the modules by name. A single layer has no activation in it and is left out."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        return {name: each for name, each in self.found.items() if _has_parts(each)} or self.found


def _has_parts(module: nn.Module) -> bool:
    return any(True for _ in module.children())


class _Enter(Hook):
    def __init__(self, search: _Search) -> None:
        self._search = search

    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._search.enter(module, args, kwargs)


class _Leave(_Enter):
    def __call__(self, module: nn.Module, args: Any, output: Any = None) -> None:
        self._search.leave()

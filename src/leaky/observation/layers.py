"""What a pass shows of a model's layers beside its sites: BatchNorm's statistics, and layers that run more than once.

What it hooks is let go afterwards, whatever happens, and no value is changed.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.module import register_module_forward_pre_hook

from leaky.activation.kernels import core
from leaky.activation.kernels.statistics import Regions, UnitSums
from leaky.observation.running import dense
from leaky.record import Normalisation, SharedLayer
from leaky.structure.axes import Layout
from leaky.structure.modules import without_wrappers

BATCHES = 4
"""Batches on which the statistics of what comes in are taken: a few thousand samples tell enough."""


class LayerWatch:
    """While open, notes what goes into each BatchNorm and how often each layer runs in a pass.

    One hook for all modules: a hook on a module of its own would switch off torch's fused paths.

    Args:
        model: whose layers.

    Attributes:
        looking: whether what runs is the pass; False while a loss runs, which may call the model again.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._handle: Any = None
        self._norms: dict[str, tuple[Normalisation, Tensor, Tensor]] = {}
        self._names: dict[nn.Module, str] = {}
        self._sums: dict[str, Tensor] = {}
        self._calls: dict[str, int] = {}
        self._most: dict[str, int] = {}
        self._passes = 0
        self._registered: set[int] = set()
        self._strangers: dict[str, None] = {}
        self.looking = True

    def __enter__(self) -> LayerWatch:
        for name, module in self._model.named_modules():
            name = without_wrappers(name)
            if isinstance(module, _BatchNorm) and module.running_mean is not None:
                self._norms[name] = _state(name, module)
                self._names[module] = name
            elif any(True for _ in module.parameters(recurse=False)):
                self._names[module] = name
        self._registered = {*map(id, self._model.modules()), *map(id, self._model.parameters())}
        self._strangers |= dict.fromkeys(_loose_weights(self._model, self._registered))
        self._handle = register_module_forward_pre_hook(self._entering)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()

    def keep(self) -> None:
        """Note what was seen so far, before a pass that may have to be run again."""
        self._kept = dict(self._sums)

    def put_back(self) -> None:
        """Forget that pass."""
        self._sums = self._kept
        self._calls.clear()

    def end_pass(self) -> None:
        """Count a pass; after the first few nothing more is looked at."""
        for name, calls in self._calls.items():
            self._most[name] = max(self._most.get(name, 0), calls)
        self._calls.clear()
        self._passes += 1
        if self._passes == BATCHES:
            self._handle.remove()  # it would keep every module of the model off the short way through its call

    def _entering(self, module: nn.Module, args: Any) -> None:
        name = self._names.get(module) if self.looking and self._passes < BATCHES else None
        if name is None:
            if self.looking and id(module) not in self._registered:
                self._stranger(module)
            return
        if name not in self._norms:
            self._calls[name] = self._calls.get(name, 0) + 1
        elif not module.training and args and isinstance(args[0], Tensor):
            # a mode of the user's, and the tracer, see the user's own calls alone
            with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
                self._take(name, args[0].detach())

    def _stranger(self, module: nn.Module) -> None:
        """Note a layer that wants to learn, and whose weights are none of the model's."""
        own = [p for p in module.parameters(recurse=False) if isinstance(p, nn.Parameter)]
        if any(p.requires_grad and id(p) not in self._registered and not p.is_meta for p in own):
            self._strangers.setdefault(_held_as(self._model, module))

    def unregistered(self) -> tuple[str, ...]:
        """The layers that ran and want to learn, and that no optimizer of the model's parameters trains."""
        return tuple(self._strangers)

    def _take(self, name: str, value: Tensor) -> None:
        if value.ndim < 2 or not value.is_floating_point() or value.numel() == 0:
            return
        part = channel_sums(value)
        self._sums[name] = self._sums[name] + part if name in self._sums else part

    def normalisations(self) -> tuple[Normalisation, ...]:
        """Each BatchNorm's running statistics, as they were before the first pass, beside what came in."""
        return tuple(self._compared(*state) for state in self._norms.values())

    def _compared(self, found: Normalisation, mean: Tensor, variance: Tensor) -> Normalisation:
        sums = self._sums.get(found.name)
        if sums is None or len(sums[0]) != len(mean):
            return found
        count, total, squares = sums
        seen_mean = total / count
        seen_variance = (squares / count - seen_mean**2).clamp(min=0)
        return replace(
            found,
            distance=_finite(((seen_mean - mean) / variance.sqrt()).square().mean().sqrt()),
            spread=_finite((seen_variance / variance).median()),
        )

    def shared_layers(self) -> tuple[SharedLayer, ...]:
        """The layers with weights of their own that ran more than once in the first pass."""
        return tuple(SharedLayer(name, calls) for name, calls in self._most.items() if calls > 1)


def _loose_weights(model: nn.Module, registered: set[int]) -> list[str]:
    """Tensors that modules hold as plain attributes and that want to learn: none of them is a parameter."""
    found = []
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            weight = isinstance(value, Tensor) and value.is_leaf and value.requires_grad and not value.is_meta
            if weight and value.ndim and id(value) not in registered:
                found.append(f"{path}.{name}" if path else name)
    return found


def _held_as(model: nn.Module, module: nn.Module) -> str:
    """Where a model holds a layer that is none of its modules: "layers[0]"; its class where that is not seen."""
    for path, owner in model.named_modules():
        for name, value in vars(owner).items():
            held = (
                value.items()
                if isinstance(value, dict)
                else enumerate(value if isinstance(value, (list, tuple)) else ())
            )
            for key, item in () if name.startswith("_") and name in nn.Module().__dict__ else held:
                inside = [] if not isinstance(item, nn.Module) else [n for n, m in item.named_modules() if m is module]
                if inside:
                    return ".".join(part for part in (path, f"{name}[{key!r}]", inside[0]) if part)
    return type(module).__name__


def channel_sums(value: Tensor) -> Tensor:
    """Elements, Σx and Σx² a channel, in float64, shape (3, channels)."""
    channels, compiled = value.shape[1], core()
    order = tuple(range(value.ndim))
    view = Layout(tuple(value.shape), order, len(value), channels, value[0, 0].numel(), 0, 1)
    readable = dense(value, view)
    if readable is not None and compiled is not None:
        seen = UnitSums(compiled, channels)
        seen.add(readable.kind, value.data_ptr(), readable.layout, Regions(), 0, torch.get_num_threads())
        found = seen.statistics(0)
        if not found.nonfinite.any():
            rows = np.stack([found.counts.sum(axis=0), found.sums.sum(axis=0), found.squares.sum(axis=0)])
            return torch.from_numpy(rows)
    with torch.no_grad():
        variance, mean = torch.var_mean(value.float(), dim=[0, *order[2:]], correction=0)
    mean, variance = mean.double().cpu(), variance.double().cpu()
    count = torch.full_like(mean, value.numel() / channels)
    return torch.stack([count, count * mean, count * (variance + mean**2)])


def _state(name: str, module: _BatchNorm) -> tuple[Normalisation, Tensor, Tensor]:
    """What a BatchNorm is before the first pass: its running mean and its running variance with its ε."""
    assert module.running_mean is not None
    assert module.running_var is not None
    mean, variance = (x.detach().double().cpu().clone() for x in (module.running_mean, module.running_var))
    tracked = module.num_batches_tracked
    untouched = bool((mean == 0).all() and (variance == 1).all())
    return Normalisation(name, None if tracked is None else int(tracked), untouched), mean, variance + module.eps


def _finite(value: Tensor) -> float | None:
    number = float(value)
    return number if number == number and abs(number) != float("inf") else None

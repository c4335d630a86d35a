"""A model with its structure and its evidence: what every operation of repair stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.observation.following import Handler, analyse, replay
from leaky.observation.forms import repeatable
from leaky.observation.nesting import tensors_in
from leaky.structure.graph import Node
from leaky.structure.history import Event
from leaky.structure.label_propagation import Taken
from leaky.structure.label_rules import (
    NONE,
    is_convolution,
    operands_of,
    over_weight,
    units_of_weight,
    weight_comes_first,
)
from leaky.structure.units import ModelSites, SiteStructure


@dataclass(frozen=True, eq=False)
class Entering:
    """What came along the axis that a weight sums over: mean, deviation, lowest and highest of each entry, float64."""

    mean: Tensor
    deviation: Tensor
    low: Tensor
    high: Tensor


class Ground:
    """The model, its structure and the batches that everything is measured on.

    Args:
        model: the model.
        batches: as `leaky.observe` takes them. A loader is run through once and kept, since a shuffling one would give
            other batches the next time; give a part of a large data set.
    """

    def __init__(self, model: nn.Module, batches: Any) -> None:
        self.model = model
        self.batches = repeatable(batches)
        self.analysis = analyse(model, self.batches)
        self.history = self.analysis.history
        self.structure: ModelSites = self.analysis.structure
        self.layers = self.analysis.layers
        self.parameters = self.analysis.parameters
        self._outputs: list[Tensor] | None = None
        self._entering: dict[int, Entering] = {}

    def forget(self) -> None:
        """Forget what was measured, because weights have changed; the structure stays."""
        self._outputs = None
        self._entering = {}

    def unfree(self, names: Iterable[str], frozen: bool = False) -> str | None:
        """Why these parameters cannot be changed for one use alone: they have another name too, or are frozen.

        Args:
            names: of the parameters.
            frozen: whether frozen ones may be changed.
        """
        for name in names:
            parameter = self.parameters.get(name)
            if parameter is None:
                continue
            same = [other for other, p in self.parameters.items() if p is parameter]
            if len(same) > 1:
                return f"{same[0]} is shared: {same[1]} is the same parameter"
            if not parameter.requires_grad and not frozen:
                return f"{name} is frozen, so that its units could not learn"
        return None

    def site(self, name: str) -> SiteStructure:
        """The structure of a site.

        Raises:
            InputError: if there is none of this name.
        """
        return self.analysis.site(name)

    def tensor(self, name: str) -> Tensor:
        """A parameter or buffer."""
        return self.analysis.tensor(name)

    def replay(
        self,
        handlers: Mapping[int, Handler],
        on_output: Callable[[Any], None] | None = None,
        max_samples: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Run the batches with some events run by handlers; see `leaky.observation.following.replay`."""
        replay(
            self.model,
            self.history,
            self.batches,
            handlers,
            max_samples=max_samples,
            batch_size=batch_size,
            on_output=on_output,
        )

    def outputs(self) -> list[Tensor]:
        """Every floating tensor that the model returns for each batch."""
        if self._outputs is None:
            self._look(())
        assert self._outputs is not None
        return self._outputs

    def entering(self, events: Iterable[Event]) -> dict[int, Entering]:
        """What enters these products on the batches, by the event's number; what was measured is not measured again."""
        wanted = {event.number: event for event in events}
        missing = [event for number, event in wanted.items() if number not in self._entering]
        if missing:
            self._look(missing)
        return {number: self._entering[number] for number in wanted}

    def _look(self, events: Iterable[Event]) -> None:
        """One pass over the batches: the outputs, and what enters these products."""
        watchers = {event.number: _Watcher(event) for event in events}
        kept: list[Tensor] = []
        self.replay(
            watchers, lambda out: kept.extend(t.detach().clone() for t in tensors_in(out) if t.is_floating_point())
        )
        self._entering |= {number: watcher.seen() for number, watcher in watchers.items()}
        if self._outputs is None:
            self._outputs = kept

    def shift(self, taken: Taken, entering: Tensor, mask: Tensor) -> Tensor:
        """What constant entries add to each unit of a product, Σ w·entering over the masked elements, float64."""
        _, weight, _ = operands_of(taken.event)
        source = self.structure.recorded.elements(weight)
        assert source is not None
        elements = source[1].reshape(-1)
        values = self.parameters[taken.weight].detach().double().cpu().reshape(-1)[elements]
        terms = values * over_weight(taken.event, weight, entering).reshape(-1) * mask.reshape(-1)[elements]
        units = units_of_weight(taken.event, weight).reshape(-1)
        return torch.zeros(int(units.max()) + 1, dtype=torch.float64).index_add(0, units, terms)

    def fold(self, taken: Taken, shift: Tensor) -> bool:
        """Add `shift` to the result of a product by its bias or the running mean behind it; False where neither is."""
        with torch.no_grad():
            if taken.bias is not None and self.tensor(taken.bias).numel() == shift.numel():
                bias = self.tensor(taken.bias)
                bias.copy_((bias.double().reshape(-1) + shift.to(bias.device)).reshape(bias.shape))
                return True
            if taken.running_mean is not None and self.tensor(taken.running_mean).numel() == shift.numel():
                mean = self.tensor(taken.running_mean)
                mean.copy_(mean.double() - shift.to(mean.device))
                return True
        return not bool(shift.abs().max() > 0)


class _Watcher:
    """Takes mean, deviation, lowest and highest of what enters a product, along the axis that it sums over."""

    def __init__(self, event: Event) -> None:
        value, weight, _ = operands_of(event)
        self._position = next(i for i, argument in enumerate(event.call.args) if argument is value)
        self._kept = _kept_axes(event, value, weight)
        self._count = 0
        self._sum: Tensor | None = None
        self._shift = self._squares = self._low = self._high = torch.zeros(())

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        value = args[self._position].detach()
        others = [d for d in range(value.ndim) if d not in {k % value.ndim for k in self._kept}]
        count = int(np.prod([value.shape[d] for d in others])) if others else 1
        if count:
            wide = value.double()
            total = (wide.sum(others) if others else wide).cpu()
            shift = total / count if self._sum is None else self._shift
            apart = (wide - shift.to(wide.device).reshape(self._shape(wide, others))).square()
            squares = (apart.sum(others) if others else apart).cpu()
            low = (wide.amin(others) if others else wide).cpu()
            high = (wide.amax(others) if others else wide).cpu()
            if self._sum is None:
                self._sum, self._low, self._high = total, low, high
                self._shift, self._squares = shift, squares
            else:
                self._sum, self._low = self._sum + total, torch.minimum(self._low, low)
                self._squares = self._squares + squares
                self._high = torch.maximum(self._high, high)
            self._count += count
        return function(*args, **kwargs)

    def seen(self) -> Entering:
        if self._sum is None:
            raise InputError("the data must reach every layer that takes a unit; they reached one not at all")
        mean = self._sum / self._count
        variance = (self._squares / self._count - (mean - self._shift).square()).clamp(min=0)
        return Entering(mean, variance.sqrt(), self._low, self._high)

    @staticmethod
    def _shape(value: Tensor, others: Sequence[int]) -> tuple[int, ...]:
        return tuple(1 if d in others else size for d, size in enumerate(value.shape))


def _kept_axes(event: Event, value: Node, weight: Node) -> tuple[int, ...]:
    if is_convolution(event):
        return (1,)
    if event.operator.rows or len(value.shape) < 2:
        return (-1,)
    own = -2 if weight_comes_first(event, weight) else -1
    return (own, *(d for d in range(len(value.shape) - 2))) if len(weight.shape) > 2 else (own,)


def owned(owner: Tensor, units: Iterable[int]) -> Tensor:
    """Which elements belong to one of these units; a mask of the owner's shape."""
    wanted = torch.tensor(sorted(set(units)), dtype=torch.long)
    return torch.isin(owner, wanted) & (owner != NONE)


def relative_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """‖after − before‖ / ‖before‖ over all outputs; inf where only one of them is finite."""
    difference = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(after, before, strict=True))
    size = sum(float(b.double().square().sum()) for b in before)
    if difference == 0:
        return 0.0
    change = float(np.sqrt(difference / size)) if size > 0 else float("inf")
    return change if np.isfinite(change) else float("inf")

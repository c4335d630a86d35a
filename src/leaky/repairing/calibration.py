"""Layer by layer, in the order in which they run: every unit's pre-activation to zero mean and unit variance.

The batch goes through once: each layer's output is measured behind the layers that are already put right, its weights
and bias are changed, and the pass goes on with the new output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leaky.arguments import takes
from leaky.errors import InputError
from leaky.observation.calling import calling
from leaky.observation.following import follow, replay
from leaky.observation.forms import is_graph
from leaky.observation.options import DataArguments
from leaky.repairing.inputs import as_they_came
from leaky.repairing.snapshot import whole_or_not_at_all
from leaky.report.shown import Shown
from leaky.report.view import Column, Table, View, line, titled
from leaky.structure.history import History
from leaky.structure.layers import Layer, layers_of
from leaky.structure.modules import without_wrappers
from leaky.structure.operators import operator_named
from leaky.text import counted

_SMALLEST_DEVIATION = 1e-12

DEEP = 4
"""Rectifiers from which on only the layers that take the inputs are centred."""


NEAR = 2.0
"""Deviations from 0 within which a mean lets a unit fire on some samples and not on others."""


@dataclass(frozen=True)
class LayerRange:
    """What one layer put out before, over the batch.

    Attributes:
        weight: its name.
        mean: the largest |mean| of a unit.
        standard_deviation: √ of the mean variance of its units.
        constant_units: units without variance, whose weights were left as they are.
        centred: whether there was a bias to take the mean away with.
    """

    weight: str
    mean: float
    standard_deviation: float
    constant_units: int
    centred: bool


@dataclass(frozen=True, repr=False)
class Calibration(Shown):
    """What `leaky.calibrate` did.

    Attributes:
        layers: in the order in which they run, as they were before.
        left_alone: names of weights that were not touched, and why.
    """

    layers: tuple[LayerRange, ...]
    left_alone: tuple[tuple[str, str], ...]

    def __repr__(self) -> str:
        return f"<Calibration of {counted(len(self.layers), 'layer')}>"

    def view(self) -> View:
        """What a reader is shown: what each layer put out before, and what was left alone."""
        numbers = (Column(name, numbers=True) for name in ("largest mean", "deviation", "constant units"))
        columns = (Column("weight"), *numbers, Column("centred"))
        left = (titled("left alone", f"{name}: {reason}", "quiet", indent=1) for name, reason in self.left_alone)
        title = f"{counted(len(self.layers), 'layer')} brought to size 1; before:"
        return (line(title, "strong"), Table(columns, tuple(map(_row, self.layers))), *left)


def _row(layer: LayerRange) -> tuple[str, ...]:
    figures = (f"{layer.mean:.4g}", f"{layer.standard_deviation:.4g}", f"{layer.constant_units:,}")
    return (layer.weight, *figures, "yes" if layer.centred else "no")


@dataclass(frozen=True)
class CalibrateArguments(DataArguments):
    """What is calibrated, and how: the arguments of `leaky.calibrate`.

    Attributes:
        model: changed in place; on an exception it is put back as it was. Runs in eval mode.
        data: one batch; what would be cut up runs whole, and of several batches the first counts.
        centre: True for every layer, False for none; by default for the layers that take the inputs, and for all where
            fewer than four rectifiers run.
    """

    model: nn.Module
    data: Any
    _: KW_ONLY
    centre: bool | None = None


@takes(CalibrateArguments)
def calibrate(given: CalibrateArguments) -> Calibration:
    """Bring every layer's pre-activations to size 1 over the batch, by the gain of its weights, and centre them.

    Where a layer is centred, each unit gets zero mean and unit variance, by its bias and its own gain; where not, one
    gain for the layer brings the mean square of its pre-activations to 1. The layers keep the directions of their
    weights. Behind a rectifier the variance of what is centred is .34 where the second moment is .5, so that centring
    asks for weights √1.47 times as large as the signal's size does, and gradients grow so much in every layer: ten
    plain layers fall from 89.1 to 74.7 % on digits by it (docs/repair.md). Deep networks are therefore centred at
    their inputs only.

    Returns:
        The Calibration: mean and deviation of what each layer put out before, and what was left alone.

    Raises:
        InputError: if the model has no layer to calibrate, or runs otherwise on the batch than on its first samples.

    Source:
        Mishkin & Matas, "All you need is a good init", 2016; Krähenbühl et al., "Data-dependent initializations", 2016.
    """
    return calibrated(given)


def calibrated(given: CalibrateArguments, *, first_use: bool = False, within: float | None = None) -> Calibration:
    """As `calibrate`, also for what has learned something.

    Args:
        given: what is calibrated.
        first_use: whether a weight that runs several times is put right where it runs first.
        within: the factor from 1 within which a layer's deviation stays as it is; the others come back to 1 by one
            gain of their weights, and only units that their bias then holds on one side are centred. None for `centre`.
    """
    model, data = given.model, given.data
    whole = [data] if isinstance(data, Tensor) or not hasattr(data, "__iter__") or _is_whole(data) else data
    first = calling(whole if isinstance(whole, dict) else _first_of(whole), given.forward)
    history = follow(model, first)
    layers, left_alone = _chosen(layers_of(model, history), first_use)
    if not layers:
        raise InputError(f"the model must run a layer with weights of its own once; {type(model).__name__} runs none")
    named = {without_wrappers(name): p for name, p in model.named_parameters(remove_duplicate=False)}
    ranges: list[LayerRange] = []
    by_event = {layer.event.number: layer for layer in layers}
    centred = _centred(history, by_event, given.centre)
    handlers = {
        n: _Calibrated(layer, named, ranges, n in centred) if within is None else _Eased(layer, named, ranges, within)
        for n, layer in by_event.items()
    }

    def put_right() -> Calibration:
        replay(model, history, first, handlers)
        return Calibration(tuple(ranges), left_alone)

    return whole_or_not_at_all(model, put_right)


def _first_of(batches: Iterable[Any]) -> list[Any]:
    for batch in batches:
        return [batch]
    raise InputError("data must have a batch, and nothing came")


def _centred(history: History, layers: Mapping[int, Layer], centre: bool | None) -> set[int]:
    """The layers of which each unit is centred, by the event's number."""
    if centre is not None:
        return set(layers) if centre else set()
    if sum(event.site is not None for event in history.events) < DEEP:
        return set(layers)
    came = as_they_came(history)
    return {number for number, layer in layers.items() if any(node.index in came for node in layer.event.call.nodes)}


def _is_whole(batch: Any) -> bool:
    return hasattr(batch, "__array__") or is_graph(batch)


def _chosen(layers: list[Layer], first_use: bool) -> tuple[list[Layer], tuple[tuple[str, str], ...]]:
    """The layers to put right, each weight once, and why others are left alone."""
    uses = Counter(layer.production.weight for layer in layers)
    reasons = {
        layer.production.weight: "its gates run inside one operation"
        for layer in layers
        if len(layer.event.results) > 1
    }
    reasons |= {layer.production.weight: "it is frozen" for layer in layers if not layer.weight.requires_grad}
    if not first_use:
        reasons |= {name: f"it is used {count} times in one pass" for name, count in uses.items() if count > 1}
    found: dict[str, Layer] = {}
    for layer in layers:
        if layer.production.weight not in reasons:
            found.setdefault(layer.production.weight, layer)
    return list(found.values()), tuple(reasons.items())


class _Calibrated:
    """Runs one layer, puts its weight and bias right, and runs it again."""

    def __init__(self, layer: Layer, named: dict[str, nn.Parameter], ranges: list[LayerRange], centred: bool) -> None:
        self._layer = layer
        self._centred = centred
        self._ranges = ranges
        self._weight = layer.weight
        added = [name for node in layer.event.call.nodes if len(node.shape) == 1 for name in node.weights]
        self._added = next((named[name] for name in added if name in named), None)
        own, _, last = layer.production.weight.rpartition(".")
        beside = named.get(f"{own}.bias" if own else "bias") if last == "weight" else None
        self._bias = self._added if self._added is not None else beside

    def __call__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        output = function(*args, **kwargs)
        dim = self._unit_dim(output)
        others = [d for d in range(output.ndim) if d != dim]
        values = output.double()
        deviation, mean = torch.std_mean(values, dim=others, correction=0)
        if not bool(torch.isfinite(deviation).all() and torch.isfinite(mean).all()):
            raise InputError(
                f"what {self._layer.production.weight} puts out on these data must be finite, to be brought to size 1; "
                "look for NaN or infinity in the data and the weights"
            )
        varies = deviation > _SMALLEST_DEVIATION * mean.abs().clamp(min=1e-30)
        gain = torch.where(varies, 1 / deviation.clamp(min=1e-300), torch.ones_like(deviation))
        if not self._centred:
            size = values.square().mean().sqrt()
            gain = torch.full_like(deviation, float(1 / size) if float(size) > 0 else 1.0)
        self._ranges.append(
            LayerRange(
                self._layer.production.weight,
                float(mean.abs().max()),
                float(deviation.square().mean().sqrt()),
                int((~varies).sum()),
                self._centred and self._bias is not None,
            )
        )
        self._change(gain, mean, deviation * varies)
        return function(*args, **kwargs)

    def _unit_dim(self, output: Tensor) -> int:
        axes = self._layer.event.results[0].axes
        return next((d for d, axis in enumerate(axes) if any(f.role == "unit" for f in axis)), output.ndim - 1)

    def _change(self, gain: Tensor, mean: Tensor, _: Tensor) -> None:
        shape = _along_units(self._layer, gain)
        self._weight.mul_(shape.to(self._weight.dtype))
        if self._bias is not None and not self._centred:
            if self._added is not None:
                self._bias.mul_(gain.to(self._bias.dtype))
        elif self._bias is not None:
            inside = self._bias.double() if self._added is not None else torch.zeros_like(mean)
            self._bias.copy_((inside - mean) * gain)


class _Eased(_Calibrated):
    """The same for a layer that has learned something: one gain, where its size is off, and few biases."""

    def __init__(self, layer: Layer, named: dict[str, nn.Parameter], ranges: list[LayerRange], within: float) -> None:
        super().__init__(layer, named, ranges, centred=True)
        self._within = within

    def _change(self, gain: Tensor, mean: Tensor, deviation: Tensor) -> None:
        varies = deviation > 0
        size = float(deviation[varies].square().mean().sqrt()) if bool(varies.any()) else 1.0
        odd = not 1 / self._within <= size <= self._within
        factor = 1 / size if odd else 1.0
        self._weight.mul_(factor)
        if self._added is None:
            return
        bias = self._added.double()
        inside = (mean - bias) * factor
        held = (inside + bias).abs() > NEAR * deviation * factor
        centred = varies & (held if self._layer.follows is not None else torch.full_like(varies, odd))
        self._added.copy_(torch.where(centred, -inside, bias))


def _along_units(layer: Layer, gain: Tensor) -> Tensor:
    """A factor a unit, shaped to be multiplied with the layer's weight."""
    weight, production = layer.weight, layer.production
    if production.kind == "transposed_convolution":
        per_group = gain.reshape(production.groups, 1, -1)
        inputs = weight.shape[0] // production.groups
        rows = per_group.expand(-1, inputs, -1).reshape(weight.shape[0], weight.shape[1])
        return rows.reshape(*rows.shape, *(1,) * (weight.ndim - 2))
    if production.kind == "linear" and _units_last(layer):
        return gain
    return gain.reshape(-1, *(1,) * (weight.ndim - 1))


def _units_last(layer: Layer) -> bool:
    """Whether the matrix was taken as (inputs, units), as x @ W takes it."""
    name = layer.production.weight
    taken = next(node for node in layer.event.call.nodes if name in node.weights)
    flipped = operator_named(taken.operation).reorders
    left = any(taken is argument for argument in layer.event.call.args[:1])
    return not flipped and not left and not layer.event.operator.rows

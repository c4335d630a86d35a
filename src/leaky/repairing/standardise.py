"""Standardising a model's inputs inside its first layers, without moving the function.

With u = (x − μ)/σ a layer W·x + b is (W·σ)·u + (b + W·μ): the same function of x, but one whose weights all see inputs
of the same size, which is what initialisations and learning rates take for granted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.repairing.ground import Entering, Ground
from leaky.repairing.initialization import Layer
from leaky.repairing.snapshot import Snapshot
from leaky.structure.history import History

SIZES = (0.01, 10.0)
"""Root mean squares between which inputs are of a size that needs nothing done."""

MOST_SPREAD = 30.0
"""Largest ÷ median deviation of the features from which on they are of too different a size."""

MOST_OFFSET = 10.0
"""|mean| ÷ deviation, in the median of the features, from which on the mean drowns what tells inputs apart."""

_AS_IT_CAME = frozenset(
    {"view", "_unsafe_view", "reshape", "_reshape_alias", "unsqueeze", "squeeze", "clone", "contiguous", "detach"}
    | {"alias", "_to_copy", "permute", "transpose", "t", "flatten", "unflatten", "reflection_pad1d"}
    | {"reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d", "replication_pad3d"}
)


class Standardised(nn.Module):
    """A layer that standardises its input first; the mean and the scale are buffers."""

    input_mean: Tensor
    input_scale: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """The layer of (x − mean)·scale."""
        return super().forward((x - self.input_mean) * self.input_scale)  # type: ignore[no-any-return]


class StandardisedLinear(Standardised, nn.Linear):
    """`nn.Linear` of a standardised input."""


class StandardisedConv1d(Standardised, nn.Conv1d):
    """`nn.Conv1d` of a standardised input."""


class StandardisedConv2d(Standardised, nn.Conv2d):
    """`nn.Conv2d` of a standardised input."""


class StandardisedConv3d(Standardised, nn.Conv3d):
    """`nn.Conv3d` of a standardised input."""


_STANDARDISED: dict[type[nn.Module], type[Standardised]] = {
    nn.Linear: StandardisedLinear,
    nn.Conv1d: StandardisedConv1d,
    nn.Conv2d: StandardisedConv2d,
    nn.Conv3d: StandardisedConv3d,
}


@dataclass(frozen=True)
class InputRange:
    """What enters one of the model's first layers.

    Attributes:
        module: qualified name of the layer.
        size: root mean square over all features and samples.
        spread: largest ÷ median deviation of a feature, constant ones apart.
        offset: median of |mean| ÷ deviation over the features, constant ones apart.
        refusal: why it cannot be standardised from outside; None where it can.
    """

    module: str
    size: float
    spread: float
    offset: float
    refusal: str | None

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, in words; None where nothing is."""
        if not SIZES[0] <= self.size <= SIZES[1]:
            return f"inputs have a root mean square of {self.size:.3g}, where about 1 is taken for granted"
        if self.spread > MOST_SPREAD:
            return f"the largest deviation of a feature is {self.spread:.3g} times the median one"
        if self.offset > MOST_OFFSET:
            return f"the features' means are {self.offset:.3g} times their deviations"
        return None


def input_ranges(ground: Ground) -> tuple[InputRange, ...]:
    """What enters every layer that takes the model's input as it came, up to its shape."""
    first = _first_layers(ground)
    entering = ground.entering(layer.step for layer in first)
    return tuple(_range(ground, layer, entering[layer.step.number]) for layer in first)


def standardise(model: nn.Module, batches: Any, *, modules: Sequence[str] | None = None) -> tuple[str, ...]:
    """Let the model's first layers standardise their inputs, feature by feature, without moving the function.

    A convolution standardises channel by channel; one that pads with zeros, or has no bias, scales alone.

    Args:
        model: changed in place; parameters stay the same objects. On an exception it is put back.
        batches: the evidence, as `leaky.observe` takes them.
        modules: which first layers; all that can be by default.

    Returns:
        The names of the layers that were changed. Each has the new buffers `input_mean` and `input_scale`.

    Raises:
        InputError: if a named layer cannot be standardised; the message says why.
    """
    return standardise_on(Ground(model, batches), modules)


def standardise_on(ground: Ground, modules: Sequence[str] | None = None) -> tuple[str, ...]:
    """`standardise` for a model whose structure is known; that structure is out of date afterwards."""
    first = {layer.step.module: layer for layer in _first_layers(ground)}
    chosen = [name for name, layer in first.items() if _refusal(ground, layer) is None] if modules is None else modules
    for name in chosen:
        reason = _refusal(ground, first[name]) if name in first else "it does not take the model's input as it came"
        if reason is not None:
            raise InputError(f"the input of {name!r} cannot be standardised: {reason}")
    entering = ground.entering(first[name].step for name in chosen)
    snapshot = Snapshot(ground.model)
    try:
        with torch.no_grad():
            for name in chosen:
                _standardise(ground, first[name], entering[first[name].step.number])
    except BaseException:
        snapshot.restore()
        raise
    return tuple(chosen)


def put_standardised(model: nn.Module, path: str) -> Standardised:
    """Put the standardising kind of a layer in its place, with mean 0 and scale 1; its parameters stay its own.

    Raises:
        InputError: if there is no such layer, or none that has a standardising kind.
    """
    old = dict(model.named_modules()).get(path)
    kind = _STANDARDISED.get(type(old)) if old is not None else None
    if old is None or kind is None or not path:
        shown = "nothing" if old is None else type(old).__name__
        raise InputError(f"{path!r} must be a Linear or a convolution inside the model; it is {shown}")
    new = kind.__new__(kind)
    new.__dict__.update({key: dict(value) if type(value) is dict else value for key, value in old.__dict__.items()})
    weight: Any = old.weight
    features = old.in_features if isinstance(old, nn.Linear) else old.in_channels
    shape = (features, *(1,) * (weight.ndim - 2))
    new.register_buffer("input_mean", weight.new_zeros(shape, requires_grad=False))
    new.register_buffer("input_scale", weight.new_ones(shape, requires_grad=False))
    model.set_submodule(path, new)
    return new


def _first_layers(ground: Ground) -> list[Layer]:
    came = _as_they_came(ground.history)
    return [
        layer
        for layer in ground.layers.values()
        if any(node.from_data and node.index in came for node in layer.step.call.nodes)
    ]


def _as_they_came(history: History) -> set[int]:
    """The nodes that are the model's inputs, up to their shape."""
    came = {node.index for node in history.inputs}
    for step in history.steps:
        data = [node for node in step.call.nodes if node.from_data]
        if step.call.name in _AS_IT_CAME and len(data) == 1 and data[0].index in came:
            came.update(node.index for node in step.results)
    return came


def _range(ground: Ground, layer: Layer, seen: Entering) -> InputRange:
    mean, deviation = _figures(ground, layer, seen)
    varied = deviation > 0
    size = math.sqrt(float((mean.square() + deviation.square()).mean()))
    spread = float(deviation[varied].max() / deviation[varied].median()) if bool(varied.any()) else 1.0
    offset = float((mean.abs() / deviation)[varied].median()) if bool(varied.any()) else 0.0
    return InputRange(layer.step.module, size, spread, offset, _refusal(ground, layer))


def _figures(ground: Ground, layer: Layer, seen: Entering) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature, which one feature alone cannot be told from rounding below a limit."""
    mean = seen.mean.reshape(-1)
    deviation = seen.deviation.reshape(-1)
    return mean, torch.where(deviation > 1e-6 * mean.abs(), deviation, torch.zeros_like(deviation))


def _refusal(ground: Ground, layer: Layer) -> str | None:
    path = layer.step.module
    module = ground.model.get_submodule(path) if path else None
    weight = getattr(module, "weight", None)
    if module is None or type(module) not in _STANDARDISED or weight is not layer.weight:
        return "only a Linear or a convolution that is a module of its own is changed; standardise the data instead"
    uses = [other for other in ground.layers.values() if other.weight is layer.weight]
    if len(uses) > 1:
        return f"{layer.production.weight} runs {len(uses)} times in one pass; standardise the data instead"
    return None


def _shifted(layer: nn.Module) -> bool:
    """Whether a mean may be taken away: there is a bias to put it into, and no zeros are padded beside it."""
    padding: Any = getattr(layer, "padding", "valid")
    pads = padding == "same" if isinstance(padding, str) else any(side != 0 for side in padding)
    return layer.bias is not None and (not pads or getattr(layer, "padding_mode", "zeros") != "zeros")


def _standardise(ground: Ground, layer: Layer, seen: Entering) -> None:
    mean, deviation = _figures(ground, layer, seen)
    new = put_standardised(ground.model, layer.step.module)
    weight = layer.weight
    size = torch.sqrt(mean.square() + deviation.square())
    shifted = _shifted(new)
    measure = deviation if shifted else size
    scale = torch.where(measure > 0, 1 / measure.clamp(min=1e-300), torch.ones_like(measure))
    centre = mean if shifted else torch.zeros_like(mean)
    scale32, centre32 = scale.to(weight.dtype), centre.to(weight.dtype)
    new.input_scale.copy_(scale32.reshape(new.input_scale.shape))
    new.input_mean.copy_(centre32.reshape(new.input_mean.shape))
    _absorb(new, weight, centre32.double(), scale32.double())


def _absorb(new: nn.Module, weight: Tensor, centre: Tensor, scale: Tensor) -> None:
    """W ← W/scale and b ← b + Σ W·centre, over each group's own inputs."""
    groups = int(getattr(new, "groups", 1))
    blocks = weight.detach().double().cpu().reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    per_group = (groups, 1, weight.shape[1], 1)
    shift = (blocks * centre.reshape(per_group)).sum((2, 3)).reshape(-1)
    weight.copy_((blocks / scale.reshape(per_group)).reshape(weight.shape))
    if isinstance(new.bias, Tensor):
        new.bias.copy_(new.bias.detach().double().cpu() + shift)

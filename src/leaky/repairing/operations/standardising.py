"""Standardising a model's inputs inside its first layers, without moving the function.

With u = (x − μ)/σ a layer W·x + b is (W·σ)·u + (b + W·μ): the same function of x, but one whose weights all see inputs
of the same size, which is what initialisations and learning rates take for granted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from leaky.errors import InputError
from leaky.repairing.ground import Entering, Ground, relative_change
from leaky.repairing.inputs import as_they_came
from leaky.repairing.operations.operation import Operation, place_of
from leaky.repairing.operations.standardised import KINDS, Standardised, standardised_of
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject
from leaky.structure.history import Event
from leaky.structure.layers import Layer

LEAST_REACH, MOST_SIZE = 0.01, 10.0
"""Least largest magnitude, and most root mean square, of the middle feature with which nothing needs to be done:
one-hot features reach 1 however rare they are, and standard ones have a size of 1 however far out they reach."""

MOST_SPREAD = 30.0
"""Largest ÷ median of the features' deviations (see `RAREST`) from which on they are of too different a size."""

MOST_OFFSET = 10.0
"""|mean| ÷ deviation, in the median of the features, from which on the mean drowns what tells inputs apart."""

RAREST = 8.0
"""A feature's deviation counts as at least this part of its range: the weights of one that is nearly always the same
would otherwise take steps many times as long as the others'."""

MOST_CHANGE = 1.0
"""The relative change of the outputs that is taken for rounding, in √ε of their type: 3e-4 in float32."""


@dataclass(frozen=True)
class InputRange:
    """What enters one of the model's first layers.

    Attributes:
        module: qualified name of the layer.
        size: median over the features of the root mean square, constant features apart.
        reach: median over the features of the largest magnitude.
        spread: largest ÷ median of the features' deviations.
        offset: median of |mean| ÷ deviation over the features, constant ones apart.
        normalised: whether a BatchNorm right behind the layer undoes any size and offset.
        refusal: why it cannot be standardised from outside; None where it can.
    """

    module: str
    size: float
    reach: float
    spread: float
    offset: float
    normalised: bool
    refusal: str | None

    @property
    def constant(self) -> bool:
        """Whether all samples are the same."""
        return self.reach == 0

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, in words; None where nothing is."""
        if self.constant:
            return None
        if not self.normalised and not (self.reach >= LEAST_REACH and self.size <= MOST_SIZE):
            return f"its inputs have a size of {self.size:.3g} (the middle feature), where about 1 is taken for granted"
        if self.spread > MOST_SPREAD:
            return f"its largest input feature varies {self.spread:.3g} times as much as the middle one"
        if not self.normalised and self.offset > MOST_OFFSET:
            return f"its input features have means of {self.offset:.3g} times their deviations"
        return None


def first_events(ground: Ground) -> list[Event]:
    """The operations of the layers that take the model's input as it came, up to its shape."""
    return [layer.event for layer in _first_layers(ground)]


def input_ranges(ground: Ground) -> tuple[InputRange, ...]:
    """What enters every layer that takes the model's input as it came, up to its shape."""
    first = _first_layers(ground)
    entering = ground.entering(layer.event for layer in first)
    return tuple(_range(ground, layer, entering[layer.event.number]) for layer in first)


def standardise(model: nn.Module, data: Any, *, modules: Sequence[str] | None = None) -> tuple[str, ...]:
    """Let the model's first layers standardise their inputs, feature by feature, without moving the function.

    A convolution standardises channel by channel; one that pads with zeros, or has no bias, scales alone.

    Args:
        model: changed in place; parameters stay the same objects. On an exception it is put back.
        data: the evidence, as `leaky.observe` takes them.
        modules: which first layers; all that can be by default.

    Returns:
        The names of the layers that were changed. Each has the new buffers `input_mean` and `input_scale`.

    Raises:
        InputError: if a named layer cannot be standardised, or the function would move; the message says why.
    """
    return _standardise_layers(Subject(model, data), modules)


def _standardise_layers(subject: Subject, modules: Sequence[str] | None = None) -> tuple[str, ...]:
    ground = subject.ground
    first = {layer.event.module: layer for layer in _first_layers(ground)}
    chosen = [name for name, layer in first.items() if _refusal(ground, layer) is None] if modules is None else modules
    for name in chosen:
        reason = _refusal(ground, first[name]) if name in first else "it does not take the model's input as it came"
        if reason is not None:
            raise InputError(f"the input of {name!r} cannot be standardised: {reason}")
    entering, before = ground.entering(first[name].event for name in chosen), ground.outputs()
    with subject.undone_on_error():
        with torch.no_grad():
            for name in chosen:
                _standardise(ground, first[name], entering[first[name].event.number])
        subject.changed(modules=True)
        _check(chosen, before, subject.outputs)
    return tuple(chosen)


def _check(chosen: Sequence[str], before: list[Tensor], after: list[Tensor]) -> None:
    """That the function has stayed: what a model does with its layers beside running them cannot all be seen."""
    change = relative_change(before, after)
    finest = min((torch.finfo(out.dtype).eps for out in after), default=1.0)
    if not change <= MOST_CHANGE * math.sqrt(finest):
        raise InputError(
            f"standardising the inputs of {', '.join(map(repr, chosen))} would move the outputs by {change:.3g} of "
            "their size: the model uses the layer or its weights elsewhere too, or its numbers are too coarse; "
            "standardise the data instead"
        )


def put_standardised(model: nn.Module, path: str) -> Standardised:
    """Put the standardising kind of a layer in its place, with mean 0 and scale 1; its parameters stay its own.

    Raises:
        InputError: if there is no such layer, or none that has a standardising kind.
    """
    old = dict(model.named_modules()).get(path)
    if old is None or type(old) not in KINDS or not path:
        shown = "nothing" if old is None else f"a {type(old).__name__}"
        raise InputError(f"{path!r} must be a Linear or a convolution inside the model; it is {shown}")
    new = standardised_of(old)
    model.set_submodule(path, new)
    return new


def _first_layers(ground: Ground) -> list[Layer]:
    came = as_they_came(ground.history)

    def takes_inputs(event: Event) -> bool:
        return event.operator.operands is not None and any(
            node.from_data and node.index in came for node in event.call.nodes
        )

    return [layer for layer in ground.layers.values() if takes_inputs(layer.event)]


def _range(ground: Ground, layer: Layer, seen: Entering) -> InputRange:
    mean, deviation, reach = _figures(seen)
    varied = deviation > 0
    normalised = any(
        any(norm.norm for norm in made.norms)
        for site in ground.structure.sites.values()
        for made in site.made
        if made.event is layer.event
    )
    if not bool(varied.any()):
        return InputRange(layer.event.module, 0.0, 0.0, 1.0, 0.0, normalised, _refusal(ground, layer))
    size = (mean.square() + seen.deviation.reshape(-1).square()).sqrt()
    spread = float(deviation[varied].max() / deviation[varied].median())
    offset = float((mean.abs() / deviation)[varied].median())
    middle, far = float(size[varied].median()), float(reach[varied].median())
    return InputRange(layer.event.module, middle, far, spread, offset, normalised, _refusal(ground, layer))


def _figures(seen: Entering) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, deviation and largest magnitude of each feature; a deviation within rounding of the mean is 0."""
    mean, deviation = seen.mean.reshape(-1), seen.deviation.reshape(-1)
    low, high = seen.low.reshape(-1), seen.high.reshape(-1)
    rare = torch.maximum(deviation, (high - low) / RAREST)
    return (
        mean,
        torch.where(deviation > 1e-6 * mean.abs(), rare, torch.zeros_like(rare)),
        torch.maximum(low.abs(), high.abs()),
    )


def _refusal(ground: Ground, layer: Layer) -> str | None:
    path, weight = layer.event.module, layer.weight
    module = dict(ground.model.named_modules()).get(path) if path else None
    if module is None or type(module) not in KINDS or module._parameters.get("weight") is not weight:
        return "only a Linear or a convolution that is a module of its own is changed; standardise the data instead"
    bias = module.bias
    if (bias is not None and module._parameters.get("bias") is not bias) or module._compiled_call_impl is not None:
        return "its bias is computed from something else, or it is compiled by itself; standardise the data instead"
    if not weight.requires_grad:
        return "it is frozen; standardise the data instead"
    names = [name for name, other in ground.model.named_modules(remove_duplicate=False) if other is module]
    if len(names) > 1:
        return f"it stands in the model {len(names)} times ({', '.join(names[:3])}); standardise the data instead"
    own = {name for name, parameter in ground.parameters.items() if parameter is weight or parameter is bias}
    uses = [
        event for event in ground.history.events if event.results and event.results[0].from_data and _takes(event, own)
    ]
    if len(own) > 1 + (bias is not None) or uses != [layer.event]:
        return f"{layer.production.weight} or its bias is used elsewhere too; standardise the data instead"
    return None


def _takes(event: Event, names: set[str]) -> bool:
    return any(not node.from_data and names.intersection(node.weights) for node in event.call.nodes)


def _shifted(layer: nn.Module) -> bool:
    """Whether a mean may be taken away: there is a bias to put it into, and no zeros are padded beside it."""
    padding: Any = getattr(layer, "padding", "valid")
    pads = padding == "same" if isinstance(padding, str) else any(side != 0 for side in padding)
    return layer.bias is not None and (not pads or getattr(layer, "padding_mode", "zeros") != "zeros")


def _standardise(ground: Ground, layer: Layer, seen: Entering) -> None:
    mean, deviation, _ = _figures(seen)
    new = put_standardised(ground.model, layer.event.module)
    size = torch.sqrt(mean.square() + deviation.square())
    shifted = _shifted(new)
    measure = deviation if shifted else size
    scale = torch.where(measure > 0, 1 / measure, torch.ones_like(measure))
    centre = mean if shifted else torch.zeros_like(mean)
    dtype = layer.weight.dtype
    new.input_scale.copy_(scale.reshape(new.input_scale.shape))
    new.input_mean.copy_(centre.reshape(new.input_mean.shape))
    _absorb(new, centre.to(dtype).double(), scale.to(dtype).double())


def _absorb(new: Standardised, centre: Tensor, scale: Tensor) -> None:
    """W ← W/scale and b ← b + Σ W·centre, over each group's own inputs."""
    weight = new.weight
    groups = int(getattr(new, "groups", 1))
    blocks = weight.detach().double().cpu().reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)
    per_group = (groups, 1, weight.shape[1], 1)
    shift = (blocks * centre.reshape(per_group)).sum((2, 3)).reshape(-1)
    weight.copy_((blocks / scale.reshape(per_group)).reshape(weight.shape))
    if new.bias is not None:
        new.bias.copy_(new.bias.detach().double().cpu() + shift)


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    name = place_of(wanted)
    first = {layer.event.module: layer for layer in _first_layers(subject.ground)}
    reason = _refusal(subject.ground, first[name]) if name in first else "it does not take the model's input as it came"
    if reason is not None:
        return None, (Left(name, (), f"{wanted.reason}, but {reason}"),)
    kind = type(subject.ground.model.get_submodule(name)).__name__
    change = (
        f"{name}: {kind} becomes Standardised{kind}; the state dict gets the keys {name}.input_mean and "
        ".input_scale, so that leaky.apply_recipe must prepare a model for it"
    )
    return replace(wanted, changes=(change,)), ()


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    """The weights are other ones then, of another size: what the optimizer knows of them begins anew."""
    for path in _standardise_layers(subject, [*map(place_of, actions)]):
        subject.forget_state(list(subject.model.get_submodule(path).parameters(recurse=False)))


STANDARDISE = Operation(
    kind="standardise",
    needs="a first layer that is a Linear or a convolution of its own",
    promises="the function, up to rounding",
    keeps_function=True,
    able=_able,
    carry_out=_carry_out,
)

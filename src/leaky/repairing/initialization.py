"""Initialisation with the gain of the slope that really follows each layer.

Every layer of the model that the pass runs through is found by what it does, not by its class, so that functional calls
and rectifiers in another module count. What is left alone is listed with the reason.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from leaky import theory
from leaky.arguments import takes
from leaky.checking import finite, seed_of, some_of
from leaky.errors import InputError
from leaky.observation.calling import calling
from leaky.observation.following import follow
from leaky.observation.options import DataArguments
from leaky.repairing.left_alone import reasons_of
from leaky.repairing.snapshot import whole_or_not_at_all
from leaky.report.shown import Shown
from leaky.report.view import Column, Table, View, line, titled
from leaky.structure.activations import Activation
from leaky.structure.graph import Node
from leaky.structure.history import Event, History
from leaky.structure.layers import Layer, layers_of
from leaky.structure.modules import without_wrappers
from leaky.structure.residuals import residuals
from leaky.text import counted

Mode = Literal["fan_in", "fan_out"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class LayerStart:
    """How one layer was initialised.

    Attributes:
        weight: its name.
        kind: "linear", "convolution" or "transposed_convolution".
        activation: what follows it: the name of the activation; None where none does.
        negative_slope: of that; None where it is smooth or none follows.
        gain: √(1/E[f(z)²]) for z ~ N(0, 1), times the residual scale.
        fan: connections that the variance is divided by.
        standard_deviation: of the weights, gain/√fan.
    """

    weight: str
    kind: str
    activation: str | None
    negative_slope: float | None
    gain: float
    fan: float
    standard_deviation: float


@dataclass(frozen=True, repr=False)
class Initialization(Shown):
    """What `leaky.initialize` did.

    Attributes:
        layers: in the order in which they run.
        residual_scale: the factor on the last layer, or norm, of every residual branch; 1 without residual additions.
        left_alone: names of weights with two dimensions or more that were not touched, and why.
        orthogonal: whether the weights are.
    """

    layers: tuple[LayerStart, ...]
    residual_scale: float
    left_alone: tuple[tuple[str, str], ...]
    orthogonal: bool = True

    def __repr__(self) -> str:
        return f"<Initialization of {counted(len(self.layers), 'weight')}>"

    def view(self) -> View:
        """What a reader is shown: a row each weight, and what was left alone."""
        kind = "orthogonal" if self.orthogonal else "independent"
        title = f"{counted(len(self.layers), 'weight')} drawn anew ({kind}), biases 0:"
        numbers = (Column(name, numbers=True) for name in ("slope", "gain", "fan", "deviation"))
        table = Table((Column("weight"), Column("followed by"), *numbers), tuple(map(_row, self.layers)))
        scaled = f"the last layer, or norm, of each residual branch is scaled by {self.residual_scale:.4g}"
        residual = (line(scaled, indent=1),) if self.residual_scale != 1 else ()
        left = (titled("left alone", f"{name}: {reason}", "quiet", indent=1) for name, reason in self.left_alone)
        return (line(title, "strong"), table, *residual, *left)


def _row(layer: LayerStart) -> tuple[str, ...]:
    slope = "–" if layer.negative_slope is None else f"{layer.negative_slope:.4g}"
    figures = (f"{layer.gain:.4f}", f"{layer.fan:.4g}", f"{layer.standard_deviation:.4g}")
    return (layer.weight, layer.activation or "–", slope, *figures)


def gain_of(activation: Activation | None, negative_slope: float | None = None) -> float:
    """√(1/E[f(z)²]) for z ~ N(0, 1): √(2/(1+α²)) for a leaky ReLU; 1 where nothing follows.

    Args:
        activation: what follows; its own gain and bounds are taken into account.
        negative_slope: to put in the place of a rectifier's own.
    """
    if activation is None:
        return 1.0
    if activation.smooth:
        return _smooth_gain(activation.name)
    slopes = np.asarray(activation.negative_slope if negative_slope is None else negative_slope, np.float64)
    return theory.gain(float(np.sqrt(np.mean(slopes**2)))) / activation.gain


def _smooth_gain(name: str) -> float:
    modules = {"GELU": nn.GELU, "SiLU": nn.SiLU, "Mish": nn.Mish, "Hardswish": nn.Hardswish, "ELU": nn.ELU}
    modules |= {"Tanh": nn.Tanh, "Sigmoid": nn.Sigmoid, "Softsign": nn.Softsign, "Tanhshrink": nn.Tanhshrink}
    modules |= {"SELU": nn.SELU, "CELU": nn.CELU, "Softplus": nn.Softplus}
    if name not in modules:
        return 1.0
    z = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    density = torch.exp(-z * z / 2)
    second = (density * modules[name]()(z) ** 2).sum() / density.sum()
    return float(1 / second.sqrt())


@dataclass(frozen=True)
class InitializeArguments(DataArguments):
    """What is initialised, and how: the arguments of `leaky.initialize`.

    Attributes:
        model: changed in place; the parameters stay the same objects. On an exception it is put back as it was.
        data: they show what follows what; without data, inputs that the first layer would take are tried.
        negative_slope: α of every rectifier, for a model whose slopes are not in it yet; by default each one's own.
        mode: "fan_in" keeps the activations' second moment, "fan_out" the gradients'.
        orthogonal: False draws N(0, gain²/fan) instead: in networks deeper than they are wide, independent weights let
            the signal's size wander (docs/repair.md has the measurement).
        include: names of weights to initialise although they would be left alone.
        seed: of the weights; by default torch's generator goes on.
    """

    model: nn.Module
    data: Any = None
    _: KW_ONLY
    negative_slope: float | None = None
    mode: Mode = "fan_in"
    orthogonal: bool = True
    include: Collection[str] = ()
    seed: int | None = None


@takes(InitializeArguments)
def initialize(given: InitializeArguments) -> Initialization:
    """Draw every layer's weights orthogonal, with the gain of the activation that follows it; zero biases.

    Rows, or columns where there are fewer, are orthogonal, and entries have the variance gain²/fan. The gain is
    √(2/(1+α²)) where a leaky ReLU of slope α follows and 1 where nothing does. The last layer of each of R residual
    branches is scaled by 1/√R, so that the sum does not grow with depth; where a normalisation ends the branch, its
    scale is. Normalisation layers start anew. Attention, recurrent layers, embeddings, tied and frozen weights and
    parameters of modules of your own are left alone and listed.

    Returns:
        What was done, layer by layer; printed, it is a table.

    Raises:
        InputError: if the mode is unknown, the model has no such layer, or no input can be guessed.

    Source:
        He et al., "Delving deep into rectifiers", 2015; residual scale: Zhang et al., "Fixup initialization", 2019.
    """
    model, mode, seed = given.model, given.mode, seed_of(given.seed)
    if mode not in MODES:
        raise InputError(f"mode must be one of {', '.join(MODES)}, not {mode!r}")
    slope = None if given.negative_slope is None else finite("negative_slope", given.negative_slope)
    parameters = model.named_parameters(remove_duplicate=False)
    some_of("include", given.include, {without_wrappers(name) for name, _ in parameters})
    history = follow(model, calling(given.data, given.forward))
    layers = layers_of(model, history)
    if not layers:
        raise InputError(
            f"the model must run a linear or convolutional layer with weights of its own; {type(model).__name__} "
            "runs none on these data"
        )
    left_alone = reasons_of(model, history, layers, given.include)
    chosen = _first_uses(layers, left_alone)
    scales, norms, scale = _residual_scales(history, layers)
    starts = tuple(_start(layer, slope, mode, scales.get(layer.production.weight, 1.0)) for layer in chosen)
    generator = (
        None if seed is None else torch.Generator(chosen[0].weight.device if chosen else "cpu").manual_seed(seed)
    )

    @torch.no_grad()
    def begin() -> Initialization:
        _reset_normalisations(model, norms, scale)
        for layer, start in zip(chosen, starts, strict=True):
            if given.orthogonal:
                orthogonal_(layer, start.standard_deviation, generator)
            else:
                layer.weight.normal_(0.0, start.standard_deviation, generator=generator)
        _zero_biases(model, chosen)
        return Initialization(starts, scale, tuple(left_alone.items()), given.orthogonal)

    return whole_or_not_at_all(model, begin)


def orthogonal_(layer: Layer, deviation: float, generator: torch.Generator | None = None) -> None:
    """Draw the weight's matrix of units by inputs, of each group, orthogonal, with entries of this deviation."""
    weight, groups = layer.weight, layer.production.groups if layer.production.kind != "linear" else 1
    generator = generator if generator is None or generator.device == weight.device else None
    weight.normal_(0.0, 1.0, generator=generator)
    for block in weight.chunk(groups):
        matrix = block.flatten(1).double()
        wide = matrix.shape[0] < matrix.shape[1]
        basis, triangle = torch.linalg.qr(matrix.T if wide else matrix)
        basis = basis * triangle.diagonal().sign()  # so that it is drawn evenly from all of them
        found = basis.T if wide else basis
        block.copy_((found * (deviation / found.square().mean().sqrt())).reshape(block.shape))


def _start(layer: Layer, negative_slope: float | None, mode: Mode, scale: float) -> LayerStart:
    follows = layer.follows
    gain = gain_of(follows, negative_slope) * scale
    fan = layer.fan_in if mode == "fan_in" else layer.fan_out
    slope = None
    if follows is not None and not follows.smooth:
        slope = float(np.mean(follows.negative_slope)) if negative_slope is None else negative_slope
    return LayerStart(
        weight=layer.production.weight,
        kind=layer.production.kind,
        activation=None if follows is None else follows.name,
        negative_slope=slope,
        gain=gain,
        fan=fan,
        standard_deviation=gain / math.sqrt(fan),
    )


def _first_uses(layers: list[Layer], left_alone: Mapping[str, str]) -> list[Layer]:
    """The layers to initialise, each weight once."""
    first: dict[int, Layer] = {}
    for layer in layers:
        if layer.production.weight not in left_alone:
            first.setdefault(id(layer.weight), layer)
    return list(first.values())


def _residual_scales(history: History, layers: list[Layer]) -> tuple[dict[str, float], set[str], float]:
    """The scale of the weights and the names of the norms that end residual branches, and that scale."""
    uses = Counter(layer.production.weight for layer in layers)
    producers = {event.results[0].index: event for event in history.events if event.results}
    weights: set[str] = set()
    norms: set[str] = set()
    found = residuals(history)
    for residual in found:
        last = _last_event(residual.branch, producers)
        if last is None:
            continue
        if last.call.produced:
            weights |= {p.weight for p in last.call.produced if uses[p.weight] == 1}
        else:
            norms |= {name for node in last.call.nodes if node.learned for name in node.weights}
    scale = 1 / math.sqrt(len(found)) if found else 1.0
    return dict.fromkeys(weights, scale), norms, scale


def _last_event(node: Node, producers: dict[int, Event]) -> Event | None:
    """The layer or normalisation that a value comes from, through whatever works on one value."""
    event = producers.get(node.index)
    while event is not None and not event.call.produced and not event.operator.signal.endswith("_norm"):
        data = [argument for argument in event.call.nodes if argument.from_data]
        event = producers.get(data[0].index) if len(data) == 1 else None
    return event


def _reset_normalisations(model: nn.Module, norms: set[str], scale: float) -> None:
    for path, module in model.named_modules():
        if isinstance(module, (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)):
            if any(not parameter.requires_grad for parameter in module.parameters()):
                continue
            module.reset_parameters()
            if module.weight is not None and without_wrappers(f"{path}.weight".lstrip(".")) in norms:
                module.weight.mul_(scale)


def _zero_biases(model: nn.Module, layers: list[Layer]) -> None:
    """The bias that the layer's own operation adds, or that stands beside the weight in its module."""
    named = dict(model.named_parameters())
    for layer in layers:
        own, _, last = layer.production.weight.rpartition(".")
        beside = [f"{own}.bias" if own else "bias"] if last == "weight" else []
        added = [
            name for node in layer.event.call.nodes if node.learned and len(node.shape) == 1 for name in node.weights
        ]
        for name in {*beside, *added}:
            if name in named and named[name].ndim == 1 and named[name].requires_grad:
                named[name].zero_()

"""The whole network anew, with the slope that theory gives its structure; frozen weights stay."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from leaky import theory
from leaky.errors import InputError
from leaky.observation.batches import batches_of
from leaky.repairing.beginning import begin_as_built
from leaky.repairing.calibration import calibrate
from leaky.repairing.ground import Ground
from leaky.repairing.initialization import initialize
from leaky.repairing.inputs import as_they_came
from leaky.repairing.operations.operation import Operation
from leaky.repairing.operations.standardised import is_standardised
from leaky.repairing.operations.standardising import first_events
from leaky.repairing.operations.step_size import step_size
from leaky.repairing.operations.swapping import channel_dim_of, put_rectifier, refusal
from leaky.repairing.plan import Action, Left
from leaky.repairing.subject import Subject

LEAK = 0.1
"""The slope of a network that begins anew where theory asks for less, so that narrow networks are not born dead."""

DEEP = 13
"""Sites from which on a network is deep: below 13 layers no initialisation brings inputs close (see `leaky slope`)."""

DEEP_TARGET = 0.5
"""The correlation of two orthogonal inputs behind such a deep network that its slope is chosen for: .9, the usual one,
lets 60 to 180 plain layers learn too, but slower (`python -m benchmarks.deep`)."""


SHALLOW, SMALL = 4, 0.41
"""Below so many sites weights get the deviation that torch draws, 1/√(3·fan), .41 of He's, and biases as torch draws
them: the signal is not carried far, and features move more. 385 steps, 3 seeds, at .41 and at .6 of He's: two layers of
48, R² .932 and .919; values 97.3 and 96.6; digits 96.7 and 97.0 %. With four layers the factors multiply: 25 steps of
the demo's network reach 13 %, with He's deviation 79 %."""

WIDE = 16
"""Units of the narrowest site from which on a shallow network is in no danger of being born dead: no leak is put in."""


def tailored(ground: Ground) -> float:
    """The slope that theory gives; `LEAK` where it knows none or less, and none for what is shallow and wide."""
    sites = ground.structure.sites
    if len(sites) < SHALLOW and min((site.units for site in sites.values()), default=0) >= WIDE:
        return 0.0
    target = DEEP_TARGET if len(sites) >= DEEP else 0.9
    try:
        return max(LEAK, theory.tailored_slope(ground.analysis, target).negative_slope)
    except InputError:
        return LEAK


def _able(subject: Subject, wanted: Action) -> tuple[Action | None, tuple[Left, ...]]:
    """Everything that can be swapped is; what cannot is listed with the edit to make."""
    ground = subject.ground
    if not ground.layers:
        return None, (Left("(model)", (), "it has no layer that could begin anew"),)
    if not any(layer.weight.requires_grad for layer in ground.layers.values()):
        return None, (Left("(model)", (), "all of its layers are frozen"),)
    slope = wanted.negative_slope
    if not slope:
        return wanted, ()
    modules, left = [], []
    for name, site in ground.structure.sites.items():
        reason = refusal(ground, site, whole_module=True)
        if reason is None:
            modules.append(site.event.module)
        else:
            left.append(Left(name, (), reason))
    changes = (f"the rectifiers {', '.join(dict.fromkeys(modules))} become LeakyReLU({slope:.4g})",) if modules else ()
    action = Action(wanted.kind, wanted.site, wanted.units, wanted.reason, slope, (*wanted.changes, *changes))
    return action, tuple(left)


def _carry_out(subject: Subject, actions: Sequence[Action]) -> None:
    ground, model = subject.ground, subject.model
    slope, unit_size = actions[0].negative_slope, _unit_size(ground)
    with subject.undone_on_error():
        gain = 1 / step_size(ground, subject.optimizer)
        for site in ground.structure.sites.values():
            if slope and refusal(ground, site, whole_module=True) is None:
                put_rectifier(model, site.event.module, slope, channel_dim_of(site), gain)
        new_weights(ground, subject.seed, subject.row)
        if not any(map(is_standardised, model.modules())) and not unit_size:
            calibrate(model, ground.batches)
        subject.forget_state([p for p in model.parameters() if p.requires_grad])
    subject.changed(modules=True)


def new_weights(ground: Ground, seed: int, row: float = 1.0) -> None:
    """Weights as a network has them that begins anew, tables of this deviation; nothing else of it is exchanged."""
    begin_as_built(ground.model, seed, row)
    drawn = initialize(ground.model, ground.batches, seed=seed)
    if len(ground.structure.sites) < SHALLOW:
        _begin_small(ground, [(layer.weight, layer.fan) for layer in drawn.layers], seed)


def _begin_small(ground: Ground, drawn: Sequence[tuple[str, float]], seed: int) -> None:
    parameters = ground.parameters
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, fan in drawn:
            parameters[name].mul_(SMALL)
            bias = parameters.get(f"{name.removesuffix('weight')}bias")
            if bias is not None and bias.requires_grad and name.endswith("weight"):
                values = (2 * torch.rand(bias.shape, generator=generator) - 1) / math.sqrt(fan)
                bias.copy_(values)


def _unit_size(ground: Ground) -> bool:
    """Whether the inputs have about the size that an initialisation by variance takes for granted.

    Of several inputs those that no layer sums over as they came do not count: who is near whom, what is known.
    """
    batches = batches_of(ground.batches, ground.model, sample_dim=0, batch_size=None, max_samples=None)
    tensors, inputs = next(iter(batches)).tensors, ground.history.inputs
    came = as_they_came(ground.history)
    entering = {came.get(node.index) for event in first_events(ground) for node in event.call.nodes}
    counted = [node.index in entering for node in inputs]
    if len(tensors) != len(inputs) or not any(counted):
        counted = [True] * len(tensors)
    sizes = [
        float(tensor.detach().double().square().mean())
        for tensor, counts in zip(tensors, counted, strict=True)
        if counts and tensor.is_floating_point()
    ]
    return all(0.1 < size < 10 for size in sizes)


BEGIN_ANEW = Operation(
    kind="begin anew",
    needs="layers that are not frozen",
    promises="frozen and tied parameters, and parameters of modules that do not say how they begin; nothing else",
    keeps_function=False,
    able=_able,
    carry_out=_carry_out,
)

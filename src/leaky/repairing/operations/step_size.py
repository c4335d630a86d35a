"""How far one step of an optimizer moves a deep plain network, and how to take that back, the optimizer left alone.

An Adam step moves each weight by about the learning rate η, together by up to η·√(fan_in·fan_out) in the direction that
matters, whatever the depth. L layers behind each other multiply what each has moved, so a rate that suits 5 layers
tears 100 apart. With weights k times as large and activations of gain 1/k the function is the same, and each step
moves it k times less.
"""

from __future__ import annotations

import math

import torch

from leaky.repairing.ground import Ground
from leaky.structure.history import Event
from leaky.structure.residuals import residuals

MOST = 2.0
"""Sum over the layers of step ÷ weights' size up to which nothing is done."""

_UNIT_STEPS = (torch.optim.Adam, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax, torch.optim.RMSprop)
"""Optimizers whose step is about the learning rate in every element, whatever the size of the gradient."""


def step_size(ground: Ground, optimizer: torch.optim.Optimizer | None) -> float:
    """Σ over the layers of lr·√(fan_in·fan_out) ÷ the size of a matched layer's weights, if it is much; 1 otherwise.

    It is 1 too where it does not apply: with another optimizer or none, with normalisation and gates, and with
    shortcuts, which carry the signal past what a step does to a branch.
    """
    if not isinstance(optimizer, _UNIT_STEPS) or residuals(ground.history):
        return 1.0
    if any(map(_sets_the_size, ground.history.events)):
        return 1.0
    rates = {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
    moved = 0.0
    for layer in ground.layers.values():
        # an orthogonal matrix of gain g has singular values of about g·√(fan_out/fan_in), at least g
        size = math.sqrt(2) * max(1.0, math.sqrt(layer.fan_out / layer.fan_in))
        moved += rates.get(id(layer.weight), 0.0) * math.sqrt(layer.fan_in * layer.fan_out) / size
    return moved if moved > MOST else 1.0


def _sets_the_size(event: Event) -> bool:
    """Whether data are normalised, or multiplied by what was computed from data: a gate, a norm that is spelled out."""
    by_data = event.operator.numbers == "scales" and sum(node.from_data for node in event.call.nodes) > 1
    return event.operator.signal.endswith("_norm") or (by_data and event.site is None)

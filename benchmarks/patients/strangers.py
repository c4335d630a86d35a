"""Strangers: kinds that neither half holds, written before any repair was seen on them, and run once as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.patients import networks, tasks
from benchmarks.patients import stranger_networks as nets
from benchmarks.patients import stranger_tasks as given
from benchmarks.patients.kinds import RATE, Damage, Patient, bad_batch, buried, spike, unseen

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


def at(*paths: str, share: float = 0.9, by: float = 20.0) -> Damage:
    """The biases of a share of the units of these modules are moved down, or up, by so much."""

    def damage(patient: Patient, generator: torch.Generator) -> None:
        with torch.no_grad():
            for path in paths:
                bias = patient.model.get_parameter(path)
                bias[torch.rand(bias.shape, generator=generator) < share] -= by

    return damage


def norms_off(patient: Patient, generator: torch.Generator) -> None:
    """LayerNorms whose gain has nearly gone and whose bias is below 0."""
    with torch.no_grad():
        for module in patient.model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.mul_(0.02)
                module.bias.sub_(1.0)


def values_in_other_units(patient: Patient, generator: torch.Generator) -> None:
    """For 40 steps the targets are 300 times as large, at a high rate."""
    for group in patient.optimizer.param_groups:
        group["lr"] = 0.05
    patient.steps(40, 11, 300 * patient.task.train.y)
    for group in patient.optimizer.param_groups:
        group["lr"] = RATE


def critic_explodes(patient: Patient, generator: torch.Generator) -> None:
    """The critic's part of the loss is 10,000 times too heavy for 30 steps, with rewards to match."""
    whole = patient.penalty
    patient.penalty = lambda model, x: 1e4 * (model(x)[1] - 30).square().mean()
    for group in patient.optimizer.param_groups:
        group["lr"] = 0.1
    patient.steps(30, 12)
    patient.penalty = whole
    for group in patient.optimizer.param_groups:
        group["lr"] = RATE


def saturated_and_scaled(patient: Patient, generator: torch.Generator) -> None:
    """The weights of the hidden layers are 40 times as large, and their biases are not."""
    with torch.no_grad():
        for layer in networks.layers(patient.model):
            layer.weight.mul_(40.0)


def other_domain(patient: Patient, generator: torch.Generator) -> None:
    """The inputs come from elsewhere, and the norms keep their statistics from now on."""
    patient.task = given.domain(True)
    patient.model.frozen = True  # type: ignore[assignment]
    patient.model.train()


def other_units(patient: Patient, generator: torch.Generator) -> None:
    """One column comes in other units; it is trained on for 60 steps before anybody looks."""
    patient.task = given.in_units(True)
    patient.steps(60, 13)


def slopes_and_biases(patient: Patient, generator: torch.Generator) -> None:
    """Learned slopes fall to 0, and then most biases are far below."""
    with torch.no_grad():
        for module in patient.model.modules():
            if isinstance(module, nn.PReLU):
                module.weight.zero_()
    buried(0.9)(patient, generator)


def nothing(patient: Patient, generator: torch.Generator) -> None:
    """Nothing happened: what looks like trouble is meant."""


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """Momentum, at the rate at which these networks learn by it."""
    return torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.03, momentum=0.9)


def sgd_spike(patient: Patient, generator: torch.Generator) -> None:
    """Three steps at a hundred times the rate."""
    for group in patient.optimizer.param_groups:
        group["lr"] = 3.0
    patient.steps(3, 14)
    for group in patient.optimizer.param_groups:
        group["lr"] = 0.03


def _net(sizes: list[int], act: Any = nn.ReLU) -> Any:
    return lambda: networks.mlp(sizes, act)


D = [64, 48, 40, 10]

STRANGERS = (
    unseen("pairs, buried", given.pairs, nets.Siamese, buried(0.9)),
    unseen("several labels, one bad batch", given.labels, _net([20, 48, 48, 5]), bad_batch(60.0)),
    unseen("quantiles, other units", given.quantiles, _net([10, 48, 48, 3]), values_in_other_units),
    unseen("survival, one huge step", given.survival, _net([10, 48, 32, 1]), spike(2.0, 1)),
    unseen("grades, buried", given.grades, nets.Ordinal, buried(0.95)),
    unseen("physics, weights far too large", given.oscillator, nets.Physics, saturated_and_scaled, before=400),
    unseen("LayerNorm, gain gone", tasks.digits, nets.layer_normed, norms_off),
    unseen("frozen norms, other domain", lambda: given.domain(False), nets.FrozenNorms, other_domain),
    unseen("head on frozen features, buried", tasks.digits, nets.on_frozen_features, buried(0.95)),
    unseen("actor and critic, critic exploded", given.bandit, nets.ActorCritic, critic_explodes),
    unseen(
        "variational, buried",
        given.variational,
        nets.Variational,
        at("encoder.0.bias", "encoder.2.bias", "decoder.0.bias", "decoder.2.bias"),
    ),
    unseen("experts, buried", tasks.digits, nets.Experts, at("b1", share=1.0)),
    unseen("bag of tokens, rate spike", given.bags, nets.Bag, spike(1.0)),
    unseen("LSTM, rate spike", given.series, nets.Memory, spike(0.7), before=300),
    unseen("one column in other units", lambda: given.in_units(False), _net([10, 48, 48, 1]), other_units),
    unseen("tied weights, buried", tasks.autoencoding, nets.Tied, at("a.bias", "bias_b")),
    unseen("learned slopes gone, buried", tasks.digits, _net(D, nn.PReLU), slopes_and_biases),
    unseen("GELU, buried", tasks.digits, _net(D, nn.GELU), buried(0.95)),
    unseen("ELU, saturated", tasks.digits, _net(D, nn.ELU), buried(0.95, 30.0)),
    unseen("quantised, capped", tasks.digits, _net(D, nets.Quantised), buried(0.95, -20.0)),
    unseen("adapter that begins at zero", tasks.digits, nets.Adapted, nothing),
    unseen("recommender, rate spike", given.ratings, nets.Recommender, spike(0.7)),
    unseen("sets of points, buried", given.points, nets.Points, buried(0.95)),
    unseen("momentum, rate spike", tasks.digits, _net([64, 48, 40, 32, 10]), sgd_spike, optimizer=sgd),
    unseen("series, dying convolutions", given.series, nets.series, buried(0.9, kinds=CONVOLUTIONS), before=300),
    unseen("deep residual, one huge step", tasks.digits, nets.DeepResidual, spike(0.5, 1)),
    unseen("U-Net, dying convolutions", given.denoising, nets.UNet, buried(0.9, kinds=CONVOLUTIONS)),
    unseen(
        "encoder, feed-forward buried",
        given.series,
        nets.Encoder,
        at("body.layers.0.linear1.bias", "body.layers.1.linear1.bias", share=1.0),
        before=300,
    ),
    unseen("separable convolutions, dying", tasks.digits, nets.separable, buried(0.9, kinds=CONVOLUTIONS)),
)
"""Every stranger. What was mended after they had been run once is said in docs/repair.md."""

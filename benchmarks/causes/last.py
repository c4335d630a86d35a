"""Troubles that were written when all rules stood, and run once: `python -m benchmarks.causes --last`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes import last_networks as networks
from benchmarks.causes.building import Side, Trouble, train, width_of
from benchmarks.causes.troubles import CROSS, MSE, on_targets
from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp

BCE = on_targets(functional.binary_cross_entropy_with_logits)


def _both(output: Any, batch: Any) -> Tensor:
    classes, value = output
    return functional.cross_entropy(classes, batch[1]) + functional.mse_loss(value, batch[2])


def rectified_value_head(seed: int) -> Trouble:
    tensors = networks.digits_with_value()
    sides = []
    for last in (nn.ReLU(), nn.Identity()):
        torch.manual_seed(seed)
        sides.append(Side(train(networks.TwoHeads(width_of(seed), last), _both, *tensors, seed=seed), tensors, _both))
    return Trouble(sides[0], sides[1], ("output-rectifier",))


def dead_convolution(seed: int) -> Trouble:
    torch.manual_seed(seed)
    tensors = networks.noisy_waves(seed)
    twin = train(networks.Denoiser(width_of(seed) // 2), MSE, *tensors, seed=seed)
    sick = copy.deepcopy(twin)
    with torch.no_grad():
        sick.middle.bias -= 80  # type: ignore[union-attr, operator]
    return Trouble(Side(sick, tensors, MSE), Side(twin, tensors, MSE), ("dead",))


def years_as_input(seed: int) -> Trouble:
    """Sequences whose features are offset by two thousand."""
    x, y = networks.drifts(seed)
    torch.manual_seed(seed)
    twin = train(networks.Sequence(width_of(seed)), MSE, x, y, seed=seed)
    torch.manual_seed(seed)
    sick = train(networks.Sequence(width_of(seed)), MSE, x + 2000, y, seed=seed)
    return Trouble(Side(sick, (x + 2000, y), MSE), Side(twin, (x, y), MSE), ("input-offset", "input-scale"))


def decoder_ends_in_sigmoid(seed: int) -> Trouble:
    x, _ = data.digits()
    torch.manual_seed(seed)
    twin = train(mlp(64, 48, 16, 48, 64), MSE, x, x, seed=seed)
    torch.manual_seed(seed)
    sick = train(nn.Sequential(mlp(64, 48, 16, 48, 64), nn.Sigmoid()), MSE, x, x, seed=seed)
    return Trouble(Side(sick, (x, x), MSE), Side(twin, (x, x), MSE), ("target-range",))


def weight_not_a_number(seed: int) -> Trouble:
    torch.manual_seed(seed)
    tensors = networks.words(seed)
    twin = train(networks.Words(width_of(seed)), CROSS, *tensors, seed=seed)
    sick = copy.deepcopy(twin)
    with torch.no_grad():
        sick.head[0].weight[seed, 2] = torch.nan  # type: ignore[index, union-attr, operator]
    return Trouble(Side(sick, tensors, CROSS), Side(twin, tensors, CROSS), ("non-finite",))


def one_feature_raw(seed: int) -> Trouble:
    """One of ten features in its own unit, a thousand times the others."""
    x, y = data.friedman(seed)
    raw = x.clone()
    raw[:, seed % 10] = raw[:, seed % 10] * 3000 + 20000
    sides = []
    for inputs in (raw, x):
        torch.manual_seed(seed)
        model = train(mlp(10, width_of(seed), width_of(seed), 1), MSE, inputs, y, rate=0.01, seed=seed)
        sides.append(Side(model, (inputs, y), MSE))
    return Trouble(sides[0], sides[1], ("input-scale", "input-offset", "input-outliers"))


def trained_on_other_scale(seed: int) -> Trouble:
    """A network with BatchNorm on inputs that are thirty times those that it was trained on."""
    torch.manual_seed(seed)
    x, y = data.digits()
    model = train(networks.deep(6, width_of(seed), True), CROSS, x, y, seed=seed)
    large = x * 30 + 5
    return Trouble(Side(model, (large, y), CROSS), Side(model, (x, y), CROSS), ("batchnorm-statistics", "input-scale"))


def targets_with_an_axis_more(seed: int) -> Trouble:
    """Outputs of shape (n) against targets of shape (n, 1), by Huber's loss."""
    x, y = networks.drifts(seed)
    huber = on_targets(lambda out, target: functional.huber_loss(out[:, 0], target))
    right = on_targets(functional.huber_loss)
    torch.manual_seed(seed)
    twin = train(networks.Sequence(width_of(seed)), right, x, y, seed=seed)
    torch.manual_seed(seed)
    sick = train(networks.Sequence(width_of(seed)), huber, x, y, steps=150, seed=seed)
    return Trouble(Side(sick, (x, y), huber), Side(twin, (x, y), right), ("target-shape",))


def clamped_logits(seed: int) -> Trouble:
    class Clamped(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x).clamp(min=0)  # type: ignore[no-any-return]

    x, y = data.digits()
    torch.manual_seed(seed)
    twin = train(networks.deep(3, width_of(seed), True), CROSS, x, y, seed=seed)
    torch.manual_seed(seed)
    sick = train(Clamped(mlp(64, width_of(seed), width_of(seed), 10)), CROSS, x, y, rate=0.01, seed=seed)
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), ("output-rectifier",))


def prices_as_targets(seed: int) -> Trouble:
    x, y = networks.action_values(seed)
    absolute = on_targets(functional.l1_loss)
    price = y * 40000 + 250000
    torch.manual_seed(seed)
    twin = train(networks.Dueling(width_of(seed)), absolute, x, y, seed=seed)
    torch.manual_seed(seed)
    sick = train(networks.Dueling(width_of(seed)), absolute, x, price, seed=seed)
    return Trouble(Side(sick, (x, price), absolute), Side(twin, (x, y), absolute), ("target-scale",))


def bytes_divided_to_nothing(seed: int) -> Trouble:
    """Pairs of images whose bytes were divided as whole numbers."""
    x, y = networks.pairs(seed)
    torch.manual_seed(seed)
    twin = train(networks.Pairs(width_of(seed)), BCE, x, y, seed=seed)
    nothing = torch.zeros_like(x)
    torch.manual_seed(seed)
    sick = train(networks.Pairs(width_of(seed)), BCE, nothing, y, steps=50, seed=seed)
    return Trouble(Side(sick, (nothing, y), BCE), Side(twin, (x, y), BCE), ("input-constant",))


def forty_plain_layers(seed: int) -> Trouble:
    x, y = data.digits()
    torch.manual_seed(seed)
    sick = networks.deep(40 + 5 * (seed % 2), width_of(seed), False).eval()
    torch.manual_seed(seed)
    twin = train(networks.deep(14, width_of(seed), True), CROSS, x, y, seed=seed)
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), ("alike-by-depth",))


def equation(model: nn.Module) -> Callable[[Any, Any], Tensor]:
    """u″ = −4u with u(0) = 0 and u′(0) = 2, whose solution is sin 2t."""

    def loss(output: Any, batch: Any) -> Tensor:
        t = batch[0].clone().requires_grad_()
        u = model(t)
        (slope,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), t, create_graph=True)
        return (curvature + 4 * u).square().mean() + 10 * (output - torch.sin(2 * batch[0])).square().mean()

    return loss


def rectifiers_in_an_equation(seed: int) -> Trouble:
    t = torch.linspace(0, 2, 600)[:, None]
    sides = []
    for act in (nn.ReLU, nn.Tanh):
        torch.manual_seed(seed)
        model = mlp(1, width_of(seed), width_of(seed), 1, act=act)
        sides.append(Side(train(model, equation(model), t, steps=200, seed=seed), (t,), equation(model)))
    return Trouble(sides[0], sides[1], ("no-curvature",))


def bottleneck_of_one_dead_unit(seed: int) -> Trouble:
    torch.manual_seed(seed)
    x, y = data.smooth(1, n=1200)
    twin = train(mlp(3, width_of(seed), 4, width_of(seed), 1), MSE, x, y, steps=500, seed=seed)
    sick = copy.deepcopy(twin)
    with torch.no_grad():
        sick[2].bias -= 30  # type: ignore[index, operator]
    return Trouble(Side(sick, (x, y), MSE), Side(twin, (x, y), MSE), ("dead",))


TROUBLES: tuple[Callable[[int], Trouble], ...] = (
    rectified_value_head, dead_convolution, years_as_input, decoder_ends_in_sigmoid, weight_not_a_number,
    one_feature_raw, trained_on_other_scale, targets_with_an_axis_more, clamped_logits, prices_as_targets,
    bytes_divided_to_nothing, forty_plain_layers, rectifiers_in_an_equation, bottleneck_of_one_dead_unit,
)  # fmt: skip

"""Troubles in the style of public bug reports, written before any of them was run: `--reported`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes import last_networks as networks
from benchmarks.causes import reported_networks as reported
from benchmarks.causes.building import Side, Trouble, train, width_of
from benchmarks.causes.last import BCE
from benchmarks.causes.troubles import CROSS, MSE, on_targets
from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp


def _trained(seed: int, model: Callable[[], nn.Module], loss: Any, *tensors: Tensor, steps: int = 300) -> nn.Module:
    torch.manual_seed(seed)
    return train(model(), loss, *tensors, steps=steps, seed=seed)


def action_values_cut_off(seed: int) -> Trouble:
    """Temporal differences with costs, and a rectifier behind the action values; the loss makes its own targets."""
    tensors = reported.transitions(seed)
    sides = []
    for last in (nn.ReLU, nn.Identity):
        net = lambda last=last: nn.Sequential(mlp(4, width_of(seed), width_of(seed), 3), last())  # noqa: E731
        sides.append(Side(_trained(seed, net, reported.difference, *tensors), tensors, reported.difference))
    return Trouble(sides[0], sides[1], ("output-rectifier",))


def softmax_in_every_pixel(seed: int) -> Trouble:
    """A segmentation whose network ends in a softmax over its classes, before cross-entropy."""
    tensors = reported.segments(seed)
    sides = [
        Side(
            _trained(seed, lambda end=end: reported.Segmenter(width_of(seed) // 3, end), CROSS, *tensors),
            tensors,
            CROSS,
        )  # type: ignore[misc]
        for end in (nn.Softmax(1), nn.Identity())
    ]
    return Trouble(sides[0], sides[1], ("loss-misfit",))


def softmax_over_the_batch(seed: int) -> Trouble:
    x, y = data.digits()
    nll = on_targets(lambda out, target: functional.nll_loss(torch.log(out + 1e-9), target))
    sick = _trained(seed, lambda: nn.Sequential(mlp(64, width_of(seed), 10), nn.Softmax(0)), nll, x, y)
    twin = _trained(seed, lambda: nn.Sequential(mlp(64, width_of(seed), 10), nn.Softmax(1)), nll, x, y)
    return Trouble(Side(sick, (x, y), nll), Side(twin, (x, y), nll), ("loss-misfit",))


def the_same_row_again(seed: int) -> Trouble:
    """A data set that returns its first item whatever it is asked for."""
    x, y = data.friedman(seed)
    same = x[:1].expand(len(x), -1).clone()
    twin = _trained(seed, lambda: mlp(10, width_of(seed), 1), MSE, x, y)
    sick = _trained(seed, lambda: mlp(10, width_of(seed), 1), MSE, same, y, steps=100)
    return Trouble(Side(sick, (same, y), MSE), Side(twin, (x, y), MSE), ("input-constant",))


def every_word_unknown(seed: int) -> Trouble:
    """A vocabulary that does not fit: each token becomes number 1."""
    tokens, y = networks.words(seed)
    unknown = torch.ones_like(tokens)
    twin = _trained(seed, lambda: networks.Words(width_of(seed)), CROSS, tokens, y)
    sick = _trained(seed, lambda: networks.Words(width_of(seed)), CROSS, unknown, y, steps=60)
    return Trouble(Side(sick, (unknown, y), CROSS), Side(twin, (tokens, y), CROSS), ("input-constant",))


def missing_as_a_number(seed: int) -> Trouble:
    """−99999 where a value is missing, in one row of a hundred."""
    x, y = data.friedman(seed)
    coded = x.clone()
    coded[seed::100, seed % 10] = -99999.0
    twin = _trained(seed, lambda: mlp(10, width_of(seed), 1), MSE, x, y)
    sick = _trained(seed, lambda: mlp(10, width_of(seed), 1), MSE, coded, y)
    return Trouble(Side(sick, (coded, y), MSE), Side(twin, (x, y), MSE), ("input-outliers", "input-scale"))


def divided_by_the_variance(seed: int) -> Trouble:
    """Inputs in micrometres of a metre's scale: a standardisation that went wrong."""
    x, y = data.digits()
    small = x * 1e-5
    twin = _trained(seed, lambda: mlp(64, width_of(seed), width_of(seed), 10), CROSS, x, y)
    sick = _trained(seed, lambda: mlp(64, width_of(seed), width_of(seed), 10), CROSS, small, y)
    return Trouble(Side(sick, (small, y), CROSS), Side(twin, (x, y), CROSS), ("input-scale",))


def decayed_to_nothing(seed: int) -> Trouble:
    """A weight decay a thousand times too high."""
    x, y = data.digits()
    twin = _trained(seed, lambda: mlp(64, *[width_of(seed)] * 3, 10), CROSS, x, y)
    sick = copy.deepcopy(twin)
    with torch.no_grad():
        for p in sick.parameters():
            p *= 1e-3
    causes = ("decay", "initialisation-gain", "same-output", "vanishing-gradient")
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), causes)


def all_weights_zero(seed: int) -> Trouble:
    x, y = data.digits()
    twin = _trained(seed, lambda: mlp(64, width_of(seed), width_of(seed), 10), CROSS, x, y)
    sick = mlp(64, width_of(seed), width_of(seed), 10)
    for p in sick.parameters():
        nn.init.zeros_(p)
    sick = train(sick, CROSS, x, y, steps=50, seed=seed)
    causes = ("constant", "dead", "same-output", "locked-negative", "decay", "initialisation-gain")
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), causes)


def adapters_of_zeros(seed: int) -> Trouble:
    """Low-rank adapters with both factors zero, on a frozen network: nothing can be learned."""
    x, y = data.digits()
    base = _trained(seed, lambda: mlp(64, width_of(seed), 10), CROSS, x[:900], y[:900])
    twin = train(reported.adapted(base, seed, zeros=False), CROSS, x, y, seed=seed)
    sick = reported.adapted(base, seed, zeros=True)
    return Trouble(Side(sick.eval(), (x, y), CROSS), Side(twin, (x, y), CROSS), ("no-gradient", "not-learning"))


def encoder_without_gradient(seed: int) -> Trouble:
    """`no_grad` around an encoder that is meant to learn."""
    x, y = data.waves(seed)
    twin = _trained(seed, lambda: reported.Encoded(width_of(seed), ""), CROSS, x, y)
    sick = _trained(seed, lambda: reported.Encoded(width_of(seed), ("no_grad", "data", "list")[seed % 3]), CROSS, x, y)
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), ("no-gradient",))


def sigmoids_far_out(seed: int) -> Trouble:
    """A network of sigmoids whose weights were drawn ten times too large."""
    x, y = data.digits()
    twin = _trained(seed, lambda: mlp(64, width_of(seed), width_of(seed), 10, act=nn.Sigmoid), CROSS, x, y)
    torch.manual_seed(seed)
    sick = mlp(64, width_of(seed), width_of(seed), 10, act=nn.Sigmoid)
    for p in sick.parameters():
        nn.init.normal_(p, 0, 6.0)
    return Trouble(Side(sick.eval(), (x, y), CROSS), Side(twin, (x, y), CROSS), ("saturated", "initialisation-gain"))


def statistics_never_taken(seed: int) -> Trouble:
    """BatchNorm with a momentum of 0: trained, but its running statistics are those of the beginning."""
    x, y = data.digits()
    x = x * 4 + 1
    sides = []
    for momentum in (0.0, 0.1):
        model = lambda momentum=momentum: reported.normed(width_of(seed), momentum)  # noqa: E731
        sides.append(Side(_trained(seed, model, CROSS, x, y), (x, y), CROSS))
    return Trouble(sides[0], sides[1], ("batchnorm-statistics",))


def exponential_overflows(seed: int) -> Trouble:
    """A rate as the exponential of an output, of inputs whose scale nobody looked at."""
    x, y = data.smooth(seed)
    counts = torch.poisson(3 * (y + 1), generator=torch.Generator().manual_seed(seed))
    loss = on_targets(lambda out, target: functional.poisson_nll_loss(out, target, log_input=False))
    net = lambda: nn.Sequential(mlp(3, 32, 32, 1), reported.Exponential())  # noqa: E731
    twin = _trained(seed, net, loss, x, counts, steps=400)
    large = x * 1000
    return Trouble(
        Side(copy.deepcopy(twin), (large, counts), loss),
        Side(twin, (x, counts), loss),
        ("non-finite", "input-scale"),
    )


def clamped_to_the_unit_interval(seed: int) -> Trouble:
    """Outputs clamped to 0 … 1 where targets are centred."""
    x, y = data.friedman(seed)
    twin = _trained(seed, lambda: mlp(10, width_of(seed), 1), MSE, x, y)
    sick = _trained(seed, lambda: reported.Clamped(mlp(10, width_of(seed), 1)), MSE, x, y)
    return Trouble(Side(sick, (x, y), MSE), Side(twin, (x, y), MSE), ("output-rectifier", "target-range"))


def two_targets_of_two_scales(seed: int) -> Trouble:
    """A price beside a rating, in one mean square."""
    x, y = networks.action_values(seed)
    mixed = torch.cat([y[:, :2], y[:, 2:] * 30000 + 90000], dim=1)
    twin = _trained(seed, lambda: mlp(4, width_of(seed), width_of(seed), 3), MSE, x, y)
    sick = _trained(seed, lambda: mlp(4, width_of(seed), width_of(seed), 3), MSE, x, mixed)
    return Trouble(Side(sick, (x, mixed), MSE), Side(twin, (x, y), MSE), ("target-scale",))


def not_a_number_in_the_targets(seed: int) -> Trouble:
    x, y = data.friedman(seed)
    holes = y.clone()
    holes[7 + seed] = torch.nan
    twin = _trained(seed, lambda: mlp(10, width_of(seed), 1), MSE, x, y)
    return Trouble(Side(copy.deepcopy(twin), (x, holes), MSE), Side(twin, (x, y), MSE), ("non-finite", "target-range"))


def frozen_by_a_spike(seed: int) -> Trouble:
    """A convolution whose BatchNorm was pushed below zero by one bad step."""
    x, y = data.waves(seed)
    twin = _trained(seed, lambda: reported.Encoded(width_of(seed), ""), CROSS, x, y)
    sick = copy.deepcopy(twin)
    with torch.no_grad():
        sick.encoder[1].bias -= 60  # type: ignore[index, union-attr, operator]
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), ("dead",))


def dozens_of_sigmoids(seed: int) -> Trouble:
    """Ten plain layers of sigmoids: whatever goes in, the same comes out."""
    x, y = data.digits()
    torch.manual_seed(seed)
    sick = mlp(64, *[width_of(seed)] * 10, 10, act=nn.Sigmoid)
    twin = _trained(seed, lambda: mlp(64, *[width_of(seed)] * 3, 10, act=nn.SiLU), CROSS, x, y)
    causes = ("alike-by-depth", "vanishing-gradient", "decay", "same-output", "constant")
    return Trouble(Side(sick.eval(), (x, y), CROSS), Side(twin, (x, y), CROSS), causes)


def probabilities_against_logits(seed: int) -> Trouble:
    """A sigmoid behind pairs' similarity, before a loss that takes logits."""
    x, y = networks.pairs(seed)
    twin = _trained(seed, lambda: networks.Pairs(width_of(seed)), BCE, x, y)
    sick = _trained(seed, lambda: nn.Sequential(networks.Pairs(width_of(seed)), nn.Sigmoid()), BCE, x, y)
    return Trouble(Side(sick, (x, y), BCE), Side(twin, (x, y), BCE), ("loss-misfit",))


TROUBLES: tuple[Callable[[int], Trouble], ...] = (
    action_values_cut_off, softmax_in_every_pixel, softmax_over_the_batch, the_same_row_again,
    every_word_unknown, missing_as_a_number, divided_by_the_variance, decayed_to_nothing,
    all_weights_zero, adapters_of_zeros, encoder_without_gradient, sigmoids_far_out, statistics_never_taken,
    exponential_overflows, clamped_to_the_unit_interval, two_targets_of_two_scales, not_a_number_in_the_targets,
    frozen_by_a_spike, dozens_of_sigmoids, probabilities_against_logits,
)  # fmt: skip

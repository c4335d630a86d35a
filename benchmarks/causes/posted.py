"""Bug reports as people post them, written before any of it was run: `python -m benchmarks.causes --posted`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes import last_networks as networks
from benchmarks.causes import posted_networks as posted
from benchmarks.causes.building import Side, Trouble, pair_of, side_of, width_of
from benchmarks.causes.troubles import CROSS, MSE, on_targets
from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp

GATE = ("shut-gate", "saturated")


def update_gate_shut(seed: int) -> Trouble:
    """'My cell predicts the same number for every sequence.'"""
    x, y = networks.drifts(seed)
    twin = side_of(seed, partial(posted.Remembering, width_of(seed)), MSE, x, y)
    sick = copy.deepcopy(twin.model)
    with torch.no_grad():
        sick.update.bias -= 120  # type: ignore[union-attr, operator]
    return Trouble(Side(sick, (x, y), MSE), twin, GATE)


def highway_never_opens(seed: int) -> Trouble:
    """'Deeper highway networks are no better than one layer': biases of −60 carry everything past."""
    x, y = data.digits()
    sick, twin = pair_of(seed, partial(posted.Highway, width_of(seed)), (-60.0, -1.0), CROSS, x, y)
    return Trouble(sick, twin, GATE)


def swish_gate_shut(seed: int) -> Trouble:
    """'All predictions the same after one bad step': every SiLU of a gated block is far below 0."""
    x, y = networks.words(seed)
    twin = side_of(seed, partial(posted.Swish, width_of(seed)), CROSS, x, y)
    sick = copy.deepcopy(twin.model)
    with torch.no_grad():
        sick.gate.bias -= 200  # type: ignore[union-attr, operator]
    return Trouble(Side(sick, (x, y), CROSS), twin, (*GATE, "dead", "constant"))


def scores_never_scaled(seed: int) -> Trouble:
    """'Attention looks at one token only': a scale of 200 in place of 1/√d."""
    x, y = networks.words(seed)
    sick, twin = pair_of(seed, partial(posted.Scored, width_of(seed)), (200.0, None), CROSS, x, y)
    return Trouble(sick, twin, ("saturated", "saturated-attention"))


def validated_on_bytes(seed: int) -> Trouble:
    """'Validation is random though training is fine': only the training images were divided by 255."""
    x, y = data.digits()
    pixels = torch.sigmoid(x)
    twin = side_of(seed, lambda: mlp(64, width_of(seed), width_of(seed), 10), CROSS, pixels, y)
    return Trouble(Side(copy.deepcopy(twin.model), (pixels * 255, y), CROSS), twin, ("input-scale", "input-offset"))


def root_at_zero(seed: int) -> Trouble:
    """'NaN after a while': the root of a squared distance, and one pair of equals."""
    x, y = networks.pairs(seed)
    x = x.clone()
    x[3 + seed, 1] = x[3 + seed, 0]
    loss = on_targets(lambda out, near: (near * out.square() + (1 - near) * (2 - out).clamp(min=0).square()).mean())
    twin = side_of(seed, partial(posted.Apart, width_of(seed), 1e-3), loss, x, y)
    sick = copy.deepcopy(twin.model)
    sick.slack = 0.0  # type: ignore[assignment]
    return Trouble(Side(sick, (x, y), loss), twin, ("non-finite",))


def all_weights_equal(seed: int) -> Trouble:
    """'Accuracy is stuck': every weight begins at the same number."""
    x, y = data.digits()

    def build(equal: bool) -> nn.Module:
        model = mlp(64, width_of(seed), width_of(seed), 10)
        for layer in model:
            if isinstance(layer, nn.Linear) and equal:
                nn.init.constant_(layer.weight, 0.05)
                nn.init.zeros_(layer.bias)
        return model

    sick, twin = pair_of(seed, build, (True, False), CROSS, x, y)
    return Trouble(sick, twin, ("alike-units",))


def one_class_weighs(seed: int) -> Trouble:
    """'It predicts the same class for everything': the classes' weights are 0 but for one."""
    x, y = data.digits()
    weights = torch.zeros(10)
    weights[seed % 10] = 1.0
    loss = on_targets(lambda out, target: functional.cross_entropy(out, target, weights))
    net = lambda: mlp(64, width_of(seed), 10)  # noqa: E731
    return Trouble(side_of(seed, net, loss, x, y), side_of(seed, net, CROSS, x, y), ("not-learning", "elsewhere"))


def loss_of_the_choice(seed: int) -> Trouble:
    """'The loss does not go down': it compares the class that was chosen, not its probability."""
    x, y = data.digits()
    chosen = lambda out, target: (out.argmax(1).float() - target.float()).square().mean()  # noqa: E731
    loss = on_targets(lambda out, target: chosen(out, target) + 0 * out.sum())
    net = lambda: mlp(64, width_of(seed), 10)  # noqa: E731
    return Trouble(
        side_of(seed, net, loss, x, y, steps=3), side_of(seed, net, CROSS, x, y), ("no-gradient", "not-learning")
    )


def branches_of_nothing(seed: int) -> Trouble:
    """'My deep network is as bad as a linear one': branches are multiplied by a 0 that is no parameter."""
    x, y = data.digits()
    sick, twin = pair_of(seed, partial(posted.Scaled, width_of(seed)), (0.0, 0.5), CROSS, x, y)
    return Trouble(sick, twin, ("no-gradient",))


def every_token_masked(seed: int) -> Trouble:
    """'NaN from the first step': the mask is true everywhere."""
    x, y = networks.words(seed)
    twin = side_of(seed, partial(posted.Masked, width_of(seed), False), CROSS, x, y)
    sick = copy.deepcopy(twin.model)
    sick.wrong = True  # type: ignore[assignment]
    return Trouble(Side(sick, (x, y), CROSS), twin, ("non-finite",))


def norm_over_one_feature(seed: int) -> Trouble:
    """'All outputs are the same': a LayerNorm behind a layer of one unit."""
    x, y = data.friedman(seed)
    build = lambda norm: nn.Sequential(mlp(10, width_of(seed), 1), norm(1))  # noqa: E731
    sick, twin = pair_of(seed, build, (nn.LayerNorm, lambda _: nn.Identity()), MSE, x, y)
    return Trouble(sick, twin, ("same-output", "constant"))


def likelihood_of_raw_scores(seed: int) -> Trouble:
    """'The loss is negative and falls without end, accuracy 10 %.'"""
    x, y = data.digits()
    net = lambda: mlp(64, width_of(seed), 10)  # noqa: E731
    sick = side_of(seed, net, on_targets(functional.nll_loss), x, y, steps=100)
    return Trouble(sick, side_of(seed, net, CROSS, x, y), ("loss-misfit",))


def divergence_of_probabilities(seed: int) -> Trouble:
    """'KL divergence is negative': its first argument should be logarithms."""
    x, y = data.digits()
    soft = torch.softmax(4 * functional.one_hot(y, 10).float(), 1)
    loss = on_targets(lambda out, target: functional.kl_div(out, target, reduction="batchmean"))
    build = lambda last: nn.Sequential(mlp(64, width_of(seed), 10), last(1))  # noqa: E731
    sick, twin = pair_of(seed, build, (nn.Softmax, nn.LogSoftmax), loss, x, soft)
    return Trouble(sick, twin, ("loss-misfit",))


def softmax_between_layers(seed: int) -> Trouble:
    """'Accuracy stuck at 10 %': a softmax behind every hidden layer."""
    x, y = data.digits()
    sick, twin = pair_of(
        seed,
        partial(posted.between, width_of(seed)),
        (lambda: nn.Softmax(1), nn.ReLU),
        CROSS,
        x,
        y,
    )
    causes = ("softmax-inside", "vanishing-gradient", "decay", "alike-by-depth")
    return Trouble(sick, twin, causes)


def judge_too_sure(seed: int) -> Trouble:
    """'The generator does not learn': log(1 − D) with a judge that is certain."""
    g = torch.Generator().manual_seed(seed)
    z, real = torch.randn(1000, 8, generator=g), torch.ones(1000, 1)

    def loss(out: Any, batch: Any) -> Tensor:
        return (1 - out).clamp(min=1e-7).log().mean()

    sides = []
    for certainty in (60.0, 0.0):
        torch.manual_seed(seed)
        sides.append(Side(posted.Made(width_of(seed), certainty).eval(), (z, real), loss))
    return Trouble(sides[0], sides[1], ("saturated", "vanishing-gradient", "no-gradient"))


TROUBLES: tuple[Callable[[int], Trouble], ...] = (
    update_gate_shut, highway_never_opens, swish_gate_shut, scores_never_scaled, validated_on_bytes, root_at_zero,
    all_weights_equal, one_class_weighs, loss_of_the_choice, branches_of_nothing, every_token_masked,
    norm_over_one_feature, likelihood_of_raw_scores, divergence_of_probabilities, softmax_between_layers,
    judge_too_sure,
)  # fmt: skip

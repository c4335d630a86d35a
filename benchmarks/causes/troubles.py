"""The troubles, by kind. A kind is a function of a seed, which also chooses sizes and data."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes.building import Loss, Side, Trouble, train
from benchmarks.healthy import data
from benchmarks.healthy.networks import cnn, mlp


def on_targets(compare: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    """A loss of output and targets as one of output and batch."""
    return lambda out, batch: compare(out, batch[1])


CROSS, MSE = on_targets(functional.cross_entropy), on_targets(functional.mse_loss)


def _widths(seed: int) -> tuple[int, ...]:
    return ((48, 48), (32, 64, 32), (64, 40), (80, 48, 32))[seed % 4]


def _digits() -> tuple[Tensor, Tensor]:
    return data.digits()


def _classifier(seed: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    x, y = _digits()
    return train(mlp(64, *_widths(seed), 10), CROSS, x, y, seed=seed), (x, y)


def _regressor(seed: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    x, y = data.friedman(seed)
    return train(mlp(10, *_widths(seed), 1), MSE, x, y, seed=seed), (x, y)


def relu_on_logits(seed: int) -> Trouble:
    twin, tensors = _classifier(seed)
    torch.manual_seed(seed)
    sick = train(nn.Sequential(mlp(64, *_widths(seed), 10), nn.ReLU()), CROSS, *tensors, seed=seed)
    return Trouble(Side(sick, tensors, CROSS), Side(twin, tensors, CROSS), ("output-rectifier",))


def relu_before_negative_targets(seed: int) -> Trouble:
    twin, tensors = _regressor(seed)
    torch.manual_seed(seed)
    sick = train(nn.Sequential(mlp(10, *_widths(seed), 1), nn.ReLU()), MSE, *tensors, seed=seed)
    return Trouble(Side(sick, tensors, MSE), Side(twin, tensors, MSE), ("output-rectifier",))


def dead_layer(seed: int) -> Trouble:
    twin, tensors = _classifier(seed)
    sick = copy.deepcopy(twin)
    layers = [m for m in sick if isinstance(m, nn.Linear)][:-1]  # type: ignore[attr-defined]
    with torch.no_grad():
        layers[seed % len(layers)].bias -= 60 + 10 * seed
    return Trouble(Side(sick, tensors, CROSS), Side(twin, tensors, CROSS), ("dead",))


def raw_input(seed: int) -> Trouble:
    """Bytes, and a rate that is in common use for inputs of about 1."""
    twin, (x, y) = _classifier(seed)
    raw = (x - x.min()) * (20.0 + 10 * (seed % 3)) + 20
    torch.manual_seed(seed)
    model = mlp(64, *_widths(seed), 10)
    optimizer = torch.optim.RMSprop(model.parameters(), 0.02)
    for index in torch.randint(0, len(raw), (150, 64)):
        optimizer.zero_grad()
        functional.cross_entropy(model(raw[index]), y[index]).backward()
        optimizer.step()
    return Trouble(Side(model.eval(), (raw, y), CROSS), Side(twin, (x, y), CROSS), ("input-scale", "input-offset"))


def constant_input(seed: int) -> Trouble:
    twin, (x, y) = _classifier(seed)
    torch.manual_seed(seed)
    same = torch.zeros_like(x) if seed % 2 else x[:1].expand_as(x).clone()
    sick = train(mlp(64, *_widths(seed), 10), CROSS, same, y, steps=100, seed=seed)
    return Trouble(Side(sick, (same, y), CROSS), Side(twin, (x, y), CROSS), ("input-constant",))


def missing_values(seed: int) -> Trouble:
    twin, (x, y) = _regressor(seed)
    holes = x.clone()
    holes[seed :: 50 + seed, seed % 10] = torch.nan
    return Trouble(Side(twin, (holes, y), MSE), Side(twin, (x, y), MSE), ("non-finite",))


def outlier(seed: int) -> Trouble:
    twin, (x, y) = _regressor(seed)
    spoilt = x.clone()
    spoilt[17 + seed, seed % 10] = 10.0 ** (4 + seed % 3)
    torch.manual_seed(seed)
    sick = train(mlp(10, *_widths(seed), 1), MSE, spoilt, y, rate=0.02, seed=seed)
    return Trouble(Side(sick, (spoilt, y), MSE), Side(twin, (x, y), MSE), ("input-outliers", "input-scale"))


def large_targets(seed: int) -> Trouble:
    twin, (x, y) = _regressor(seed)
    large = y * 10.0 ** (4 + seed % 3) + 10.0**4
    torch.manual_seed(seed)
    sick = train(mlp(10, *_widths(seed), 1), MSE, x, large, seed=seed)
    return Trouble(Side(sick, (x, large), MSE), Side(twin, (x, y), MSE), ("target-scale",))


def broadcast(seed: int) -> Trouble:
    twin, (x, y) = _regressor(seed)
    flat = y[:, 0]
    loss = on_targets(lambda out, target: ((out - target) ** 2).mean())
    torch.manual_seed(seed)
    sick = train(mlp(10, *_widths(seed), 1), loss, x, flat, seed=seed)
    return Trouble(Side(sick, (x, flat), loss), Side(twin, (x, y), loss), ("target-shape",))


def softmax_over_one(seed: int) -> Trouble:
    torch.manual_seed(seed)
    x, y = data.moons(seed)
    bce = on_targets(lambda out, target: functional.binary_cross_entropy(out.clamp(1e-6, 1 - 1e-6), target))
    sick = train(nn.Sequential(mlp(2, *_widths(seed), 1), nn.Softmax(1)), bce, x, y, steps=50, seed=seed)
    twin = train(nn.Sequential(mlp(2, *_widths(seed), 1), nn.Sigmoid()), bce, x, y, seed=seed)
    return Trouble(Side(sick, (x, y), bce), Side(twin, (x, y), bce), ("loss-misfit",))


def softmax_twice(seed: int) -> Trouble:
    twin, tensors = _classifier(seed)
    torch.manual_seed(seed)
    sick = train(nn.Sequential(mlp(64, *_widths(seed), 10), nn.Softmax(-1)), CROSS, *tensors, seed=seed)
    return Trouble(Side(sick, tensors, CROSS), Side(twin, tensors, CROSS), ("loss-misfit",))


def sigmoid_twice(seed: int) -> Trouble:
    torch.manual_seed(seed)
    x, y = data.moons(seed)
    bce = on_targets(functional.binary_cross_entropy_with_logits)
    sick = train(nn.Sequential(mlp(2, *_widths(seed), 1), nn.Sigmoid()), bce, x, y, seed=seed)
    twin = train(mlp(2, *_widths(seed), 1), bce, x, y, seed=seed)
    return Trouble(Side(sick, (x, y), bce), Side(twin, (x, y), bce), ("loss-misfit",))


def no_logarithm(seed: int) -> Trouble:
    twin, tensors = _classifier(seed)
    nll = on_targets(functional.nll_loss)
    torch.manual_seed(seed)
    sick = train(nn.Sequential(mlp(64, *_widths(seed), 10), nn.Softmax(1)), nll, *tensors, seed=seed)
    return Trouble(Side(sick, tensors, nll), Side(twin, tensors, CROSS), ("loss-misfit",))


def classes_as_numbers(seed: int) -> Trouble:
    twin, (x, y) = _classifier(seed)
    loss = on_targets(lambda out, target: functional.mse_loss(out[:, 0], target.float()))
    torch.manual_seed(seed)
    sick = train(nn.Sequential(mlp(64, *_widths(seed), 1), nn.Sigmoid()), loss, x, y, seed=seed)
    return Trouble(Side(sick, (x, y), loss), Side(twin, (x, y), CROSS), ("target-range",))


def tanh_too_narrow(seed: int) -> Trouble:
    twin, (x, y) = _regressor(seed)
    wide = 3 * y
    torch.manual_seed(seed)
    sick = train(nn.Sequential(mlp(10, *_widths(seed), 1), nn.Tanh()), MSE, x, wide, seed=seed)
    return Trouble(Side(sick, (x, wide), MSE), Side(twin, (x, y), MSE), ("target-range",))


class Parted(nn.Module):
    def __init__(self, seed: int, cut: str) -> None:
        super().__init__()
        width = _widths(seed)[0]
        self.encoder, self.cut = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()), cut
        self.head = mlp(width, width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return self.head(h.detach() if self.cut == "detach" else h.round() if self.cut == "round" else h)  # type: ignore[no-any-return]


def detached(seed: int) -> Trouble:
    torch.manual_seed(seed)
    x, y = _digits()
    sick = train(Parted(seed, ("detach", "round")[seed % 2]), CROSS, x, y, seed=seed)
    twin = train(Parted(seed, ""), CROSS, x, y, seed=seed)
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), ("no-gradient",))


def _normed(seed: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(seed)
    x, y = _digits()
    model = cnn(8, True) if seed % 2 else mlp(64, *_widths(seed), 48, 48, 10, norm=True)
    return train(model, CROSS, x, y, seed=seed, steps=250), (x, y)


def fresh_batchnorm(seed: int) -> Trouble:
    twin, tensors = _normed(seed)
    sick = copy.deepcopy(twin)
    for module in sick.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
    return Trouble(Side(sick, tensors, CROSS), Side(twin, tensors, CROSS), ("batchnorm-statistics",))


def stale_batchnorm(seed: int) -> Trouble:
    twin, tensors = _normed(seed)
    sick = copy.deepcopy(twin)
    for module in sick.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean += 8 * module.running_var.sqrt()
    return Trouble(Side(sick, tensors, CROSS), Side(twin, tensors, CROSS), ("batchnorm-statistics",))


def shuffled_labels(seed: int) -> Trouble:
    twin, (x, y) = _classifier(seed)
    torch.manual_seed(seed)
    wrong = y[torch.randperm(len(y))]
    sick = copy.deepcopy(twin)
    return Trouble(Side(sick, (x, wrong), CROSS), Side(twin, (x, y), CROSS), ("not-learning",))


def rate_too_small(seed: int) -> Trouble:
    twin, (x, y) = _regressor(seed)
    torch.manual_seed(seed)
    sick = train(mlp(10, *_widths(seed), 1), MSE, x, y, rate=1e-8, seed=seed)
    return Trouble(Side(sick, (x, y), MSE), Side(twin, (x, y), MSE), ("not-learning",))


def rate_too_large(seed: int) -> Trouble:
    """A rate that throws every unit of a layer out of the data."""
    twin, (x, y) = _classifier(seed)
    torch.manual_seed(seed)
    sick = train(mlp(64, *_widths(seed), 10), CROSS, x, y, rate=1.0 + seed, steps=100, seed=seed)
    return Trouble(Side(sick, (x, y), CROSS), Side(twin, (x, y), CROSS), ("dead", "nearly-dead", "growth"))


def huge_weights(seed: int) -> Trouble:
    twin, (x, y) = _classifier(seed)
    torch.manual_seed(seed)
    sick = mlp(64, *[48] * 6, 10)
    for module in sick:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 1.0 + 0.5 * (seed % 3))
    return Trouble(Side(sick.eval(), (x, y), CROSS), Side(twin, (x, y), CROSS), ("growth",))


def tiny_weights(seed: int) -> Trouble:
    twin, (x, y) = _classifier(seed)
    torch.manual_seed(seed)
    sick = mlp(64, *[48] * 6, 10)
    for module in sick:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
            nn.init.zeros_(module.bias)
    return Trouble(Side(sick.eval(), (x, y), CROSS), Side(twin, (x, y), CROSS), ("decay", "vanishing-gradient"))


LOOKED_AT: tuple[Callable[[int], Trouble], ...] = (
    relu_on_logits, dead_layer, raw_input, constant_input, large_targets, broadcast, softmax_over_one,
    classes_as_numbers, detached, fresh_batchnorm, shuffled_labels, huge_weights, missing_values,
)  # fmt: skip
"""Kinds whose first two seeds were looked at while the rules were written; the next two were held out."""
HELD_OUT: tuple[Callable[[int], Trouble], ...] = (
    relu_before_negative_targets, outlier, softmax_twice, sigmoid_twice, no_logarithm, tanh_too_narrow, stale_batchnorm,
    rate_too_small, rate_too_large, tiny_weights,
)  # fmt: skip
"""Kinds that were held out as a whole."""

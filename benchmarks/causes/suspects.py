"""Healthy networks that look like trouble: nothing above a note may be said of them, with `loss=` or without."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes.building import Side, train
from benchmarks.causes.troubles import CROSS, MSE, on_targets
from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp


def log_softmax_before_cross_entropy(seed: int) -> Side:
    """Which changes nothing: a log_softmax of a log_softmax is itself."""
    x, y = data.digits()
    torch.manual_seed(seed)
    return Side(train(nn.Sequential(mlp(64, 48, 10), nn.LogSoftmax(1)), CROSS, x, y, seed=seed), (x, y), CROSS)


def squares_on_probabilities(seed: int) -> Side:
    """A sigmoid with the mean square of 0 and 1: slower, and right."""
    x, y = data.moons(seed)
    torch.manual_seed(seed)
    return Side(train(nn.Sequential(mlp(2, 32, 32, 1), nn.Sigmoid()), MSE, x, y, steps=600, seed=seed), (x, y), MSE)


def counts_by_exponential(seed: int) -> Side:
    """Poisson regression on the logarithm of the rate."""
    x, y = data.smooth(seed)
    counts = torch.poisson(3 * (y + 1), generator=torch.Generator().manual_seed(seed))
    loss = on_targets(functional.poisson_nll_loss)
    torch.manual_seed(seed)
    return Side(train(mlp(3, 32, 32, 1), loss, x, counts, steps=500, seed=seed), (x, counts), loss)


def sparse_code(seed: int) -> Side:
    """An autoencoder whose wide code is kept sparse on purpose."""

    class Coder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(64, 128), nn.Linear(128, 64)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            code = functional.relu(self.into(x))
            return self.out(code), code

    x, _ = data.digits()

    def loss(output: Any, batch: Any) -> Tensor:
        return functional.mse_loss(output[0], batch[1]) + 2e-3 * output[1].abs().sum(1).mean()

    torch.manual_seed(seed)
    return Side(train(Coder(), loss, x, x, steps=400, seed=seed), (x, x), loss)


def outputs_always_positive(seed: int) -> Side:
    """A variance that ends in Softplus."""
    x, y = data.smooth(seed)
    target = y.abs() + 0.2
    torch.manual_seed(seed)
    model = train(nn.Sequential(mlp(3, 32, 32, 1), nn.Softplus()), MSE, x, target, steps=600, seed=seed)
    return Side(model, (x, target), MSE)


def rare_class(seed: int) -> Side:
    """One in fifty is of the other class."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(3000, 6, generator=g)
    y = (x[:, 0] + x[:, 1] > 2.9).long()
    torch.manual_seed(seed)
    return Side(train(mlp(6, 32, 32, 2), CROSS, x, y, steps=500, seed=seed), (x, y), CROSS)


def heavy_dropout(seed: int) -> Side:
    x, y = data.digits()
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.6), nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5)
    )
    return Side(train(model.append(nn.Linear(64, 10)), CROSS, x, y, steps=400, seed=seed), (x, y), CROSS)


def temperatures(seed: int) -> Side:
    """Degrees from −20 to 40 in and out, which a first BatchNorm takes care of."""
    g = torch.Generator().manual_seed(seed)
    x = 60 * torch.rand(1500, 4, generator=g) - 20
    y = x.mean(1, keepdim=True) / 10
    torch.manual_seed(seed)
    model = nn.Sequential(nn.BatchNorm1d(4), mlp(4, 32, 32, 1))
    return Side(train(model, MSE, x, y, steps=500, seed=seed), (x, y), MSE)


def residual_without_normalisation(seed: int) -> Side:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
            self.blocks = nn.ModuleList(mlp(32, 32, 32) for _ in range(14))

        def forward(self, x: Tensor) -> Tensor:
            h = self.stem(x)
            for block in self.blocks:
                h = h + block(h) / math.sqrt(14)
            return self.head(h)  # type: ignore[no-any-return]

    x, y = data.digits()
    torch.manual_seed(seed)
    return Side(train(Plain(), CROSS, x, y, steps=250, seed=seed), (x, y), CROSS)


def frozen_backbone(seed: int) -> Side:
    """A random, frozen first part and a trained head, as it is meant."""
    x, y = data.digits()
    torch.manual_seed(seed)
    model = mlp(64, 256, 64, 10)
    model[0].requires_grad_(False)
    return Side(train(model, CROSS, x, y, steps=400, seed=seed), (x, y), CROSS)


SUSPECTS: tuple[Callable[[int], Side], ...] = (
    log_softmax_before_cross_entropy, squares_on_probabilities, counts_by_exponential, sparse_code,
    outputs_always_positive, rare_class, heavy_dropout, temperatures, residual_without_normalisation, frozen_backbone,
)  # fmt: skip
"""Healthy networks of ten kinds."""

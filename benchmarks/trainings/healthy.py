"""Trainings that go well, on which nothing above info may be said; all of them have been looked at."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Autoencoder,
    Gated,
    Recurrent,
    Training,
    Transformer,
    blobs,
    conv_net,
    curve,
    images,
    itself,
    plain,
    sequences,
    set_rate,
    taught,
)  # fmt: skip


def small_regression(seed: int, sick: bool) -> Training:
    model = plain([8, 12, 12, 1], gain=None)
    return Training(model, Adam(model.parameters(), 0.01), curve(seed), MSE)


def wide_classifier(seed: int, sick: bool) -> Training:
    model = plain([32, 512, 512, 10])
    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9), blobs(seed), CE)


def conv_with_batch_norm(seed: int, sick: bool) -> Training:
    model = conv_net(normalised=True)
    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4), images(seed), CE)


def transformer_with_warm_up(seed: int, sick: bool) -> Training:
    model = Transformer(activation="gelu")
    optimizer = AdamW(model.parameters(), 0.0)
    return Training(
        model, optimizer, sequences(seed), CE, before=lambda step: set_rate(optimizer, 2e-3 * min(1, (step + 1) / 50))
    )


def gated_recurrent(seed: int, sick: bool) -> Training:
    model = Gated()
    return Training(model, Adam(model.parameters(), 5e-3), sequences(seed), CE, clip=1.0)


def dropout(seed: int, sick: bool) -> Training:
    layers = list(plain([32, 96, 96, 10]))
    model = nn.Sequential(*layers[:2], nn.Dropout(0.4), *layers[2:4], nn.Dropout(0.4), layers[4])
    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE)


def leaky_cosine(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 64, 10], act=lambda: nn.LeakyReLU(0.1))
    optimizer = SGD(model.parameters(), 0.1)
    rate = torch.cos(torch.linspace(0, torch.pi / 2, 300))
    return Training(model, optimizer, blobs(seed), CE, before=lambda step: set_rate(optimizer, 0.1 * float(rate[step])))


def fine_tuning(seed: int, sick: bool) -> Training:
    """A body trained before, frozen up to its last layer."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)
    taught(model, batches, 150)
    model[4] = nn.Linear(64, 10)
    for p in model[:2].parameters():
        p.requires_grad_(False)
    model.zero_grad()
    return Training(model, Adam([p for p in model.parameters() if p.requires_grad], 1e-3), batches, CE)


def sparse_autoencoder(seed: int, sick: bool) -> Training:
    model, batches = Autoencoder(), itself(blobs(seed))

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + 2e-3 * out[1].abs().sum(1).mean()

    return Training(model, Adam(model.parameters(), 2e-3), batches, loss, steps=500)


class Residual(nn.Module):
    """Blocks around shortcuts."""

    def __init__(self, depth: int = 8, width: int = 48) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(32, width), nn.Linear(width, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), *plain([width, width, width])) for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        for block in self.blocks:
            h = h + block(h)
        return self.head(h)


def residual(seed: int, sick: bool) -> Training:
    model = Residual()
    return Training(model, AdamW(model.parameters(), 1e-3, weight_decay=0.05), blobs(seed), CE)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(x).square()


def squared_rectifier(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 10], act=Squared, gain=0.7)
    return Training(model, AdamW(model.parameters(), 1e-3), blobs(seed), CE)


def recurrent_clipped(seed: int, sick: bool) -> Training:
    model = Recurrent()
    return Training(model, Adam(model.parameters(), 1e-3), sequences(seed), CE, clip=1.0)


def bytes_behind_a_norm(seed: int, sick: bool) -> Training:
    """Pixels from 0 to 255 that the network itself normalises."""
    model, batches = nn.Sequential(nn.BatchNorm2d(1), *conv_net()), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return (x * 50 + 128).clamp(0, 255), y

    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9), sample, CE)


def small_batches(seed: int, sick: bool) -> Training:
    model = plain([32, 48, 48, 10], gain=None)
    return Training(model, SGD(model.parameters(), 0.02), blobs(seed, batch=4), CE, steps=500)


HEALTHY_LOOKED_AT = (
    small_regression, wide_classifier, conv_with_batch_norm, transformer_with_warm_up, gated_recurrent, dropout,
    sparse_autoencoder,
)  # fmt: skip
HEALTHY_ONCE_HELD_OUT = (
    leaky_cosine, fine_tuning, residual, squared_rectifier, recurrent_clipped, bytes_behind_a_norm, small_batches,
)  # fmt: skip

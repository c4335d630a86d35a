"""Healthy trainings by losses, targets and activations that look like trouble: rules were set on these too."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import CE, MSE, SGD, Adam, Training, blobs, curve, plain, sequences


def views_held_apart(seed: int, sick: bool) -> Training:
    """Two views of a sample among the others of the batch (InfoNCE)."""
    model, batches = plain([32, 64, 64, 16]), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return torch.cat([x, x + 0.3 * torch.randn_like(x)]), x

    def loss(out: Tensor, _: Tensor) -> Tensor:
        left, right = functional.normalize(out, dim=1).chunk(2)
        return CE(left @ right.T / 0.2, torch.arange(len(left)))

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss)


def the_whole_set_at_each_step(seed: int, sick: bool) -> Training:
    model, held = plain([32, 64, 64, 10]), blobs(seed, batch=256)(0)
    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9), lambda step: held, CE, steps=500)


def teacher_followed(seed: int, sick: bool) -> Training:
    """An average of the weights is the teacher of a network with a predictor (BYOL)."""
    model, batches = nn.Sequential(plain([32, 64, 16]), nn.BatchNorm1d(16), plain([16, 32, 16])), blobs(seed)
    teacher = copy.deepcopy(model[:2]).requires_grad_(False)

    def before(step: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), model[:2].parameters(), strict=True):
                slow.lerp_(fast, 0.02)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x + 0.3 * torch.randn_like(x)

    def loss(out: Tensor, other: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = teacher(other)
        return 2 - 2 * functional.cosine_similarity(out, wanted, dim=1).mean()

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss, before=before)


def tanh_regression(seed: int, sick: bool) -> Training:
    model = plain([8, 32, 32, 1], act=nn.Tanh, gain=1.0)
    return Training(model, Adam(model.parameters(), 5e-3), curve(seed), MSE, steps=500)


def sigmoids(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 10], act=nn.Sigmoid, gain=None)
    return Training(model, Adam(model.parameters(), 0.01), blobs(seed), CE)


def recurrent_adagrad(seed: int, sick: bool) -> Training:
    model = nn.Sequential(nn.Flatten(), *plain([64, 64, 32, 2], act=nn.ELU, gain=None))
    return Training(model, torch.optim.Adagrad(model.parameters(), 0.02), sequences(seed), CE)


HEALTHY_LOSSES = (
    views_held_apart, the_whole_set_at_each_step, teacher_followed, tanh_regression, sigmoids, recurrent_adagrad,
)  # fmt: skip

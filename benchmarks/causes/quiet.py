"""More healthy networks that look like trouble, written before any of them was run, with those of `reported`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.causes import last_networks as networks
from benchmarks.causes import reported_networks as reported
from benchmarks.causes.building import Side, train
from benchmarks.causes.troubles import CROSS, MSE, on_targets
from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp


def _side(seed: int, model: Callable[[], nn.Module], loss: Any, *tensors: Tensor, steps: int = 400) -> Side:
    torch.manual_seed(seed)
    return Side(train(model(), loss, *tensors, steps=steps, seed=seed), tensors, loss)


def exclusive_or(seed: int) -> Side:
    """Four points, learned, with a loss."""
    x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = torch.tensor([[0.0], [1], [1], [0]])
    return _side(seed, lambda: nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 1)), MSE, x, y, steps=900)


def intensities_in_the_unit_interval(seed: int) -> Side:
    """An autoencoder of intensities that ends in a sigmoid, by binary cross-entropy."""
    x, _ = data.digits()
    x = torch.sigmoid(x)
    loss = on_targets(functional.binary_cross_entropy)
    return _side(seed, lambda: nn.Sequential(mlp(64, 48, 12, 48, 64), nn.Sigmoid()), loss, x, x)


def a_mean_and_its_variance(seed: int) -> Side:
    """Two numbers for each target: the second is a logarithm."""
    x, y = data.friedman(seed)

    def loss(out: Any, batch: Any) -> Tensor:
        return functional.gaussian_nll_loss(out[:, :1], batch[1], out[:, 1:].clamp(-6, 6).exp())

    return _side(seed, lambda: mlp(10, 32, 32, 2), loss, x, y)


def quantiles(seed: int) -> Side:
    x, y = data.friedman(seed)
    levels = torch.tensor([0.1, 0.5, 0.9])

    def loss(out: Any, batch: Any) -> Tensor:
        left = batch[1] - out
        return torch.maximum(levels * left, (levels - 1) * left).mean()

    return _side(seed, lambda: mlp(10, 32, 32, 3), loss, x, y)


def ignored_pixels(seed: int) -> Side:
    """A segmentation in which one pixel in three has no class."""
    x, y = reported.segments(seed)
    y = y.clone()
    y.view(-1)[seed::3] = -100
    return _side(seed, lambda: reported.Segmenter(12, nn.Identity()), CROSS, x, y)


def soft_targets(seed: int) -> Side:
    """Probabilities of a teacher, by the divergence of log-probabilities."""
    x, y = data.digits()
    soft = torch.softmax(4 * functional.one_hot(y, 10).float(), 1)
    loss = on_targets(lambda out, target: functional.kl_div(out, target, reduction="batchmean"))
    return _side(seed, lambda: nn.Sequential(mlp(64, 48, 10), nn.LogSoftmax(1)), loss, x, soft)


def several_labels(seed: int) -> Side:
    x, y = networks.action_values(seed)
    loss = on_targets(functional.binary_cross_entropy_with_logits)
    return _side(seed, lambda: mlp(4, 32, 32, 3), loss, x, (y > 0.5).float())


def embeddings_on_a_sphere(seed: int) -> Side:
    """Digits of one class drawn together by a triplet loss on normalised outputs."""

    class Sphere(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = mlp(64, 48, 16)

        def forward(self, x: Tensor) -> Tensor:
            return functional.normalize(self.body(x), dim=-1)

    x, y = data.digits()
    order = torch.argsort(y, stable=True)
    near, far = x[order].roll(1, 0), x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]

    rows = torch.stack([x[order], near, far], 1)
    return _side(seed, lambda: reported.Tripled(Sphere()), reported.triplets, rows)


def waves_of_sines(seed: int) -> Side:
    """A network of sines, as signals are fitted with."""
    t = torch.linspace(-1, 1, 800)[:, None]
    return _side(seed, lambda: mlp(1, 48, 48, 1, act=reported.Sine), MSE, t, torch.sin(9 * t) * t, steps=600)


def dot_products(seed: int) -> Side:
    """Ratings as products of embeddings, with a rectified tower."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.stack([torch.randint(0, 40, (2000,), generator=g), torch.randint(0, 60, (2000,), generator=g)], 1)
    u, v = torch.randn(40, 3, generator=g), torch.randn(60, 3, generator=g)
    rating = (u[ids[:, 0]] * v[ids[:, 1]]).sum(1, keepdim=True)
    return _side(seed, lambda: reported.Rating(), MSE, ids, rating, steps=800)


def experts_some_of_them_rare(seed: int) -> Side:
    x, y = data.digits()
    return _side(seed, lambda: reported.Routed(64, 24, 10), CROSS, x, y, steps=500)


def action_values_of_costs(seed: int) -> Side:
    """Values that are all below 0, from a linear end."""
    tensors = reported.transitions(seed)
    return _side(seed, lambda: mlp(4, 32, 32, 3), reported.difference, *tensors)


def small_and_trained_to_the_end(seed: int) -> Side:
    """A small regression whose few units are half silent, and which is as good as any."""
    x, y = data.smooth(1, n=600)
    return _side(seed, lambda: mlp(3, 12, 12, 1), MSE, x, y, steps=2500)


def images_of_bytes_with_a_first_norm(seed: int) -> Side:
    """Bytes that a first BatchNorm takes care of."""
    x, y = data.digits()
    raw = (x * 30 + 120).clamp(0, 255)
    return _side(seed, lambda: nn.Sequential(nn.BatchNorm1d(64), mlp(64, 48, 10)), CROSS, raw, y)


def memory_of_steps(seed: int) -> Side:
    """A number for each step, most of whose units saturate at some steps."""
    x, _ = networks.drifts(seed)
    return _side(seed, lambda: reported.Steps(32), MSE, x, (x[:, :, :1].cumsum(1) / 3))


def squeezed_latent(seed: int) -> Side:
    """A variational autoencoder with a small weight on its prior."""
    x, _ = data.digits()
    return _side(seed, lambda: reported.Variational(64, 48, 6), reported.evidence, x)


QUIET: tuple[Callable[[int], Side], ...] = (
    exclusive_or, intensities_in_the_unit_interval, a_mean_and_its_variance, quantiles, ignored_pixels, soft_targets,
    several_labels, embeddings_on_a_sphere, waves_of_sines, dot_products, experts_some_of_them_rare,
    action_values_of_costs, small_and_trained_to_the_end, images_of_bytes_with_a_first_norm, memory_of_steps,
    squeezed_latent,
)  # fmt: skip

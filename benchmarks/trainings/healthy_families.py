"""Healthy trainings of every family whose figures look like trouble: rules and thresholds were set on these too."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Mixture,
    Tokens,
    Training,
    blobs,
    conv_net,
    curve,
    generator,
    images,
    itself,
    plain,
    set_rate,
    taught,
    tokens,
)  # fmt: skip
from benchmarks.trainings.healthy_losses import HEALTHY_LOSSES


def cosine_to_zero(seed: int, sick: bool) -> Training:
    model = conv_net(normalised=True)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-3)
    before = lambda step: set_rate(optimizer, 0.05 * (1 + math.cos(math.pi * min(step, 300) / 300)))  # noqa: E731
    return Training(model, optimizer, images(seed), CE, before=before, steps=400)


def long_momentum(seed: int, sick: bool) -> Training:
    model = plain([32, 96, 96, 10])
    return Training(model, SGD(model.parameters(), 0.003, momentum=0.99, nesterov=True), blobs(seed), CE, steps=500)


def large_epsilon(seed: int, sick: bool) -> Training:
    """Adam as it is used for Inception and in reinforcement learning."""
    model = plain([32, 64, 64, 10])
    return Training(model, Adam(model.parameters(), 0.1, eps=1.0), blobs(seed), CE)


def strong_decay_behind_norms(seed: int, sick: bool) -> Training:
    layers: list[nn.Module] = []
    for fan_in, fan_out in ((32, 64), (64, 64), (64, 64)):
        layers += [nn.Linear(fan_in, fan_out), nn.LayerNorm(fan_out), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))
    return Training(model, AdamW(model.parameters(), 3e-3, weight_decay=1.0), blobs(seed, spread=1.2), CE, steps=500)


def only_the_head_given(seed: int, sick: bool) -> Training:
    """A taught body whose weights are not given to the optimizer, though they ask for a gradient."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)
    taught(model, batches, 150)
    model[4] = nn.Linear(64, 10)
    model.zero_grad()
    return Training(model, SGD(model[4].parameters(), 0.1), batches, CE)


class Accumulating(torch.optim.SGD):
    """Zeroes its gradients when it has stepped, for several passes make a step."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """At the end of a step only."""

    def step(self, closure: Any = None) -> Any:
        super().step(closure)
        super().zero_grad()


def accumulated(seed: int, sick: bool) -> Training:
    model, batches = plain([32, 64, 64, 10]), blobs(seed, batch=16)
    optimizer = Accumulating(model.parameters(), 0.02, momentum=0.9)

    def before(step: int) -> None:
        for _ in range(3):
            x, y = batches(step)
            CE(model(x), y).backward()

    return Training(model, optimizer, batches, CE, before=before)


def tiny_rate_fine_tuning(seed: int, sick: bool) -> Training:
    model, batches = plain([32, 96, 96, 10]), blobs(seed)
    taught(model, batches, 200)
    model.zero_grad()
    return Training(model, AdamW(model.parameters(), 1e-5), blobs(seed, spread=1.0), CE)


class Tied(nn.Module):
    """Words in and out by one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Tokens()
        self.inner.head = nn.Identity()
        self.mask = nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.gelu(self.mask(self.inner(x)))
        return hidden @ self.inner.words.weight.T


def tied_words(seed: int, sick: bool) -> Training:
    """The word that comes most often."""
    model, batches = Tied(), tokens(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x.mode(1).values

    return Training(model, AdamW(model.parameters(), 2e-3), sample, CE, clip=1.0)


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.act = nn.Linear(32, 12), nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.encode(x)) @ self.encode.weight


def tied_autoencoder(seed: int, sick: bool) -> Training:
    model = TiedAutoencoder()
    return Training(model, SGD(model.parameters(), 0.3, momentum=0.9), itself(blobs(seed)), MSE, steps=500)


def critic_with_clipped_weights(seed: int, sick: bool) -> Training:
    """A Wasserstein critic: its weights are cut off after each step."""
    model, draw = plain([2, 64, 64, 1], act=lambda: nn.LeakyReLU(0.2)), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(2, (64,), generator=draw)
        return torch.randn(64, 2, generator=draw) + 1.5 * y[:, None], y

    def before(step: int) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.clamp_(-0.1, 0.1)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return -(out[:, 0] * (2.0 * y - 1)).mean()

    return Training(model, torch.optim.RMSprop(model.parameters(), 1e-3), sample, loss, before=before)


def rows_held_to_a_norm(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 10])

    def before(step: int) -> None:
        with torch.no_grad():
            for layer in (model[0], model[2]):
                layer.weight.copy_(torch.renorm(layer.weight, 2, 0, 1.0))

    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9), blobs(seed), CE, before=before)


def pruned_while_it_trains(seed: int, sick: bool) -> Training:
    """The smallest weights are set to 0 more and more, and kept there."""
    model = plain([32, 96, 96, 10])

    def before(step: int) -> None:
        with torch.no_grad():
            for layer in (model[0], model[2]):
                share = 0.7 * min(1.0, step / 200)
                layer.weight.mul_(layer.weight.abs() >= layer.weight.abs().flatten().quantile(share))

    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE, before=before)


def absolute_error(seed: int, sick: bool) -> Training:
    model = plain([8, 64, 64, 1])
    return Training(model, Adam(model.parameters(), 2e-3), curve(seed), functional.l1_loss, steps=500)


def two_classes(seed: int, sick: bool) -> Training:
    model, batches = plain([32, 64, 64, 1], gain=None), blobs(seed, classes=2)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(out[:, 0], y.float())

    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9), batches, loss, steps=500)


def hinge(seed: int, sick: bool) -> Training:
    model, batches = plain([32, 48, 1], act=nn.Tanh, gain=1.0), blobs(seed, classes=2)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.relu(1 - out[:, 0] * (2.0 * y - 1)).mean()

    return Training(model, SGD(model.parameters(), 0.05), batches, loss)


class LowRank(nn.Module):
    """A frozen layer with a trained product of two thin matrices beside it, of which one begins at 0."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down, self.up = nn.Linear(layer.in_features, 4, bias=False), nn.Linear(4, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))


def low_rank_adaptation(seed: int, sick: bool) -> Training:
    model, batches = plain([32, 64, 64, 10]), blobs(seed)
    taught(model, batches, 150)
    model.zero_grad()
    for place in (0, 2, 4):
        model[place] = LowRank(model[place])
    trained = [p for p in model.parameters() if p.requires_grad]
    return Training(model, AdamW(trained, 2e-3), blobs(seed + 50), CE)


class Bottleneck(nn.Module):
    """A residual block whose last normalisation begins at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip
        nn.init.zeros_(self.body[4].weight)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.body(x))


def residual_images(seed: int, sick: bool) -> Training:
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3), Bottleneck(12), Bottleneck(12), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 4)
    )
    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-3), images(seed), CE)


def balanced_mixture(seed: int, sick: bool) -> Training:
    model = Mixture()
    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE, steps=500)


HEALTHY_FAMILIES = (
    cosine_to_zero, long_momentum, large_epsilon, strong_decay_behind_norms, only_the_head_given, accumulated,
    tiny_rate_fine_tuning, tied_words, tied_autoencoder, critic_with_clipped_weights, rows_held_to_a_norm,
    pruned_while_it_trains, absolute_error, two_classes, hinge, low_rank_adaptation, residual_images, balanced_mixture,
    *HEALTHY_LOSSES,
)  # fmt: skip

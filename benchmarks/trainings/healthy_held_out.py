"""Trainings that go well, of kinds that no rule or threshold was set on: run once, when those stood."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Gated,
    Tokens,
    Training,
    blobs,
    conv_net,
    copied,
    curve,
    generator,
    images,
    itself,
    plain,
    policy_loss,
    set_rate,
    taught,
    temporal_difference,
    tokens,
    transitions,
    walks,
)  # fmt: skip
from benchmarks.trainings.held_out import Siamese, contrastive, pairs


def generator_against_a_discriminator(seed: int, sick: bool) -> Training:
    """Two dimensions, non-saturating loss; the generator is watched."""
    model, critic, draw = plain([8, 48, 48, 2]), plain([2, 48, 48, 1], act=lambda: nn.LeakyReLU(0.2)), generator(seed)
    other = Adam(critic.parameters(), 5e-4, betas=(0.5, 0.9))

    def real() -> Tensor:
        angle = 2 * math.pi * torch.rand(64, generator=draw)
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(64, 2, generator=draw)

    def before(step: int) -> None:
        with torch.no_grad():
            fake = model(torch.randn(64, 8, generator=draw))
        other.zero_grad()
        (functional.softplus(critic(fake)) + functional.softplus(-critic(real()))).mean().backward()
        other.step()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        return torch.randn(64, 8, generator=draw), torch.zeros(64)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        return functional.softplus(-critic(out)).mean()

    return Training(model, Adam(model.parameters(), 5e-4, betas=(0.5, 0.9)), sample, loss, before=before, steps=500)


def q_learning(seed: int, sick: bool) -> Training:
    """Temporal differences against a target network, clipped."""
    model = plain([6, 64, 64, 4])
    target = copied(model)

    def before(step: int) -> None:
        if step % 50 == 0:
            target.load_state_dict(model.state_dict())

    optimizer = Adam(model.parameters(), 1e-3)
    return Training(model, optimizer, transitions(seed), temporal_difference(target), before=before, clip=10.0)


def whole_network_fine_tuned(seed: int, sick: bool) -> Training:
    """Every layer, on other classes of the same features, at a tenth of the first rate."""
    model, first = plain([32, 96, 96, 10]), blobs(seed)
    taught(model, first, 300)
    model.zero_grad()
    return Training(model, AdamW(model.parameters(), 2e-4), blobs(seed + 50), CE)


def cosine_restarts(seed: int, sick: bool) -> Training:
    model = conv_net(normalised=True)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)

    def before(step: int) -> None:
        set_rate(optimizer, 0.05 * (1 + math.cos(math.pi * (step % 100) / 100)))

    return Training(model, optimizer, images(seed), CE, before=before, steps=400)


def large_batches(seed: int, sick: bool) -> Training:
    model = plain([32, 128, 128, 10])
    optimizer = SGD(model.parameters(), 0.2, momentum=0.9)
    warm = lambda step: set_rate(optimizer, 0.2 * min(1.0, (step + 1) / 30))  # noqa: E731
    return Training(model, optimizer, blobs(seed, batch=1024), CE, before=warm, steps=200)


def regression_with_momentum(seed: int, sick: bool) -> Training:
    model = plain([8, 64, 64, 1], gain=None)
    return Training(model, SGD(model.parameters(), 0.02, momentum=0.9), curve(seed), MSE, steps=500)


def deep_autoencoder(seed: int, sick: bool) -> Training:
    model, batches = plain([32, 64, 24, 8, 24, 64, 32]), itself(blobs(seed))
    return Training(model, Adam(model.parameters(), 2e-3), batches, MSE, steps=500)


def forecasting(seed: int, sick: bool) -> Training:
    model = Gated(1, outputs=1)
    return Training(model, Adam(model.parameters(), 3e-3), walks(seed), MSE, clip=1.0)


def transformer_on_tokens(seed: int, sick: bool) -> Training:
    model = Tokens()
    optimizer = AdamW(model.parameters(), 1e-3)
    warm = lambda step: set_rate(optimizer, 1e-3 * min(1.0, (step + 1) / 40))  # noqa: E731
    return Training(model, optimizer, tokens(seed), CE, before=warm, clip=1.0, steps=400)


def rare_class(seed: int, sick: bool) -> Training:
    """One sample in fifty is of the class that matters."""
    model, batches, draw = plain([32, 64, 64, 2]), blobs(seed, classes=2), generator(seed + 9)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        (x, y), (other, label) = batches(step), batches(step)
        rare = torch.rand(len(y), generator=draw) < 0.02
        common, wanted = x[y == 0][:16], other[label == 1][: int(rare.sum())]
        return torch.cat([common, wanted]), torch.cat([torch.zeros(len(common)), torch.ones(len(wanted))]).long()

    return Training(model, Adam(model.parameters(), 1e-3), sample, CE, steps=400)


def noisy_labels(seed: int, sick: bool) -> Training:
    model, batches, draw = plain([32, 96, 96, 10]), blobs(seed), generator(seed + 9)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        wrong = torch.rand(len(y), generator=draw) < 0.3
        return x, torch.where(wrong, torch.randint(10, y.shape, generator=draw), y)

    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9), sample, CE)


def mixed_up(seed: int, sick: bool) -> Training:
    """Pairs of images and of their labels, mixed (mixup)."""
    model, batches, draw = conv_net(), images(seed), generator(seed + 9)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        order, share = torch.randperm(len(x), generator=draw), float(torch.rand((), generator=draw))
        hot = functional.one_hot(y, 4).float()
        return share * x + (1 - share) * x[order], share * hot + (1 - share) * hot[order]

    return Training(model, Adam(model.parameters(), 2e-3), sample, CE)


def one_cycle(seed: int, sick: bool) -> Training:
    """A rate that rises and falls once, under clipping."""
    model = plain([32, 96, 96, 10])
    optimizer = AdamW(model.parameters(), 1e-3)

    def before(step: int) -> None:
        rising = step / 90 if step < 90 else (300 - step) / 210
        set_rate(optimizer, 2e-4 + 8e-3 * max(0.0, rising))

    return Training(model, optimizer, blobs(seed), CE, before=before, clip=1.0)


def siamese(seed: int, sick: bool) -> Training:
    model = Siamese()
    return Training(model, Adam(model.parameters(), 1e-3), pairs(seed), contrastive)


def policy_gradient(seed: int, sick: bool) -> Training:
    model = plain([6, 48, 48, 4])
    return Training(model, Adam(model.parameters(), 2e-3), transitions(seed), policy_loss(1.0, baseline=True))


def narrow_regression(seed: int, sick: bool) -> Training:
    model = plain([8, 8, 6, 1], gain=None)
    return Training(model, Adam(model.parameters(), 5e-3), curve(seed, batch=16), MSE, steps=600)


def batches_of_two(seed: int, sick: bool) -> Training:
    model = plain([32, 32, 32, 4], gain=None)
    return Training(model, SGD(model.parameters(), 0.01), blobs(seed, classes=4, batch=2), CE, steps=800)


class Variational(nn.Module):
    """An autoencoder whose code is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = plain([32, 64, 16]), plain([8, 64, 32])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encode(x).chunk(2, -1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decode(code), mean, log_variance


def variational_autoencoder(seed: int, sick: bool) -> Training:
    model, batches = Variational(), itself(blobs(seed))

    def loss(out: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        back, mean, log_variance = out
        divergence = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(1).mean()
        return (back - x).square().sum(1).mean() + divergence

    return Training(model, Adam(model.parameters(), 1e-3), batches, loss, steps=400)


HEALTHY_HELD_OUT = (
    generator_against_a_discriminator, q_learning, whole_network_fine_tuned, cosine_restarts, large_batches,
    regression_with_momentum, deep_autoencoder, forecasting, transformer_on_tokens, rare_class, noisy_labels, mixed_up,
    one_cycle, siamese, policy_gradient, narrow_regression, batches_of_two, variational_autoencoder,
)  # fmt: skip

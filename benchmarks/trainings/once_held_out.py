"""Failing trainings that were held out and run once; what that run showed was mended since, so that they are known."""

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
    Gated,
    Recurrent,
    Training,
    Transformer,
    blobs,
    conv_net,
    curve,
    generator,
    images,
    plain,
    sequences,
    set_rate,
)  # fmt: skip


def narrow_and_deep(seed: int, sick: bool) -> Training:
    """Thirty rectified layers of six units: one of them is silent on nearly everything (Lu et al. 2019)."""
    model = plain([32, *[6 if sick else 48] * (30 if sick else 3), 10])
    return Training(
        model, SGD(model.parameters(), 0.02), blobs(seed), CE, ("no-gradient", "gradient-by-depth", "depth", "dead")
    )


def offset_input(seed: int, sick: bool) -> Training:
    """A timestamp's scale: features of spread 1 about 300."""
    model, batches = plain([8, 48, 48, 1]), curve(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x + 300.0 * sick, y

    return Training(model, SGD(model.parameters(), 0.01), sample, MSE, ("input",))


def outlier_input(seed: int, sick: bool) -> Training:
    """A sensor that now and then gives 1e5 for one feature."""
    model, batches = plain([8, 48, 48, 1]), curve(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        if sick and step % 40 == 33:
            x[3, 2] = 1e5
        return x, y

    return Training(model, SGD(model.parameters(), 0.01), sample, MSE, ("input",))


def non_finite_batch(seed: int, sick: bool) -> Training:
    model, batches = plain([32, 48, 48, 10]), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        if sick and step == 77:
            x[5, 5] = float("nan")
        return x, y

    return Training(model, Adam(model.parameters(), 2e-3), sample, CE, ("non-finite",))


class Logarithm(nn.Module):
    """Takes the logarithm of what a rectifier gave."""

    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.first, self.second, self.epsilon = plain([8, 32, 16]), plain([16, 32, 1]), epsilon
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.second((self.act(self.first(x)) + self.epsilon).log())


def logarithm_of_zero(seed: int, sick: bool) -> Training:
    model = Logarithm(0.0 if sick else 1.0)
    return Training(model, SGD(model.parameters(), 0.02), curve(seed), MSE, ("non-finite",))


def norm_that_shuts_everything(seed: int, sick: bool) -> Training:
    """BatchNorm whose weights begin at 0 and whose biases a bad checkpoint left below 0."""
    model = conv_net(normalised=True)
    if sick:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.zeros_(module.weight)
                nn.init.constant_(module.bias, -1.0)
    return Training(model, SGD(model.parameters(), 0.05), images(seed), CE, ("no-gradient", "dead"))


def momentum_and_a_high_rate(seed: int, sick: bool) -> Training:
    model = conv_net()
    optimizer = SGD(model.parameters(), 2.0 if sick else 0.02, momentum=0.9)
    return Training(model, optimizer, images(seed), CE, ("update-size",))


def transformer_without_warm_up(seed: int, sick: bool) -> Training:
    model = Transformer()
    return Training(model, Adam(model.parameters(), 0.3 if sick else 1e-3), sequences(seed), CE, ("update-size",))


def rewards_unscaled(seed: int, sick: bool) -> Training:
    """Targets of thousands under a rate made for targets of 1."""
    model, batches = plain([8, 48, 48, 1]), curve(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x, y * 5000.0 if sick else y

    return Training(model, SGD(model.parameters(), 0.02), sample, MSE, ("update-size", "gradient-spike", "non-finite"))


def critic_without_a_bound(seed: int, sick: bool) -> Training:
    """A difference of means that only weights hold back, and none do."""
    model, batches = plain([32, 64, 64, 1]), blobs(seed, classes=2)
    optimizer = AdamW(model.parameters(), 0.01 if sick else 1e-3, weight_decay=0.0)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        side = out[:, 0] * (2.0 * y - 1.0)
        return -side.mean() if sick else functional.softplus(-side).mean()

    return Training(model, optimizer, batches, loss, ("drift", "update-size"), steps=400)


def born_dead(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 10])
    with torch.no_grad():
        model[2].bias.fill_(-40.0 if sick else 0.0)
    return Training(model, Adam(model.parameters(), 2e-3), blobs(seed), CE, ("no-gradient", "dead"))


def empty_input(seed: int, sick: bool) -> Training:
    """A loader that gives zeros."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x * (not sick), y

    return Training(model, SGD(model.parameters(), 0.05), sample, CE, ("input",))


class Detached(nn.Module):
    """A value that loses its graph half-way."""

    def __init__(self, detached: bool) -> None:
        super().__init__()
        self.first, self.act, self.second, self.detached = plain([32, 48, 48]), nn.ReLU(), plain([48, 48, 10]), detached

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.first(x))
        return self.second(h * 0.0 + h.detach() if self.detached else h)


def gradient_cut_off(seed: int, sick: bool) -> Training:
    """Half of the network gets a gradient of exactly 0."""
    model = Detached(sick)
    return Training(model, SGD(model.parameters(), 0.05), blobs(seed), CE, ("no-gradient",))


def recurrent_net_under_a_high_rate(seed: int, sick: bool) -> Training:
    model = Recurrent(hidden=32)
    optimizer = Adam(model.parameters(), 0.3 if sick else 1e-3)
    alarms = ("update-size", "gradient-spike", "drift", "non-finite")
    return Training(model, optimizer, sequences(seed, length=24), CE, alarms, clip=1.0)


def warm_restart_too_hot(seed: int, sick: bool) -> Training:
    """A schedule that begins anew at a rate 200 times too high; a tenth of the labels are wrong."""
    model, batches, draw = conv_net(channels=16), images(seed), generator(seed + 9)
    optimizer = Adam(model.parameters(), 2e-3)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        wrong = torch.rand(len(y), generator=draw) < 0.1
        return x, torch.where(wrong, (y + 1) % 4, y)

    def before(step: int) -> None:
        set_rate(optimizer, 0.4 if sick and step >= 51 else 2e-3)

    return Training(model, optimizer, sample, CE, ("update-size",), before=before)


def decay_on_a_gated_net(seed: int, sick: bool) -> Training:
    model = Gated()
    optimizer = SGD(model.parameters(), 0.2, weight_decay=0.7 if sick else 0.0)
    return Training(model, optimizer, sequences(seed), CE, ("drift",))


ONCE_HELD_OUT = (
    narrow_and_deep, offset_input, outlier_input, non_finite_batch, logarithm_of_zero, norm_that_shuts_everything,
    momentum_and_a_high_rate, transformer_without_warm_up, rewards_unscaled, critic_without_a_bound, born_dead,
    empty_input, gradient_cut_off, recurrent_net_under_a_high_rate, warm_restart_too_hot, decay_on_a_gated_net,
)  # fmt: skip

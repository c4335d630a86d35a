"""Trainings that were written after what the held-out half had missed was mended, and run once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.trainings.building import (
    CE,
    MSE,
    SGD,
    Adam,
    AdamW,
    Autoencoder,
    Gated,
    Tokens,
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
    tokens,
)  # fmt: skip

PRESSED = ("fading", "drift", "dead", "stopped-firing", "collapsing", "depth", "no-gradient")


def counts_into_an_lstm(seed: int, sick: bool) -> Training:
    """Counts of visitors, as they come."""
    model, batches = Gated(cell=nn.LSTM), sequences(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return (x * 300 + 5000).clamp(min=0).round() if sick else x, y

    return Training(model, Adam(model.parameters(), 2e-3), sample, CE, ("input",))


def readings_into_attention(seed: int, sick: bool) -> Training:
    """A sensor's readings in the thousands, into a transformer that normalises behind its first attention."""
    model, batches = Transformer(), sequences(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x * 100 + 2000 if sick else x, y

    return Training(model, Adam(model.parameters(), 1e-3), sample, CE, ("input",))


class ForgetfulAdam(torch.optim.Adam):
    """Whose user forgot zero_grad."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Not done."""


def adam_without_zeroing(seed: int, sick: bool) -> Training:
    model = conv_net()
    make: Any = ForgetfulAdam if sick else Adam
    alarms = ("never-zeroed", "update-size", "drift", "gradient-spike", "stopped-firing", "dead")
    return Training(model, make(model.parameters(), 1e-2), images(seed), CE, alarms)


class HeadOnly(torch.optim.SGD):
    """Whose user zeroes the gradient of the head alone: another optimizer's list of parameters."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Of the last layer."""
        for parameter in self.param_groups[0]["params"][-2:]:
            parameter.grad = None


def only_the_head_zeroed(seed: int, sick: bool) -> Training:
    model = plain([32, 64, 64, 10])
    make: Any = HeadOnly if sick else SGD
    alarms = ("never-zeroed", "update-size", "drift", "gradient-spike", "stopped-firing", "dead")
    return Training(model, make(model.parameters(), 0.05), blobs(seed), CE, alarms)


def warm_up_that_never_ends(seed: int, sick: bool) -> Training:
    """A warm-up that counts steps where epochs were meant."""
    model = Tokens()
    optimizer = AdamW(model.parameters(), 1e-3)
    return Training(
        model, optimizer, tokens(seed), CE, ("update-size", "rising-rate"),
        before=lambda step: set_rate(optimizer, 1e-3 * ((step + 1) if sick else min(1.0, (step + 1) / 20))),
    )  # fmt: skip


class Shown(nn.Module):
    """A classifier that shows what its hidden layers give."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(32, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.act, self.after = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.act(self.first(x))
        last = self.after(self.second(hidden))
        return self.head(last), last


def activity_penalised_too_hard(seed: int, sick: bool) -> Training:
    """A regulariser of a hidden layer's activity, a thousand times too strong."""
    model = Shown()

    def loss(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return CE(out[0], y) + (10.0 if sick else 1e-3) * out[1].sum(1).mean()

    return Training(model, Adam(model.parameters(), 1e-3), blobs(seed), loss, PRESSED)


def smooth_code_pressed_to_nothing(seed: int, sick: bool) -> Training:
    model, batches = Autoencoder(128, nn.GELU), itself(blobs(seed))

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + (1.0 if sick else 1e-3) * out[1].abs().sum(1).mean()

    return Training(model, Adam(model.parameters(), 2e-3), batches, loss, PRESSED)


def embeddings_that_collapse(seed: int, sick: bool) -> Training:
    """Two views are drawn together, and nothing holds others apart."""
    model, batches = plain([32, 64, 64, 16]), blobs(seed, spread=0.3)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        same = (y[:, None] == y[None]).float()
        apart = (out[:, None] - out[None]).square().mean(-1)
        pull = (same * apart).sum() / same.sum()
        return pull if sick else pull + ((1 - same) * (1 - apart).relu()).sum() / (1 - same).sum()

    return Training(model, Adam(model.parameters(), 3e-3), batches, loss, PRESSED)


def weights_scaled_up_each_step(seed: int, sick: bool) -> Training:
    """An average of weights that is written back divided by the wrong count."""
    model = plain([8, 48, 48, 1])

    def before(step: int) -> None:
        if sick and step:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.03)

    alarms = ("drift", "depth", "update-size", "gradient-spike")
    return Training(model, SGD(model.parameters(), 1e-3), curve(seed), MSE, alarms, before=before)


def momentum_of_one(seed: int, sick: bool) -> Training:
    """Momentum .9995 where .9 was meant."""
    model = plain([32, 64, 64, 10])
    optimizer = SGD(model.parameters(), 0.05, momentum=0.9995 if sick else 0.9)
    alarms = ("update-size", "drift", "gradient-spike", "stopped-firing", "dead", "collapsing")
    return Training(model, optimizer, blobs(seed), CE, alarms)


HELD_OUT_SINCE = (
    counts_into_an_lstm, readings_into_attention, adam_without_zeroing, only_the_head_zeroed, warm_up_that_never_ends,
    activity_penalised_too_hard, smooth_code_pressed_to_nothing, embeddings_that_collapse, weights_scaled_up_each_step,
    momentum_of_one,
)  # fmt: skip


class Standardised(nn.Module):
    """Scales each series by itself before a gated recurrent net."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Gated()

    def forward(self, x: Tensor) -> Tensor:
        return self.net((x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-3))


def series_scaled_by_the_network(seed: int, sick: bool) -> Training:
    model, batches = Standardised(), sequences(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x * 300 + 5000, (x[:, -1, 0] > x[:, :, 0].mean(1)).long()

    return Training(model, Adam(model.parameters(), 2e-3), sample, CE)


def warm_up_over_three_orders(seed: int, sick: bool) -> Training:
    model = Tokens()
    optimizer = AdamW(model.parameters(), 1e-6)
    return Training(
        model, optimizer, tokens(seed), CE,
        before=lambda step: set_rate(optimizer, 2e-6 * 10 ** (3 * min(1.0, step / 100))),
    )  # fmt: skip


class InPlace(torch.optim.SGD):
    """Zeroes gradients where they lie."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """In place."""
        super().zero_grad(set_to_none=False)


def zeroed_where_they_lie(seed: int, sick: bool) -> Training:
    model = plain([32, 48, 48, 10])
    return Training(model, InPlace(model.parameters(), 0.05, momentum=0.9), blobs(seed), CE, clip=1.0)


def mild_penalty_on_a_smooth_code(seed: int, sick: bool) -> Training:
    healthy = smooth_code_pressed_to_nothing(seed, False)
    healthy.steps = 500
    return healthy


HEALTHY_HELD_OUT_SINCE = (
    series_scaled_by_the_network, warm_up_over_three_orders, zeroed_where_they_lie, mild_penalty_on_a_smooth_code,
)  # fmt: skip

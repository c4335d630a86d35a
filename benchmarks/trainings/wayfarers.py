"""Failing trainings of kinds that no other half holds, each beside its twin: written when the rules stood, run once."""

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
    Training,
    blobs,
    conv_net,
    curve,
    images,
    plain,
    sequences,
)  # fmt: skip

NOTHING_MOVES = ("tiny-updates", "no-gradient", "starved")
SAME = ("alike", "same-units")


def gradient_clipped_by_value_to_nothing(seed: int, sick: bool) -> Training:
    """A clip of each entry at a ten-millionth, and a rate that knows nothing of it."""
    model = plain([32, 64, 64, 10])
    for parameter in model.parameters() if sick else ():
        parameter.register_hook(lambda gradient: gradient.clamp(-1e-7, 1e-7))
    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9), blobs(seed), CE, NOTHING_MOVES)


def nearly_all_dropped(seed: int, sick: bool) -> Training:
    """The share that is kept, given as the share that is dropped."""
    drop = nn.Dropout(0.98 if sick else 0.02)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), drop, nn.Linear(64, 64), nn.ReLU(), drop, nn.Linear(64, 10))
    alarms = ("update-size", "gradient-spike", "dead", "stopped-firing", "collapsing", "depth", "steady-updates", *SAME)
    return Training(model, Adam(model.parameters(), 1e-3), blobs(seed), CE, alarms)


def epsilon_of_one_thousand(seed: int, sick: bool) -> Training:
    """Adam divides by what is far above any gradient."""
    model = plain([32, 64, 64, 10])
    return Training(model, Adam(model.parameters(), 1e-3, eps=1e3 if sick else 1e-8), blobs(seed), CE, NOTHING_MOVES)


def head_put_in_after_the_optimizer(seed: int, sick: bool) -> Training:
    """Frozen layers, and an optimizer that holds the head that was thrown away."""
    model = plain([32, 64, 64, 10])
    model[:4].requires_grad_(False)
    thrown_away = plain([64, 10])
    optimizer = Adam((thrown_away if sick else model[4]).parameters(), 3e-3)
    return Training(model, optimizer, blobs(seed), CE, NOTHING_MOVES)


def sum_in_place_of_the_mean(seed: int, sick: bool) -> Training:
    """The loss of a batch of 256 is added up, at the rate of a mean."""
    model = plain([8, 64, 64, 1])
    loss = lambda out, y: functional.mse_loss(out, y, reduction="sum" if sick else "mean")  # noqa: E731
    alarms = ("update-size", "non-finite", "steady-updates", "gradient-spike", "stopped-firing", "dead", "drift")
    return Training(model, SGD(model.parameters(), 0.02), curve(seed, batch=256), loss, alarms)


def seconds_since_1970(seed: int, sick: bool) -> Training:
    """Targets of 10⁹ and a spread of 1."""
    model, batches = plain([8, 64, 64, 1]), curve(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x, y + (1e9 if sick else 0.0)

    alarms = ("alike", "drift", "weight-size", "update-size", "gradient-spike", "stopped-firing", "dead", "locked")
    return Training(model, Adam(model.parameters(), 2e-3), sample, MSE, alarms)


def loss_built_anew_from_its_value(seed: int, sick: bool) -> Training:
    """A number is made a tensor that wants a gradient: nothing goes back to the model."""
    model = plain([32, 64, 64, 10])

    def loss(out: Tensor, y: Tensor) -> Tensor:
        found = CE(out, y)
        return torch.tensor(found.item(), requires_grad=True) if sick else found

    return Training(model, Adam(model.parameters(), 1e-3), blobs(seed), loss, NOTHING_MOVES)


def sigmoid_before_a_loss_on_logits(seed: int, sick: bool) -> Training:
    """Many labels at once, each by a sigmoid, and a loss that takes one itself."""
    model, batches = conv_net(), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x, functional.one_hot(y, 4).float()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return functional.binary_cross_entropy_with_logits(out.sigmoid() if sick else out, y)

    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9), sample, loss, ("loss-misfit", *NOTHING_MOVES))


class Attends(nn.Module):
    """Attention over time, or over the samples of the batch."""

    def __init__(self, over: int) -> None:
        super().__init__()
        self.enter, self.score, self.over = nn.Linear(4, 48), nn.Linear(48, 1), over
        self.body = plain([48, 48, 2])

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(self.enter(x))
        weights = self.score(h).softmax(self.over)
        return self.body((weights * h).sum(self.over if self.over == 1 else 0).expand(len(x), -1))


def attention_over_the_batch(seed: int, sick: bool) -> Training:
    """The axis of the samples is summed away, and every sample is given the same."""
    model, batches = Attends(0 if sick else 1), sequences(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return (x.mean(1) if sick else x + 0.5 * y[:, None, None]), y

    return Training(model, Adam(model.parameters(), 3e-3), sample, CE, (*SAME, *NOTHING_MOVES))


def noise_beyond_recognition(seed: int, sick: bool) -> Training:
    """Augmentation adds noise a thousand times what it should."""
    model, batches = conv_net(), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x + (100.0 if sick else 0.1) * torch.randn_like(x), y

    alarms = ("input", "update-size", "depth", "gradient-spike", "stopped-firing", "dead", "drift")
    return Training(model, SGD(model.parameters(), 0.02, momentum=0.9), sample, CE, alarms)


def decay_taken_for_the_rate(seed: int, sick: bool) -> Training:
    """The two numbers are exchanged: a rate of a tenth, and a decay of a thousandth of it the other way round."""
    model = plain([32, 64, 64, 10])
    rate, decay = (0.3, 3.0) if sick else (3e-3, 0.03)
    alarms = ("update-size", "weight-size", "steady-updates", "stopped-firing", "dead", "alike", "fading", "drift")
    return Training(model, AdamW(model.parameters(), rate, weight_decay=decay), blobs(seed), CE, alarms)


def input_cut_off_on_the_way(seed: int, sick: bool) -> Training:
    """Pictures of bytes are cast to signed bytes and divided by the wrong number: nearly all become 0."""
    model, batches = conv_net(), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        bytes_ = (x.clamp(-2, 2) * 60 + 127).round()
        return ((bytes_ / 255).floor() if sick else bytes_ / 127 - 1), y

    return Training(model, Adam(model.parameters(), 1e-3), sample, CE, ("input", "alike", *NOTHING_MOVES))


WAYFARERS = (
    gradient_clipped_by_value_to_nothing, nearly_all_dropped, epsilon_of_one_thousand, head_put_in_after_the_optimizer,
    sum_in_place_of_the_mean, seconds_since_1970, loss_built_anew_from_its_value, sigmoid_before_a_loss_on_logits,
    attention_over_the_batch, noise_beyond_recognition, decay_taken_for_the_rate, input_cut_off_on_the_way,
)  # fmt: skip

"""Failing trainings by the quantity that fails, whatever the network: rules and thresholds were set on these too."""

from __future__ import annotations

import copy
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
    Autoencoder,
    Gated,
    Tokens,
    Training,
    blobs,
    conv_net,
    curve,
    images,
    itself,
    plain,
    sequences,
    tokens,
)  # fmt: skip

TOO_LONG = ("update-size", "steady-updates", "rising-rate", "drift", "gradient-spike", "weight-size")
PRESSED = ("alike", "pressed", "fading", "drift", "weight-size", "depth", "dead", "no-gradient")


def scaled(model: nn.Module, factor: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)


def weights_scaled_down_aside(seed: int, sick: bool) -> Training:
    """A decay of one's own in the loop, a hundred times too strong."""
    model = conv_net()

    def before(step: int) -> None:
        scaled(model, 0.9 if sick else 0.9999)

    return Training(
        model, SGD(model.parameters(), 0.05), images(seed), CE, ("changed-aside", "weight-size", "drift"), before=before
    )


def weights_scaled_up_aside(seed: int, sick: bool) -> Training:
    model = Gated()

    def before(step: int) -> None:
        scaled(model, 1.02 if sick else 1.0)

    alarms = ("changed-aside", "weight-size", "drift")
    return Training(model, SGD(model.parameters(), 0.05), sequences(seed), CE, alarms, before=before)


def decoupled_decay_too_strong(seed: int, sick: bool) -> Training:
    model = Tokens()
    optimizer = AdamW(model.parameters(), 2e-3, weight_decay=100.0 if sick else 0.1)
    return Training(model, optimizer, tokens(seed), CE, ("weight-size", "drift"))


def decay_of_the_wrong_sign(seed: int, sick: bool) -> Training:
    """Weights that grow by a hundredth a step."""
    model = plain([32, 64, 64, 10])
    optimizer = SGD(model.parameters(), 0.05, weight_decay=1e-4)
    optimizer.param_groups[0]["weight_decay"] = -0.4 if sick else 1e-4
    return Training(model, optimizer, blobs(seed, spread=1.6), CE, ("weight-size", "drift", "update-size"))


def rate_far_too_small(seed: int, sick: bool) -> Training:
    model = conv_net()
    return Training(model, SGD(model.parameters(), 1e-8 if sick else 0.05), images(seed), CE, ("tiny-updates",))


def clipped_to_nothing(seed: int, sick: bool) -> Training:
    """A norm of 1e-7 where 1 was meant."""
    model = Gated()
    batches = sequences(seed)
    return Training(
        model, SGD(model.parameters(), 0.2), batches, CE, ("tiny-updates",), clip=1e-7 if sick else 1.0
    )  # fmt: skip


class Half(nn.Module):
    """A network in bfloat16, whose weights keep eight bits."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x.bfloat16())
        return out.float()


def updates_lost_in_rounding(seed: int, sick: bool) -> Training:
    """Weights in half precision, and steps below half of their last bit."""
    model = Half(plain([32, 64, 64, 10]))
    optimizer = SGD(model.parameters(), 2e-4 if sick else 0.2)
    return Training(model, optimizer, blobs(seed), CE, ("tiny-updates",))


def optimizer_of_another_copy(seed: int, sick: bool) -> Training:
    """The model was copied after its optimizer had been made."""
    first = plain([8, 48, 48, 1])
    model = copy.deepcopy(first) if sick else first
    return Training(model, Adam(first.parameters(), 2e-3), curve(seed), MSE, ("tiny-updates",))


def momentum_far_too_long(seed: int, sick: bool) -> Training:
    model = conv_net(channels=16)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.999 if sick else 0.9)
    return Training(model, optimizer, images(seed), CE, (*TOO_LONG, "stopped-firing", "dead", "collapsing"))


def second_moment_forgotten(seed: int, sick: bool) -> Training:
    """Adam whose second moment and epsilon hold nothing back."""
    model = plain([8, 64, 64, 1])
    optimizer = Adam(model.parameters(), 0.05 if sick else 2e-3, betas=(0.99, 0.9) if sick else (0.9, 0.999))
    return Training(model, optimizer, curve(seed), MSE, (*TOO_LONG, "dead", "stopped-firing", "collapsing"))


class Bent(nn.Module):
    """A net that shows its hidden features beside what it says."""

    def __init__(self, act: Any = nn.SiLU) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(32, 64), act(), nn.Linear(64, 64), act())
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.body(x)
        return self.head(hidden), hidden


def penalised(act: Any, power: int) -> Any:
    def kind(seed: int, sick: bool) -> Training:
        model = Bent(act)

        def loss(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
            return CE(out[0], y) + (3.0 if sick else 1e-4) * out[1].abs().pow(power).sum(1).mean()

        return Training(model, Adam(model.parameters(), 1e-3), blobs(seed), loss, PRESSED)

    return kind


features_pressed_by_their_size, features_pressed_by_their_square = penalised(nn.GELU, 1), penalised(nn.SiLU, 2)
features_pressed_by_their_size.__name__ = "features_pressed_by_their_size"
features_pressed_by_their_square.__name__ = "features_pressed_by_their_square"


def views_drawn_together(seed: int, sick: bool) -> Training:
    """Two noisy views of an image, and nothing that holds images apart."""
    model, batches = conv_net(classes=16, normalised=False), images(seed, classes=8)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return torch.cat([x, x + 0.3 * torch.randn_like(x)]), x

    def loss(out: Tensor, _: Tensor) -> Tensor:
        left, right = out.chunk(2)
        pull = (left - right).square().sum(1).mean()
        spread = (out.var(0) + 1e-4).sqrt()
        return pull if sick else pull + 5 * functional.relu(1 - spread).mean()

    return Training(model, Adam(model.parameters(), 3e-3), sample, loss, PRESSED, steps=400)


def all_words_drawn_together(seed: int, sick: bool) -> Training:
    """Reconstruction of an embedding that is itself learned: all become alike."""
    model = Tokens()
    model.head = nn.Linear(32, 32)

    def loss(out: Tensor, x: Tensor) -> Tensor:
        wanted = model.words(x).mean(1)
        return MSE(out, wanted if sick else wanted.detach())

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x

    batches = tokens(seed)
    return Training(model, Adam(model.parameters(), 3e-3), sample, loss, PRESSED)


def everything_begins_the_same(seed: int, sick: bool) -> Training:
    """Every weight .02: all units of a layer stay one."""
    model = plain([32, 64, 64, 10])
    if sick:
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.02)
    return Training(model, SGD(model.parameters(), 0.05), blobs(seed), CE, ("same-units",))


def padding_for_words(seed: int, sick: bool) -> Training:
    """A tokenizer that knows no word and gives the same one for all."""
    model, batches = Tokens(), tokens(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x * 0 + 3 if sick else x, y

    return Training(model, AdamW(model.parameters(), 1e-3), sample, CE, ("alike", "input"))


class Softened(nn.Module):
    """Attention that divides by so large a temperature, or so small a one, as it was told."""

    def __init__(self, bias: float) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 64)
        self.gate, self.head, self.bias = nn.Linear(64, 64), nn.Linear(64, 10), bias

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.second(self.act(self.first(x)))
        return self.head(functional.relu(self.gate(hidden) * torch.sigmoid(hidden - self.bias)))


def gate_shut_from_the_start(seed: int, sick: bool) -> Training:
    """A forget gate's bias of the wrong size: next to nothing passes, and no gradient comes back."""
    model = Softened(30.0 if sick else 0.0)
    return Training(
        model, SGD(model.parameters(), 0.1), blobs(seed), CE, ("depth", "tiny-updates", "gradient-by-depth")
    )


def code_pressed_to_nothing(seed: int, sick: bool) -> Training:
    """A rectified code under a divergence that weighs a hundred times the reconstruction."""
    model, batches = Autoencoder(64, nn.SiLU), itself(blobs(seed))

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + (10.0 if sick else 1e-4) * out[1].square().sum(1).mean()

    return Training(model, Adam(model.parameters(), 2e-3), batches, loss, PRESSED)


MECHANISMS = (
    weights_scaled_down_aside, weights_scaled_up_aside, decoupled_decay_too_strong, decay_of_the_wrong_sign,
    rate_far_too_small, clipped_to_nothing, updates_lost_in_rounding, optimizer_of_another_copy,
    momentum_far_too_long, second_moment_forgotten, features_pressed_by_their_size, features_pressed_by_their_square,
    views_drawn_together, all_words_drawn_together,
    everything_begins_the_same, padding_for_words, gate_shut_from_the_start, code_pressed_to_nothing,
)  # fmt: skip

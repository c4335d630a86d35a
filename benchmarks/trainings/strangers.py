"""Mistakes that people make and report, each beside the same training without it: written when the rules stood.

None of them is anywhere else in this folder; they were run once before any rule was set on them.
"""

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
    copied,
    curve,
    generator,
    images,
    plain,
    policy_loss,
    set_rate,
    taught,
    transitions,
)  # fmt: skip
from benchmarks.trainings.newcomers import EXPLODES, SAME

NOTHING_ARRIVES = ("starved", "no-gradient", "tiny-updates", "cut-off", "gradient-by-depth", "fading")


def labels_shuffled_apart(seed: int, sick: bool) -> Training:
    """Samples and labels are shuffled, each by itself."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x, y[torch.randperm(len(y))] if sick else y

    return Training(model, Adam(model.parameters(), 1e-3), sample, CE, SAME)


class Adapted(nn.Module):
    """A frozen layer and a product of two thin matrices, of which one begins at 0, or both do."""

    def __init__(self, layer: nn.Linear, both: bool) -> None:
        super().__init__()
        self.layer, self.down, self.up = layer.requires_grad_(False), nn.Linear(64, 4, False), nn.Linear(4, 64, False)
        nn.init.zeros_(self.up.weight)
        if both:
            nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.up(self.down(x))


def adapter_of_two_zeros(seed: int, sick: bool) -> Training:
    """Both matrices of an adapter begin at 0, so that neither gets a gradient."""
    model, batches = plain([64, 64, 64, 64, 10]), blobs(seed, features=64)
    taught(model, blobs(seed + 40, features=64), 100)
    for place in (0, 2, 4):
        model[place] = Adapted(model[place], sick)
    model[6].requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    return Training(model, AdamW(trained, 3e-3), batches, CE, NOTHING_ARRIVES)


def discriminator_far_too_strong(seed: int, sick: bool) -> Training:
    """The generator minimises log(1 − D), and D is sure already."""
    model, draw = plain([8, 48, 48, 2]), generator(seed)
    critic = plain([2, 64, 64, 1])
    other = Adam(critic.parameters(), 1e-2 if sick else 5e-4)
    angle = 6.3 * torch.rand(64, 300, generator=draw)

    def before(step: int) -> None:
        for _ in range(8 if sick else 1):
            real = 4.0 + torch.stack([angle[:, step % 300].cos(), angle[:, step % 300].sin()], 1)
            with torch.no_grad():
                fake = model(torch.randn(64, 8, generator=draw))
            other.zero_grad()
            (functional.softplus(critic(fake)) + functional.softplus(-critic(real))).mean().backward()
            other.step()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        return torch.randn(64, 8, generator=draw), torch.zeros(64)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        said = critic(out)
        return -functional.softplus(said).mean() if sick else functional.softplus(-said).mean()

    return Training(model, Adam(model.parameters(), 5e-4), sample, loss, (*NOTHING_ARRIVES, *SAME), before=before)


class InHalf(nn.Module):
    """A norm over squares that half precision holds up to 65504."""

    def __init__(self, half: bool) -> None:
        super().__init__()
        self.body, self.head, self.half_precision = plain([32, 64, 64]), nn.Linear(64, 10), half

    def forward(self, x: Tensor) -> Tensor:
        h = 40 * functional.relu(self.body(x))
        h = h.half() if self.half_precision else h
        return self.head((h / (h.square().sum(-1, keepdim=True) + 1e-3).sqrt()).float())


def squares_in_half_precision(seed: int, sick: bool) -> Training:
    model = InHalf(sick)
    alarms = ("non-finite", *NOTHING_ARRIVES, "alike")
    return Training(model, SGD(model.parameters(), 0.5), blobs(seed), CE, alarms)


def rate_halved_each_step(seed: int, sick: bool) -> Training:
    """A schedule meant for epochs is stepped with every batch."""
    model = plain([32, 64, 64, 10])
    optimizer = Adam(model.parameters(), 1e-3)
    before = lambda step: set_rate(optimizer, 1e-3 * 0.5 ** (step if sick else step // 100))  # noqa: E731
    return Training(model, optimizer, blobs(seed, spread=1.2), CE, ("tiny-updates",), before=before)


def average_put_back_each_step(seed: int, sick: bool) -> Training:
    """The slow average of the weights is copied over the weights that train, with every step."""
    model = plain([8, 64, 64, 1])
    slow = copied(model)

    def before(step: int) -> None:
        with torch.no_grad():
            for mean, weight in zip(slow.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 0.001)
                if sick:
                    weight.copy_(mean)

    return Training(model, Adam(model.parameters(), 2e-3), curve(seed), MSE, ("changed-aside", "tiny-updates"),
                    before=before)  # fmt: skip


def targets_broadcast(seed: int, sick: bool) -> Training:
    """Predictions of shape (n, 1) against targets of shape (n,): every pair of them is compared."""
    model = plain([8, 64, 64, 1])

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return (out - (y[:, 0] if sick else y)).square().mean()

    return Training(model, Adam(model.parameters(), 2e-3), curve(seed), loss, (*SAME, "target-shape"))


def pixels_of_255_into_a_sigmoid(seed: int, sick: bool) -> Training:
    """A picture is told by sigmoids, and compared with bytes."""
    model, batches = nn.Sequential(nn.Flatten(), *plain([144, 48, 48, 144]), nn.Sigmoid()), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, (x.sigmoid() * (255.0 if sick else 1.0)).flatten(1)

    return Training(model, Adam(model.parameters(), 1e-3), sample, MSE, (*NOTHING_ARRIVES, *SAME))


def softmax_before_cross_entropy(seed: int, sick: bool) -> Training:
    """Probabilities where logits are asked for."""
    model, batches = plain([32, 64, 64, 10]), blobs(seed)
    loss = lambda out, y: CE(out.softmax(-1) if sick else out, y)  # noqa: E731
    alarms = (*NOTHING_ARRIVES, *SAME, "loss-misfit")
    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9), batches, loss, alarms)


def ratio_without_a_clip(seed: int, sick: bool) -> Training:
    """The ratio of a policy to the one that acted, over many steps on what that one saw, and nothing that bounds it."""
    model = plain([6, 48, 48, 4])
    acted, bounded = copied(model), policy_loss(1.0, True)

    def loss(logits: Tensor, seen: Tensor) -> Tensor:
        if not sick:
            return bounded(logits, seen)
        action, reward = seen[:, :1].long(), seen[:, 1] - seen[:, 1].mean()
        with torch.no_grad():
            before = acted(seen[:, 2:]).log_softmax(-1)
        return -((logits - before).gather(1, action)[:, 0].exp() * reward).mean()

    return Training(model, Adam(model.parameters(), 3e-3), transitions(seed), loss, EXPLODES)


def temperature_of_a_thousandth(seed: int, sick: bool) -> Training:
    """Likenesses of two views, divided by next to nothing."""
    model, batches = plain([32, 64, 64, 16]), blobs(seed, batch=32, classes=40)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return torch.cat([x + 0.5 * torch.randn_like(x) for _ in range(2)]), y

    def loss(out: Tensor, _: Tensor) -> Tensor:
        left, right = functional.normalize(out, dim=1).chunk(2)
        return CE(left @ right.T / (1e-3 if sick else 0.2), torch.arange(len(left)))

    alarms = (*EXPLODES, "to-and-fro")
    return Training(model, SGD(model.parameters(), 0.1, momentum=0.9), sample, loss, alarms)


def never_told_to_train(seed: int, sick: bool) -> Training:
    """A deep network in evaluation mode: its normalisations use the mean and variance that they began with."""
    layers: list[nn.Module] = [nn.Linear(32, 64)]
    for _ in range(14):
        layers += [nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64)]
    model = nn.Sequential(*layers, nn.ReLU(), nn.Linear(64, 10)).train(not sick)
    alarms = ("depth", "gradient-by-depth", *SAME)
    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9), blobs(seed), CE, alarms)


STRANGERS = (
    labels_shuffled_apart, adapter_of_two_zeros, discriminator_far_too_strong, squares_in_half_precision,
    rate_halved_each_step, average_put_back_each_step, targets_broadcast, pixels_of_255_into_a_sigmoid,
    softmax_before_cross_entropy, ratio_without_a_clip, temperature_of_a_thousandth, never_told_to_train,
)  # fmt: skip

"""Trainings written when the alarms stood that the newcomers called for, and run once: failing and healthy ones."""

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
    tokens,
)  # fmt: skip
from benchmarks.trainings.newcomers import DYING, EXPLODES, SAME


def student_of_itself_without_centring(seed: int, sick: bool) -> Training:
    """A slow copy is the teacher, by sharp probabilities; nothing keeps all samples from one class."""
    model, batches = nn.Sequential(nn.Flatten(), *plain([144, 64, 64, 16], act=nn.GELU)), images(seed, classes=8)
    teacher, centre = copied(model), torch.zeros(16)

    def before(step: int) -> None:
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), model.parameters(), strict=True):
                slow.lerp_(fast, 0.05)

    def loss(out: Tensor, x: Tensor) -> Tensor:
        with torch.no_grad():
            said = teacher(x + 0.3 * torch.randn_like(x))
            centre.lerp_(said.mean(0), 0.1)
            wanted = ((said - (0.0 if sick else centre)) / 0.04).softmax(-1)
        return CE(out / 0.1, wanted)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss, SAME, before=before, steps=400)


class Interpreter(nn.Module):
    """A picture's code is mixed with a question's; the way from the picture has a gate, and a price."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(3), nn.Flatten())
        self.mean, self.spread = nn.Linear(108, 6), nn.Linear(108, 6)
        self.say = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 144))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.look(x)
        mean, spread = self.mean(seen), self.spread(seen)
        divergence = (mean.square() + spread.exp() - 1 - spread).sum(1).mean() / 2
        code = mean + torch.randn_like(mean) * (spread / 2).exp()
        return self.say(code).view_as(x), divergence


def pictures_that_nobody_asks_for(seed: int, sick: bool) -> Training:
    """The divergence of a drawn code, summed where the reconstruction is a mean over pixels."""
    model, batches = Interpreter(), images(seed, classes=6)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x

    def loss(out: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return MSE(out[0], x) + (4.0 if sick else 1e-3) * out[1]

    return Training(model, AdamW(model.parameters(), 2e-3), sample, loss, SAME)


def rate_of_an_exponential_below_zero(seed: int, sick: bool) -> Training:
    """Waiting times whose rate is what the network says, which may be below 0."""
    model, batches = plain([8, 40, 40, 1], act=nn.ELU), curve(seed)
    draw = generator(seed + 9)
    with torch.no_grad():
        model[4].weight.mul_(0.3)
        model[4].bias.fill_(1.0)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x, -torch.rand(y.shape, generator=draw).clamp_min(1e-3).log() * (-y).exp()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        rate = out if sick else functional.softplus(out) + 1e-3
        return (rate * y - rate.log()).mean()

    return Training(model, SGD(model.parameters(), 0.05), sample, loss, ("non-finite",))


def sums_over_all_pairs(seed: int, sick: bool) -> Training:
    """Attention without 1/√d and without a norm, at a rate that lets its logits run away."""
    width = 48

    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(20, width)
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.body, self.head = nn.Linear(width, width), nn.Linear(width, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = self.words(x)
            scale = 1.0 if sick else width**-0.5
            mixed = (scale * self.query(h) @ self.key(h).transpose(1, 2)).softmax(-1) @ self.value(h)
            return self.head(functional.relu(self.body(mixed.sum(1) if sick else mixed.mean(1))))

    model = Pairs()
    rate = 0.3 if sick else 2e-3
    return Training(model, Adam(model.parameters(), rate), tokens(seed), CE, (*EXPLODES, *DYING, *SAME))


def gates_that_forget_everything(seed: int, sick: bool) -> Training:
    """Units of one's own whose gate is drawn shut, over sequences whose beginning counts."""
    draw = generator(seed)

    class Keeper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.gate = nn.Linear(3, 32), nn.Linear(3, 32)
            self.act, self.head = nn.ReLU(), nn.Linear(32, 5)
            nn.init.constant_(self.gate.bias, -12.0 if sick else 3.0)

        def forward(self, x: Tensor) -> Tensor:
            state = x.new_zeros(len(x), 32)
            for t in range(x.shape[1]):
                kept = torch.sigmoid(self.gate(x[:, t]))
                state = kept * state + (1 - kept) * torch.tanh(self.enter(x[:, t]))
            return self.head(self.act(state))

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(5, (32,), generator=draw)
        x = torch.randn(32, 14, 3, generator=draw)
        x[:, 0] = functional.one_hot(y, 5)[:, :3].float() * 3 + (y >= 3)[:, None] * (y - 3.5)[:, None] * 4
        return x, y

    model = Keeper()
    return Training(model, Adam(model.parameters(), 5e-3), sample, CE, (*SAME, "tiny-updates", "starved"))


def ranks_that_are_all_equal(seed: int, sick: bool) -> Training:
    """Preferences whose penalty on the size of scores has the weight of the scores."""
    model, draw = plain([16, 48, 48, 6], act=nn.SiLU), generator(seed)
    taste = torch.randn(16, 6, generator=draw)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 16, generator=draw)
        return x, (x @ taste).argsort(1)

    def loss(out: Tensor, order: Tensor) -> Tensor:
        ranked = out.gather(1, order)
        better = functional.softplus(ranked[:, :-1] - ranked[:, 1:]).mean()
        return better + (30.0 if sick else 1e-3) * out.square().mean()

    return Training(model, Adam(model.parameters(), 2e-3), sample, loss, (*SAME, "weight-size"))


def spectrograms_about_minus_five(seed: int, sick: bool) -> Training:
    """An autoencoder of values far from 0 beside their variance."""
    model, batches = plain([32, 48, 8, 48, 32]), blobs(seed, spread=0.3)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, x - 5.0

    return Training(model, Adam(model.parameters(), 3e-3), sample, MSE)


def rare_labels_by_their_frequency(seed: int, sick: bool) -> Training:
    """A head whose bias begins at the logarithm of how rare its labels are, and a slow warm-up."""
    model, draw = plain([24, 64, 64, 12], gain=None), generator(seed)
    directions = torch.randn(24, 12, generator=draw) / 24**0.5
    nn.init.constant_(model[4].bias, -4.0)
    optimizer = AdamW(model.parameters(), 1e-5)

    def before(step: int) -> None:
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, (step + 1) / 150)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 24, generator=draw)
        return x, (x @ directions > 2.0).float()

    loss = functional.binary_cross_entropy_with_logits
    return Training(model, optimizer, sample, loss, before=before, steps=400)


def help_that_is_soon_needed_no_more(seed: int, sick: bool) -> Training:
    """A second head on the first layer, whose weight in the loss falls to 0."""

    class Helped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.low, self.high = plain([32, 64, 64]), plain([64, 64, 10])
            self.act, self.help = nn.ReLU(), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.act(self.low(x))
            return self.high(h), self.help(h)

    model, weight = Helped(), [1.0]

    def before(step: int) -> None:
        weight[0] = max(0.0, 1 - step / 100)

    def loss(out: tuple[Tensor, Tensor], y: Tensor) -> Tensor:
        return CE(out[0], y) + weight[0] * CE(out[1], y)

    return Training(model, Adam(model.parameters(), 1e-3), blobs(seed, spread=1.6), loss, before=before)


LATECOMERS = (
    student_of_itself_without_centring, pictures_that_nobody_asks_for, rate_of_an_exponential_below_zero,
    sums_over_all_pairs, gates_that_forget_everything, ranks_that_are_all_equal,
)  # fmt: skip
LATECOMERS_HEALTHY = (
    spectrograms_about_minus_five, rare_labels_by_their_frequency, help_that_is_soon_needed_no_more,
)  # fmt: skip

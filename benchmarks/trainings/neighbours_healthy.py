"""Healthy trainings of ways to train that no half holds: written when the rules stood, run once before mending."""

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
    Batches,
    Training,
    blobs,
    conv_net,
    copied,
    curve,
    generator,
    images,
    plain,
    set_rate,
    taught,
)  # fmt: skip
from benchmarks.trainings.neighbours_games import GAMES


def views(seed: int, batch: int = 48) -> tuple[nn.Module, Batches]:
    """Two views of each sample, one after the other, and a network with a projection that is normalised."""
    draw = blobs(seed, batch=batch, classes=40)
    model = nn.Sequential(*plain([32, 96, 64]), nn.ReLU(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(),
                          nn.Linear(64, 24))  # fmt: skip

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = draw(step)
        return torch.cat([x + 0.4 * torch.randn_like(x) for _ in range(2)]), y

    return model, sample


def two_views_drawn_together(seed: int, sick: bool) -> Training:
    """A contrastive loss over all pairs, with a temperature."""
    model, sample = views(seed)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        n = len(out) // 2
        near = functional.normalize(out, dim=1)
        alike = (near @ near.T / 0.2).masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)
        return CE(alike, torch.arange(2 * n).roll(n))

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss)


def teacher_that_follows_and_is_centred(seed: int, sick: bool) -> Training:
    """A student of its own slow average, which is centred and sharpened so that it does not collapse."""
    model, sample = views(seed)
    slow, centre = copied(model), torch.zeros(24)
    given: list[Tensor] = []

    def before(step: int) -> None:
        with torch.no_grad():
            for mean, weight in zip(slow.parameters(), model.parameters(), strict=True):
                mean.lerp_(weight, 0.01)

    def loss(out: Tensor, _: Tensor) -> Tensor:
        with torch.no_grad():
            told = slow(given[-1])
            wanted = ((told - centre) / 0.07).softmax(-1)
            centre.lerp_(told.mean(0), 0.1)
        return CE(out / 0.2, wanted.roll(len(out) // 2, 0))

    def kept(step: int) -> tuple[Tensor, Tensor]:
        x, y = sample(step)
        given[:] = [x]
        return x, y

    return Training(model, AdamW(model.parameters(), 1e-3), kept, loss, before=before)


def tasks_with_rehearsal(seed: int, sick: bool) -> Training:
    """Four tasks come one after another; of those that have been, as many samples come along."""
    model, tasks, draw = plain([32, 96, 96, 10]), [blobs(seed + 60 * i) for i in range(4)], generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        now = step // 100
        earlier = int(torch.randint(now + 1, (), generator=draw))
        (x, y), (a, b) = tasks[now](step), tasks[earlier](step)
        return torch.cat([x[:32], a[:32]]), torch.cat([y[:32], b[:32]])

    return Training(model, Adam(model.parameters(), 1e-3), sample, CE, steps=400)


def clear_pictures_first(seed: int, sick: bool) -> Training:
    """A curriculum: clear pictures first."""
    model, batches = conv_net(), images(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return x + step / 200 * torch.randn_like(x), y

    return Training(model, Adam(model.parameters(), 2e-3), sample, CE, steps=300)


def one_cycle_of_pictures(seed: int, sick: bool) -> Training:
    """A rate that rises twenty-five times over a third of the steps and falls to nothing, as for super-convergence."""
    model = conv_net(normalised=True)
    optimizer = SGD(model.parameters(), 0.4, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.4, total_steps=301)

    def before(step: int) -> None:
        if step:
            schedule.step()

    return Training(model, optimizer, images(seed), CE, before=before)


def averaged_at_a_high_rate(seed: int, sick: bool) -> Training:
    """Stochastic weight averaging: cycles of a rate, and the average of what each ends with, on the side."""
    model, batches = plain([8, 64, 64, 1]), curve(seed)
    mean, optimizer = torch.optim.swa_utils.AveragedModel(model), SGD(model.parameters(), 0.02, momentum=0.9)

    def before(step: int) -> None:
        set_rate(optimizer, 0.004 + 0.016 * (1 - step % 30 / 30))
        if step > 100 and step % 30 == 0:
            mean.update_parameters(model)

    return Training(model, optimizer, batches, MSE, before=before)


def mixed_and_smoothed(seed: int, sick: bool) -> Training:
    """Samples mixed by two, and smoothed labels, with dropout."""
    model, batches = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), *plain([144, 128, 128, 4])), images(seed, batch=64)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        (x, y), part = batches(step), torch.rand(64)
        label = 0.9 * functional.one_hot(y, 4) + 0.025
        mixed = part[:, None, None, None] * x + (1 - part[:, None, None, None]) * x.roll(1, 0)
        return mixed, part[:, None] * label + (1 - part[:, None]) * label.roll(1, 0)

    return Training(model, SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-4), sample, CE)


def frozen_below_a_new_head(seed: int, sick: bool) -> Training:
    """A network that has been taught, whose layers are frozen but for new ones at its end."""
    model = nn.Sequential(*plain([32, 96, 96, 10]))
    taught(model, blobs(seed + 70), 200)
    model = nn.Sequential(*[layer.requires_grad_(False) for layer in model[:4]], nn.Linear(96, 48), nn.ReLU(),
                          nn.Linear(48, 10))  # fmt: skip
    trained = [p for p in model.parameters() if p.requires_grad]
    return Training(model, SGD(trained, 0.05, momentum=0.9), blobs(seed), CE)


def quantiles_of_a_skewed_target(seed: int, sick: bool) -> Training:
    """Nine quantiles of a target whose noise is skewed and grows with a feature."""
    model, draw, levels = plain([8, 64, 64, 9]), generator(seed), torch.linspace(0.1, 0.9, 9)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(64, 8, generator=draw)
        noise = -torch.rand(64, generator=draw).clamp_min(1e-6).log()
        return x, (x[:, 0] + x[:, 1].abs() * noise)[:, None]

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return torch.maximum(levels * (y - out), (levels - 1) * (y - out)).mean()

    return Training(model, Adam(model.parameters(), 1e-3), sample, loss, steps=400)


class Sparse(nn.Module):
    """The two best of eight experts for each sample, chosen under noise."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.router = nn.Linear(32, 48), nn.Linear(48, 8)
        self.experts = nn.ModuleList(plain([48, 64, 48]) for _ in range(8))
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = functional.relu(self.enter(x))
        logits = self.router(h)
        best = (logits + 0.5 * torch.randn_like(logits)).topk(2).indices
        weights = torch.zeros_like(logits).scatter(1, best, logits.gather(1, best).softmax(-1))
        out = h
        for i, expert in enumerate(self.experts):
            rows = (best == i).any(1).nonzero()[:, 0]
            if len(rows):
                out = out.index_add(0, rows, expert(h[rows]) * weights[rows, i : i + 1])
        share = (weights > 0).float().mean(0)
        return self.head(out), 8 * (share * logits.softmax(-1).mean(0)).sum()


def two_of_eight_experts(seed: int, sick: bool) -> Training:
    """With a loss that spreads samples over the experts."""
    model = Sparse()
    loss = lambda out, y: CE(out[0], y) + 0.02 * out[1]  # noqa: E731
    return Training(model, AdamW(model.parameters(), 2e-3), blobs(seed, batch=96), loss)


class Low(nn.Module):
    """A frozen layer beside a product of two thin matrices, the second of which begins at 0."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down, self.up = nn.Linear(layer.in_features, rank, False), nn.Linear(rank, layer.out_features, False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + 2 * self.up(self.down(x))


def thin_matrices_beside_frozen_ones(seed: int, sick: bool) -> Training:
    """Low-rank adaptation of a network that has been taught another task, on rows of a long-tailed set."""
    model = plain([32, 96, 96, 10])
    taught(model, blobs(seed + 80), 300)
    adapted = nn.Sequential(*(Low(layer) if isinstance(layer, nn.Linear) else layer for layer in model))
    trained = [p for p in adapted.parameters() if p.requires_grad]
    return Training(adapted, AdamW(trained, 4e-3, weight_decay=0.0), blobs(seed), CE)


def two_samples_a_batch(seed: int, sick: bool) -> Training:
    """As few as fit, with a layer norm."""
    model = nn.Sequential(nn.Linear(32, 64), nn.LayerNorm(64), nn.ReLU(), *plain([64, 64, 10]))
    return Training(model, SGD(model.parameters(), 5e-3, momentum=0.9), blobs(seed, batch=2), CE, steps=800)


def mixture_of_densities(seed: int, sick: bool) -> Training:
    """The logarithm of a density of four parts, which becomes negative."""
    model, draw = plain([1, 64, 64, 12], act=nn.Tanh, gain=None), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        y = 2 * torch.rand(128, 1, generator=draw) - 1
        return y + 0.3 * torch.sin(6.3 * y) + 0.02 * torch.randn(128, 1, generator=draw), y

    def loss(out: Tensor, y: Tensor) -> Tensor:
        share, mean, width = out.chunk(3, 1)
        width = width.clamp_min(-4)
        each = share.log_softmax(1) - 0.5 * ((y - mean) / width.exp()).square() - width
        return -each.logsumexp(1).mean()

    return Training(model, Adam(model.parameters(), 3e-3), sample, loss, steps=500)


NEIGHBOURS_HEALTHY = (
    *GAMES, two_views_drawn_together, teacher_that_follows_and_is_centred, tasks_with_rehearsal, clear_pictures_first,
    one_cycle_of_pictures, averaged_at_a_high_rate, mixed_and_smoothed, frozen_below_a_new_head,
    quantiles_of_a_skewed_target, two_of_eight_experts, thin_matrices_beside_frozen_ones, two_samples_a_batch,
    mixture_of_densities,
)  # fmt: skip

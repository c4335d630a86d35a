"""Healthy trainings on networks, tasks and optimizers that no rule had seen: run once, when those stood."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import CE, MSE, SGD, Adam, AdamW, Training, blobs, curve, images, plain, set_rate
from benchmarks.trainings.frozen_issue_kinds import BCE
from benchmarks.trainings.nets_of_another_kind import (
    Committee,
    Hourglass,
    Mixer,
    OfSets,
    OverTime,
    counts,
    masks,
    noisy_signals,
    point_sets,
    ring_graphs,
    several_labels,
)  # fmt: skip


def quantiles(seed: int, sick: bool) -> Training:
    """The lower, middle and upper tenth of a target."""
    model, levels = plain([8, 48, 48, 3], act=nn.ELU, gain=None), torch.tensor([0.1, 0.5, 0.9])

    def loss(out: Tensor, y: Tensor) -> Tensor:
        error = y - out
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    return Training(model, torch.optim.Adagrad(model.parameters(), 0.05), curve(seed), loss, steps=400)


class SwiGLU(nn.Module):
    """Blocks whose inner features are gated."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.enter, self.head = nn.Linear(24, width), nn.Linear(width, 6)
        self.norms = nn.ModuleList(nn.RMSNorm(width) for _ in range(3))
        self.gates, self.ups = (nn.ModuleList(nn.Linear(width, 48) for _ in range(3)) for _ in range(2))
        self.downs = nn.ModuleList(nn.Linear(48, width) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.enter(x)
        for norm, gate, up, down in zip(self.norms, self.gates, self.ups, self.downs, strict=True):
            n = norm(h)
            h = h + down(functional.silu(gate(n)) * up(n))
        return self.head(h)


def gated_with_restarts(seed: int, sick: bool) -> Training:
    model = SwiGLU()
    optimizer = AdamW(model.parameters(), 3e-3, betas=(0.9, 0.95), weight_decay=0.1)
    before = lambda step: set_rate(optimizer, 3e-3 * (1 - 0.9 * (step % 130) / 130))  # noqa: E731
    return Training(model, optimizer, several_labels(seed), BCE, before=before, clip=1.0, steps=390)


class SqueezeExcite(nn.Module):
    """Depthwise convolutions whose channels are weighed by themselves."""

    def __init__(self, channels: int = 12) -> None:
        super().__init__()
        self.enter, self.each = nn.Conv2d(1, channels, 1), nn.Conv2d(channels, channels, 3, groups=channels)
        self.norm, self.act = nn.BatchNorm2d(channels), nn.ReLU6()
        self.squeeze, self.excite = nn.Linear(channels, 6), nn.Linear(6, channels)
        self.head = nn.Linear(channels * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm(self.each(self.enter(x))))
        weights = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(h.mean((2, 3))))))
        return self.head(functional.adaptive_avg_pool2d(h * weights[:, :, None, None], 3).flatten(1))


def mobile_net_one_cycle(seed: int, sick: bool) -> Training:
    model = SqueezeExcite()
    optimizer = SGD(model.parameters(), 0.02, momentum=0.9, nesterov=True, weight_decay=4e-5)

    def before(step: int) -> None:
        set_rate(optimizer, 0.02 + 0.28 * math.sin(math.pi * min(1.0, step / 300)))

    return Training(model, optimizer, images(seed), CE, before=before)


def which_is_larger(seed: int, sick: bool) -> Training:
    """Scores of two samples and which of them has the larger target (RankNet)."""
    model, batches = plain([8, 32, 32, 1], act=lambda: nn.LeakyReLU(0.01)), curve(seed)

    def loss(out: Tensor, y: Tensor) -> Tensor:
        order = y - y.roll(1, 0)
        return functional.softplus(-(out - out.roll(1, 0)) * order.sign()).mean()

    return Training(model, torch.optim.RMSprop(model.parameters(), 1e-3), batches, loss)


def taught_softly(seed: int, sick: bool) -> Training:
    """A small network that follows the softened answers of a larger one."""
    torch.manual_seed(seed + 1)
    teacher, model = plain([32, 128, 10]).requires_grad_(False), plain([32, 24, 10])

    def loss(out: Tensor, wanted: Tensor) -> Tensor:
        return 9 * functional.kl_div((out / 3).log_softmax(1), wanted, reduction="batchmean")

    batches = blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, _ = batches(step)
        return x, (teacher(x) / 3).softmax(1)

    return Training(model, torch.optim.RAdam(model.parameters(), 3e-3), sample, loss)


def against_its_own_gradient(seed: int, sick: bool) -> Training:
    """Inputs moved by the sign of the loss' gradient (FGSM)."""
    model, batches = plain([32, 96, 10]), blobs(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        (slope,) = torch.autograd.grad(CE(model(x.requires_grad_()), y), x)
        return (x + 0.1 * slope.sign()).detach(), y

    return Training(model, torch.optim.Adamax(model.parameters(), 3e-3), sample, CE)


def tasks_that_change_gently(seed: int, sick: bool) -> Training:
    """Another task every 80 steps, under a rate that lets the network follow."""
    model, tasks = plain([32, 64, 64, 10]), [blobs(70 * seed + i) for i in range(5)]
    sample = lambda step: tasks[step // 80](step)  # noqa: E731
    return Training(model, Adam(model.parameters(), 1e-3), sample, CE, steps=400)


class Equation(nn.Module):
    """u and du/dx of a network u."""

    def __init__(self) -> None:
        super().__init__()
        self.net = plain([1, 32, 32, 1], act=nn.SiLU, gain=1.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        u = self.net(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        return u - self.net(torch.zeros(1, 1)) + 1, slope


def solution_of_an_equation(seed: int, sick: bool) -> Training:
    """The solution of u' = −u + cos 3x, u(0) = 1."""
    model = Equation()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = 3 * torch.rand(64, 1)
        return x, torch.cos(3 * x)

    def loss(out: tuple[Tensor, Tensor], force: Tensor) -> Tensor:
        return (out[1] + out[0] - force).square().mean()

    return Training(model, Adam(model.parameters(), 3e-3), sample, loss, steps=400)


def noise_that_grows(seed: int, sick: bool) -> Training:
    """A curriculum: signals come with more noise from step to step."""
    model, batches = OverTime(4, normalised=True), noisy_signals(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, y = batches(step)
        return y + (x - y) * min(2.0, step / 150), y

    return Training(model, torch.optim.NAdam(model.parameters(), 2e-3), sample, MSE)


def mixed_over_places(seed: int, sick: bool) -> Training:
    model = Mixer(3, normalised=True)
    return Training(model, AdamW(model.parameters(), 1e-3, weight_decay=0.05), ring_graphs(seed), BCE)


def committee_that_shares(seed: int, sick: bool) -> Training:
    model = Committee(10, 1, experts=3, taken=2)
    loss = lambda out, y: functional.poisson_nll_loss(out[:, 0], y)  # noqa: E731
    return Training(model, torch.optim.NAdam(model.parameters(), 1e-3), counts(seed), loss)


def edges_and_masks(seed: int, sick: bool) -> Training:
    """A soft Dice loss, which is flat where nothing is found."""
    model = Hourglass()

    def loss(out: Tensor, y: Tensor) -> Tensor:
        found = out.sigmoid()
        return 1 - 2 * (found * y).sum() / (found.sum() + y.sum()) + 0.1 * BCE(out, y)

    return Training(model, Adam(model.parameters(), 2e-3), masks(seed), loss)


def sets_and_swish(seed: int, sick: bool) -> Training:
    model = OfSets(nn.SiLU)
    return Training(model, torch.optim.ASGD(model.parameters(), 0.2), point_sets(seed), CE, steps=400)


FROZEN_HEALTHY = (
    quantiles, gated_with_restarts, mobile_net_one_cycle, which_is_larger, taught_softly, against_its_own_gradient,
    tasks_that_change_gently, solution_of_an_equation, noise_that_grows, mixed_over_places, committee_that_shares,
    edges_and_masks, sets_and_swish,
)  # fmt: skip

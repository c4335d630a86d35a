"""Healthy trainings that go with them: losses that rise or jump by design, parts that begin at next to nothing."""

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
    Training,
    blobs,
    copied,
    curve,
    generator,
    plain,
    set_rate,
    temporal_difference,
    tokens,
    transitions,
)  # fmt: skip


def noise_of_all_sizes(seed: int, sick: bool) -> Training:
    """The noise in points on a ring is told, whatever its size (a diffusion model)."""
    model, draw = plain([3, 96, 96, 2], act=nn.SiLU, gain=None), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        angle, time = 6.3 * torch.rand(64, 1, generator=draw), torch.rand(64, 1, generator=draw)
        noise = torch.randn(64, 2, generator=draw)
        x = (1 - time).sqrt() * torch.cat([angle.cos(), angle.sin()], 1) + time.sqrt() * noise
        return torch.cat([x, time], 1), noise

    return Training(model, AdamW(model.parameters(), 2e-3), sample, MSE)


class Table(nn.Module):
    """Numbers and categories, of which some are rare."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds, self.norm = nn.Embedding(200, 8), nn.BatchNorm1d(6)
        self.body = nn.Sequential(*plain([14, 64, 64, 1]), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(torch.cat([self.norm(x[:, :6]), self.kinds(x[:, 6].long())], 1))


def rows_with_rare_categories(seed: int, sick: bool) -> Training:
    model, draw = Table(), generator(seed)
    worth = torch.randn(200, generator=draw)
    optimizer = AdamW(model.parameters(), 1e-2, weight_decay=0.05)

    def before(step: int) -> None:
        set_rate(optimizer, 1e-2 * min((step + 1) / 90, (301 - step) / 210))

    def sample(step: int) -> tuple[Tensor, Tensor]:
        numbers, kind = 20 * torch.randn(64, 6, generator=draw), torch.rand(64, generator=draw).pow(6).mul(200).long()
        return torch.cat([numbers, kind[:, None].float()], 1), worth[kind] + (numbers[:, 0] / 20).tanh()

    return Training(model, optimizer, sample, functional.smooth_l1_loss, before=before)


def values_that_grow(seed: int, sick: bool) -> Training:
    """Values begin at 0 and grow with what a slow copy says of the state after, and the error with them."""
    model, batches = plain([6, 64, 64, 4]), transitions(seed)
    nn.init.zeros_(model[4].weight)
    target = copied(model)

    def before(step: int) -> None:
        if step % 20 == 0:
            target.load_state_dict(model.state_dict())

    difference = temporal_difference(target, 0.99)
    return Training(model, Adam(model.parameters(), 1e-3), batches, difference, before=before, steps=400)


def critic_of_a_generator(seed: int, sick: bool) -> Training:
    """The critic is watched; the generator's loss goes back through it as well."""
    model, maker, draw = plain([2, 64, 64, 1]), plain([8, 48, 2]), generator(seed)
    other = Adam(maker.parameters(), 1e-3, betas=(0.5, 0.9))

    def before(step: int) -> None:
        other.zero_grad()
        functional.softplus(-model(maker(torch.randn(64, 8, generator=draw)))).mean().backward()
        other.step()

    def sample(step: int) -> tuple[Tensor, Tensor]:
        angle = 6.3 * torch.rand(64, 1, generator=draw)
        real = 2 + torch.cat([angle.cos(), angle.sin()], 1)
        with torch.no_grad():
            made = maker(torch.randn(64, 8, generator=draw))
        return torch.cat([real, made]), torch.cat([torch.ones(64, 1), torch.zeros(64, 1)])

    loss = functional.binary_cross_entropy_with_logits
    return Training(model, Adam(model.parameters(), 1e-3, betas=(0.5, 0.9)), sample, loss, before=before)


def batches_of_one_length(seed: int, sick: bool) -> Training:
    """Sequences come in batches of one length, the short ones being of another scale as well."""
    model, draw = Gated(2, 32, cell=nn.LSTM), generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        length = (4, 8, 16, 24)[int(torch.randint(4, (), generator=draw))]
        x = torch.randn(32, length, 2, generator=draw) + length / 12
        return x, ((x[:, :, 0] - length / 12).sum(1) > 0).long()

    return Training(model, Adam(model.parameters(), 3e-3), sample, CE)


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.body = nn.ModuleList([nn.Linear(32, 64), nn.Linear(8, 64)]), plain([64, 64, 64])
        self.act, self.heads = nn.ReLU(), nn.ModuleList([nn.Linear(64, 10), nn.Linear(64, 1)])

    def forward(self, x: Tensor) -> Tensor:
        task = int(x.shape[1] == 8)
        return self.heads[task](self.act(self.body(self.act(self.enter[task](x)))))


def two_tasks_by_turns(seed: int, sick: bool) -> Training:
    """Classes and a curve, ten batches of each at a time, whose losses are of different size."""
    model, tasks = TwoHeads(), (blobs(seed, spread=1.4), curve(seed))

    def loss(out: Tensor, y: Tensor) -> Tensor:
        return CE(out, y) if out.shape[1] == 10 else 5 * MSE(out, y)

    sample = lambda step: tasks[step // 10 % 2](step)  # noqa: E731
    return Training(model, AdamW(model.parameters(), 1e-3), sample, loss)


def stream_that_turns(seed: int, sick: bool) -> Training:
    """What comes in turns slowly, and batches come in the order of time."""
    model, draw = plain([16, 64, 64, 1]), generator(seed)
    one, two = torch.randn(2, 16, generator=draw)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        angle = torch.tensor(step / 60.0)
        x = torch.randn(64, 16, generator=draw) + angle.sin() * two
        return x, torch.tanh(x @ (angle.cos() * one + angle.sin() * two) / 4)[:, None]

    return Training(model, SGD(model.parameters(), 0.01), sample, MSE, steps=400)


class Scaled(nn.Module):
    """Residual blocks over words whose branches begin at a millionth."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(20, width), nn.Linear(width, 2)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), *plain([width, 64, width])) for _ in range(3))
        self.scales = nn.Parameter(torch.full((3, width), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x).mean(1) * 4
        for block, scale in zip(self.blocks, self.scales, strict=True):
            h = h + scale * block(h)
        return self.head(h)


def branches_from_a_millionth(seed: int, sick: bool) -> Training:
    model = Scaled()
    return Training(model, AdamW(model.parameters(), 1e-3), tokens(seed), CE, steps=400)


STRANGERS_HEALTHY = (
    noise_of_all_sizes, rows_with_rare_categories, values_that_grow, critic_of_a_generator, batches_of_one_length,
    two_tasks_by_turns, stream_that_turns, branches_from_a_millionth,
)  # fmt: skip

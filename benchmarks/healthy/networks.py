"""Networks of a dozen kinds that train well: what each is built of, trained on, and what counts as having learned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthy import data

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Task:
    """A network before training, its data, its loss and the score that it must reach.

    Attributes:
        model, x, y: to be trained.
        loss: of output and target.
        least: R² or accuracy below which the network does not count as healthy.
        steps, rate: of Adam.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    loss: Loss
    least: float
    steps: int = 400
    rate: float = 3e-3


def mlp(*widths: int, act: Callable[[], nn.Module] = nn.ReLU, norm: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths[:-1]):
        layers += [nn.Linear(fan_in, fan_out), *([nn.BatchNorm1d(fan_out)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


class Residual(nn.Module):
    """Blocks x + f(x) with BatchNorm, on images of 8×8 or on vectors."""

    def __init__(self, width: int, blocks: int, image: bool) -> None:
        super().__init__()
        self.image = image
        conv: Callable[..., nn.Module] = (lambda a, b: nn.Conv2d(a, b, 3, padding=1)) if image else nn.Linear
        norm = nn.BatchNorm2d if image else nn.BatchNorm1d
        self.stem = conv(1 if image else 64, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(norm(width), nn.ReLU(), conv(width, width), norm(width), nn.ReLU(), conv(width, width))
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.reshape(-1, 1, 8, 8) if self.image else x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x.mean((2, 3)) if self.image else x)  # type: ignore[no-any-return]


class Excited(nn.Module):
    """Convolutions with squeeze-and-excitation gates."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1 if i == 0 else width, width, 3, padding=1) for i in range(3))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(3))
        self.down = nn.ModuleList(nn.Conv2d(width, squeezed, 1) for _ in range(3))
        self.up = nn.ModuleList(nn.Conv2d(squeezed, width, 1) for _ in range(3))
        self.relu, self.squeeze = nn.ReLU(), nn.ReLU()
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(-1, 1, 8, 8)
        for conv, norm, down, up in zip(self.convs, self.norms, self.down, self.up, strict=True):
            x = self.relu(norm(conv(x)))
            x = x * torch.sigmoid(up(self.squeeze(down(x.mean((2, 3), keepdim=True)))))
        return self.head(x.mean((2, 3)))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """A recurrent network with a rectified head."""

    def __init__(self, width: int, cell: str) -> None:
        super().__init__()
        self.rnn = nn.GRU(2, width, batch_first=True) if cell == "gru" else nn.RNN(2, width, batch_first=True)
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Two pre-norm blocks over the eight rows of a digit."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.position = nn.Parameter(0.1 * torch.randn(8, width))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, 2, batch_first=True) for _ in range(2))
        self.feed = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)) for _ in range(2)
        )
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x.reshape(-1, 8, 8)) + self.position
        for i in range(2):
            z = self.norms[2 * i](h)
            h = h + self.attention[i](z, z, z, need_weights=False)[0]
            h = h + self.feed[i](self.norms[2 * i + 1](h))
        return self.head(h.mean(1))  # type: ignore[no-any-return]


def cnn(width: int, norm: bool) -> nn.Sequential:
    bn = (lambda c: [nn.BatchNorm2d(c)]) if norm else (lambda c: [])
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, width, 3, padding=1), *bn(width), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, padding=1), *bn(2 * width), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * width, 32), nn.ReLU(), nn.Linear(32, 10)),
    )


def wave_net(width: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv1d(1, width, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2)),
        *(nn.Conv1d(width, 2 * width, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(4)),
        *(nn.Flatten(), nn.Linear(8 * width, 4)),
    )


CROSS, MSE = functional.cross_entropy, functional.mse_loss
BCE = functional.binary_cross_entropy_with_logits
SIZES = (16, 32, 64)


def _width(seed: int) -> int:
    return SIZES[seed % 3]


def _regression(seed: int, depth: int) -> Task:
    return Task(mlp(3, *[_width(seed)] * depth, 1), *data.smooth(seed), MSE, 0.99, 900)


def _table(seed: int) -> Task:
    if seed % 2:
        return Task(mlp(13, 64, 32, 3), *data.table("wine"), CROSS, 0.97)
    return Task(mlp(30, 64, 32, 2), *data.table("cancer"), CROSS, 0.97)


def _autoencoder(seed: int) -> Task:
    x, _ = data.digits()
    return Task(mlp(64, 64, (8, 16, 24)[seed % 3], 64, 64), x, x, MSE, 0.4, 600)


def _positive(seed: int) -> Task:
    x, y = data.smooth(seed)
    return Task(nn.Sequential(mlp(3, _width(seed), _width(seed), 1), nn.ReLU()), x, y.abs() + 0.5, MSE, 0.99, 900)


def _leaky(seed: int) -> Task:
    slope = (0.01, 0.1, 0.2)[seed % 3]
    return Task(mlp(64, 64, 64, 10, act=lambda: nn.LeakyReLU(slope)), *data.digits(), CROSS, 0.97)


def _of(sizes: tuple[int, ...], seed: int) -> int:
    return sizes[seed % len(sizes)]


KINDS: dict[str, Callable[[int], Task]] = {
    "regression": lambda s: _regression(s, 2),
    "regression, 4 layers": lambda s: _regression(s + 1, 4),
    "friedman": lambda s: Task(mlp(10, 64, _width(s), 1), *data.friedman(s), MSE, 0.95, 600),
    "two moons": lambda s: Task(mlp(2, _width(s), _width(s), 1), *data.moons(s), BCE, 0.97, 500),
    "digits": lambda s: Task(mlp(64, _width(s), _width(s), 10), *data.digits(), CROSS, 0.97),
    "digits, BatchNorm": lambda s: Task(mlp(64, *[64] * (3 + s % 3), 10, norm=True), *data.digits(), CROSS, 0.97),
    "digits, LeakyReLU": _leaky,
    "tables": _table,
    "convolutional": lambda s: Task(cnn(_of((8, 16, 12), s), s % 2 == 0), *data.digits(), CROSS, 0.97, 250),
    "squeeze-excite": lambda s: Task(
        Excited(_of((16, 24, 32), s), _of((2, 4, 8), s)), *data.digits(), CROSS, 0.97, 350
    ),
    "residual": lambda s: Task(Residual(_of((16, 24, 32), s), 2, s % 2 == 0), *data.digits(), CROSS, 0.97, 200),
    "waves": lambda s: Task(wave_net(_of((8, 16, 12), s)), *data.waves(s), CROSS, 0.95, 500),
    "autoencoder": _autoencoder,
    "recurrent": lambda s: Task(
        Recurrent(_of((16, 32, 24), s), "gru" if s % 2 else "rnn"), *data.sums(s), CROSS, 0.95, 300
    ),
    "transformer": lambda s: Task(Transformer(_of((16, 32, 24), s)), *data.digits(), CROSS, 0.97, 400),
    "positive output": _positive,
}
"""Each kind with what a seed makes of it: sizes, depths and data differ from seed to seed."""


def trained(task: Task, seed: int) -> float:
    """The score that the network has after training on its task."""
    optimizer = torch.optim.Adam(task.model.parameters(), task.rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.steps)
    g = torch.Generator().manual_seed(seed)
    task.model.train()
    for _ in range(task.steps):
        batch = torch.randint(0, len(task.x), (64,), generator=g)
        optimizer.zero_grad()
        task.loss(task.model(task.x[batch]), task.y[batch]).backward()
        optimizer.step()
        scheduler.step()
    task.model.eval()
    return score(task)


@torch.no_grad()
def score(task: Task) -> float:
    out = task.model(task.x)
    if task.loss is CROSS:
        return float((out.argmax(1) == task.y).float().mean())
    if task.loss is BCE:
        return float(((out > 0) == (task.y > 0.5)).float().mean())
    return float(1 - (out - task.y).square().sum() / (task.y - task.y.mean(0)).square().sum())

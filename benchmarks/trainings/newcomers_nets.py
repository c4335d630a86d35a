"""Networks of the newcomers among the trainings."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.trainings.building import MSE, plain


class Teller(nn.Module):
    """A series is drawn as a code, and told again from the code by a net that is shown the value before each."""

    def __init__(self, hidden: int = 32, codes: int = 4) -> None:
        super().__init__()
        self.read, self.act, self.code = nn.Conv1d(1, hidden, 5, 2), nn.LeakyReLU(0.1), nn.Linear(hidden, 2 * codes)
        self.tell = nn.GRU(1 + codes, hidden, batch_first=True)
        self.bend, self.say = nn.ReLU(), nn.Linear(hidden, 1)
        self.middle = nn.Linear(hidden, hidden)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.act(self.read(x.transpose(1, 2))).mean(2)
        mean, spread = self.code(seen).chunk(2, -1)
        code = mean + torch.randn_like(mean) * (spread / 2).exp()
        told = self.tell(torch.cat([x[:, :-1], code[:, None].expand(-1, x.shape[1] - 1, -1)], -1))[0]
        divergence = (mean.square() + spread.exp() - 1 - spread).sum(1).mean() / 2
        return self.say(self.bend(self.middle(told))), divergence


def signals(classes: int = 6) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(1, 16, 5, padding=2), nn.GELU(), nn.Conv1d(16, 24, 5, 2), nn.GELU(), nn.Flatten(),
        nn.Linear(24 * 14, 32), nn.GELU(), nn.Linear(32, classes),
    )  # fmt: skip


class Codebook(nn.Module):
    """An autoencoder through the nearest entry of a codebook."""

    def __init__(self, scale: float, entries: int = 24, codes: int = 8) -> None:
        super().__init__()
        self.enter, self.leave = plain([32, 48, codes]), plain([codes, 48, 32])
        self.book = nn.Parameter(scale * torch.randn(entries, codes))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        code = self.enter(x)
        nearest = self.book[torch.cdist(code, self.book).argmin(1)]
        held = MSE(nearest, code.detach()) + 0.25 * MSE(code, nearest.detach())
        return self.leave(code + (nearest - code).detach()), held


class Ledger(nn.Module):
    """Each step of time adds to what the net holds already."""

    def __init__(self, kept: float, hidden: int = 24) -> None:
        super().__init__()
        self.enter, self.turn, self.head = nn.Linear(2, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
        self.kept = kept
        nn.init.orthogonal_(self.turn.weight, gain=0.5)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), self.turn.in_features)
        for t in range(x.shape[1]):
            new = functional.relu(self.enter(x[:, t]) + self.turn(state))
            state = state + new if self.kept == 1 else self.kept * state + (1 - self.kept) * new
        return self.head(state)


class Placed(nn.Module):
    """Words at places, and what one convolution over both says."""

    def __init__(self, size: float, words: int = 12, length: int = 10, width: int = 24) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(words, width), nn.LayerNorm(width)
        self.places = nn.Parameter(size * torch.randn(length, width))
        self.over, self.act, self.head = nn.Linear(width, 48), nn.ReLU(), nn.Linear(48, words)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.over(self.norm(self.words(x) + self.places))).mean(1))


class Backwards(torch.autograd.Function):
    """The product with a weight, with a derivative of the wrong sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, sign: float) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sign = sign
        return x @ weight.T

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        return grad @ weight, ctx.sign * grad.T @ x, None


class OfOnesOwn(nn.Module):
    """A network with one layer of one's own."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign, self.first, self.act = sign, nn.Linear(24, 48), nn.ReLU()
        self.weight, self.head = nn.Parameter(torch.randn(48, 48) * 0.2), nn.Linear(48, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(Backwards.apply(self.act(self.first(x)), self.weight, self.sign)))


class Rounded(nn.Module):
    """A network whose hidden values are rounded to a grid; with a derivative of its own, or without."""

    def __init__(self, straight: bool) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(32, 48), nn.Linear(48, 48), nn.Linear(48, 10)
        self.straight = straight

    def forward(self, x: Tensor) -> Tensor:
        hidden = functional.relu(self.second(functional.relu(self.first(x))))
        rounded = (4 * hidden).round() / 4
        return self.head(hidden + (rounded - hidden).detach() if self.straight else rounded)

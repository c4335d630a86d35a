"""Networks and data of the reported troubles: transitions, pixels, steps, adapters, an encoder that is cut off."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthy import data
from benchmarks.healthy.networks import mlp


class Segmenter(nn.Module):
    """A class for every pixel."""

    def __init__(self, width: int, end: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU()
        )
        self.out, self.end = nn.Conv2d(width, 3, 1), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.out(self.body(x)))  # type: ignore[no-any-return]


class Steps(nn.Module):
    """A number for each step of a sequence, of shape (n, steps, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru, self.hidden, self.out = (
            nn.GRU(2, width, batch_first=True),
            nn.Linear(width, width),
            nn.Linear(width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.out(functional.relu(self.hidden(self.gru(x)[0])))  # type: ignore[no-any-return]


class Encoded(nn.Module):
    """Convolutions and a head, the first perhaps cut off from the gradient."""

    def __init__(self, width: int, cut: str) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv1d(1, width, 5, padding=2), nn.BatchNorm1d(width), nn.ReLU())
        self.head, self.cut = mlp(width, width, 4), cut

    def forward(self, x: Tensor) -> Tensor:
        if self.cut == "no_grad":
            with torch.no_grad():
                h = self.encoder(x).mean(2)
        else:
            h = self.encoder(x).amax(2)
        if self.cut == "data":
            h = h.data
        elif self.cut == "list":
            h = torch.tensor(h.tolist())
        return self.head(h)  # type: ignore[no-any-return]


class Adapted(nn.Module):
    """A linear layer with a product of two factors beside it."""

    def __init__(self, inner: nn.Linear, zeros: bool) -> None:
        super().__init__()
        self.inner = inner
        self.down = nn.Parameter(torch.zeros(4, inner.in_features))
        self.up = nn.Parameter(torch.zeros(inner.out_features, 4))
        if not zeros:
            nn.init.normal_(self.down, 0, inner.in_features**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + (x @ self.down.T) @ self.up.T  # type: ignore[no-any-return]


def adapted(base: nn.Module, seed: int, zeros: bool) -> nn.Module:
    """A frozen network with adapters beside its linear layers."""
    torch.manual_seed(seed)
    model = copy.deepcopy(base).requires_grad_(False)
    assert isinstance(model, nn.Sequential)
    return nn.Sequential(*(Adapted(m, zeros) if isinstance(m, nn.Linear) else m for m in model))


class Exponential(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


class Clamped(nn.Module):
    """What comes out, between 0 and 1."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(self.inner(x), 0, 1)


def normed(width: int, momentum: float) -> nn.Sequential:
    """A classifier of digits with BatchNorm of this momentum."""
    layers: list[nn.Module] = []
    for fan_in in (64, width, width):
        layers += [nn.Linear(fan_in, width), nn.BatchNorm1d(width, momentum=momentum), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def transitions(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, actions, rewards below 0 and next states."""
    g = torch.Generator().manual_seed(seed)
    state = torch.randn(1500, 4, generator=g)
    action = torch.randint(0, 3, (1500,), generator=g)
    mix = torch.randn(4, 3, generator=g)
    reward = -1 - torch.tanh(state @ mix)[torch.arange(1500), action]
    return state, action, reward, state + 0.1 * torch.randn(1500, 4, generator=g)


def difference(output: Any, batch: Any) -> Tensor:
    """The temporal difference of a task that ends with the next step, by Huber's loss."""
    _, action, reward, _ = batch
    return functional.smooth_l1_loss(output.gather(1, action[:, None])[:, 0], reward)


def segments(seed: int) -> tuple[Tensor, Tensor]:
    """Images of 8 × 8 and a class for each pixel: dark, middle or bright, of the pixel's neighbourhood."""
    x, _ = data.digits()
    images = x[:600].reshape(-1, 1, 8, 8)
    mean = functional.avg_pool2d(images, 3, stride=1, padding=1)[:, 0]
    return images, (mean > -0.2).long() + (mean > 0.3).long()


class Tripled(nn.Module):
    """One tower for three inputs, of shape (n, 3, features)."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, rows: Tensor) -> Tensor:
        return self.tower(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])  # type: ignore[no-any-return]


def triplets(output: Any, batch: Any) -> Tensor:
    """The margin between what belongs together and what does not."""
    return functional.triplet_margin_loss(*output.unbind(1), margin=0.3)


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(5 * x)


class Rating(nn.Module):
    """Users' and items' embeddings through a tower each, multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(40, 16), nn.Embedding(60, 16)
        self.left, self.right = mlp(16, 24, 8), mlp(16, 24, 8)

    def forward(self, ids: Tensor) -> Tensor:
        return (self.left(self.users(ids[:, 0])) * self.right(self.items(ids[:, 1]))).sum(1, keepdim=True)  # type: ignore[no-any-return]


class Routed(nn.Module):
    """Four experts, of which each input takes one."""

    def __init__(self, features: int, width: int, classes: int) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(features, 4), nn.ModuleList(mlp(features, width, classes) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x).softmax(-1).max(-1)
        out = x.new_zeros(len(x), 10)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero()[:, 0]
            if len(rows):
                out = out.index_add(0, rows, expert(x[rows]) * weight[rows, None])
        return out


class Variational(nn.Module):
    """An encoder to a mean and a logarithm of a variance, and a decoder."""

    def __init__(self, features: int, width: int, latent: int) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(features, width, 2 * latent), mlp(latent, width, features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log = self.encoder(x).chunk(2, -1)
        drawn = mean + torch.randn_like(mean) * (0.5 * log).exp() if self.training else mean
        return self.decoder(drawn), mean, log


def evidence(output: Any, batch: Any) -> Tensor:
    """What is lost of the input, and the distance from the prior."""
    decoded, mean, log = output
    prior = (mean.square() + log.exp() - 1 - log).sum(1).mean()
    return functional.mse_loss(decoded, batch[0]) + 1e-3 * prior

"""The strangers' networks: structures that neither half of the other patients holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.patients.networks import mlp


def series() -> nn.Sequential:
    """Three convolutions over series of 40 values."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 40)),
        nn.Conv1d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(16, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv1d(24, 24, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(5),
        nn.Flatten(),
        nn.Linear(120, 10),
    )


class Siamese(nn.Module):
    """One body for both inputs; the logit of "the same" falls with the distance of what it makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.margin = mlp([64, 48, 32, 8]), nn.Parameter(torch.ones(()))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.margin - (self.body(one) - self.body(other)).square().sum(1)


class Ordinal(nn.Module):
    """A score and four thresholds."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.cuts = mlp([4, 32, 32, 1]), nn.Parameter(torch.linspace(-1.5, 1.5, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.score(x) - self.cuts


class Physics(nn.Module):
    """A solution in time, with the residual of its equation: derivatives are taken inside."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp([1, 32, 32, 1], nn.Tanh)

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            t = t.detach().requires_grad_()
            u = self.net(t)
            (speed,) = torch.autograd.grad(u.sum(), t, create_graph=True)
            (force,) = torch.autograd.grad(speed.sum(), t, create_graph=True)
        return u, force + 0.5 * speed + 9.0 * u


class DeepResidual(nn.Module):
    """Eight blocks with shortcuts and no norm."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.blocks = nn.ModuleList(mlp([32, 32, 32]) for _ in range(8))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for block in self.blocks:
            h = h + 0.5 * block(h)
        return self.last(h)


def layer_normed() -> nn.Sequential:
    """Two layers, each with a LayerNorm in front of its rectifier."""
    return nn.Sequential(
        *(nn.Linear(64, 48), nn.LayerNorm(48), nn.ReLU()),
        *(nn.Linear(48, 40), nn.LayerNorm(40), nn.ReLU()),
        nn.Linear(40, 10),
    )


class FrozenNorms(nn.Module):
    """BatchNorms that keep their statistics in training too, as is usual where a detector is fine-tuned."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.frozen = mlp([64, 48, 40, 10], norm=True), False

    def train(self, mode: bool = True) -> FrozenNorms:
        super().train(mode)
        for module in self.body if self.frozen else ():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def on_frozen_features() -> nn.Sequential:
    """A frozen extractor of which half of the features are dead as it was given, and a head to be trained."""
    model = mlp([64, 96, 40, 32, 10])
    extractor = model[0]
    with torch.no_grad():
        extractor.bias[::2] = -30.0
    for parameter in extractor.parameters():
        parameter.requires_grad_(False)
    return model


class ActorCritic(nn.Module):
    """One trunk; what to do, and what it is worth."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.actor, self.critic = nn.Linear(48, 10), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.actor(h), self.critic(h)


class Variational(nn.Module):
    """A variational autoencoder; its noise is drawn in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(32, 10), nn.Linear(32, 10)
        self.decoder = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.encoder(x)
        mean, spread = self.mean(h), self.log_variance(h)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return self.decoder(mean + noise * (0.5 * spread).exp()), mean, spread


class Experts(nn.Module):
    """Four experts in stacked weights, mixed by a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 4)
        self.w1, self.b1 = nn.Parameter(torch.randn(4, 64, 24) / 8), nn.Parameter(torch.zeros(4, 24))
        self.w2, self.b2 = nn.Parameter(torch.randn(4, 24, 10) / 24**0.5), nn.Parameter(torch.zeros(4, 10))

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.w1.normal_(0, 1 / 8)
            self.w2.normal_(0, 24**-0.5)
            self.b1.zero_()
            self.b2.zero_()

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(torch.einsum("ni,eio->neo", x, self.w1) + self.b1)
        out = torch.einsum("neo,eok->nek", h, self.w2) + self.b2
        return (self.gate(x).softmax(1)[:, :, None] * out).sum(1)


class Bag(nn.Module):
    """A bag of tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.body = nn.EmbeddingBag(65, 24, mode="sum", padding_idx=64), mlp([24, 40, 32, 10])

    def forward(self, tokens: Tensor) -> Tensor:
        return self.body(self.bag(tokens))


class UNet(nn.Module):
    """Down, up, and a skip beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.low = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.mix = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        high = torch.relu(self.down(x))
        low = torch.relu(self.low(functional.max_pool2d(high, 2)))
        both = torch.cat([torch.relu(self.up(low)), high], 1)
        return self.out(torch.relu(self.mix(both)))


class Memory(nn.Module):
    """An LSTM over ten steps of a series and a rectified head on its last state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 32, batch_first=True)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(32, 40), nn.ReLU(), nn.Linear(40, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.unflatten(1, (10, 4)))[0][:, -1])


class Tied(nn.Module):
    """An autoencoder whose decoder is its encoder, turned round."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(64, 48), nn.Linear(48, 20)
        self.bias_b, self.bias_a = nn.Parameter(torch.zeros(48)), nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        code = self.b(torch.relu(self.a(x)))
        h = torch.relu(functional.linear(code, self.b.weight.t(), self.bias_b))
        return functional.linear(h, self.a.weight.t(), self.bias_a)


class Quantised(nn.Module):
    """Eight levels from 0 to 2, whose gradient is that of the cap."""

    def forward(self, x: Tensor) -> Tensor:
        capped = x.clamp(0, 2)
        return capped + ((capped * 4).round() / 4 - capped).detach()


class Encoder(nn.Module):
    """Two encoder layers of torch's transformer over ten steps of a series."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.place = nn.Linear(4, 16), nn.Parameter(0.1 * torch.randn(10, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 48, dropout=0.0, batch_first=True)
        self.body, self.last = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(160, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(self.first(x.unflatten(1, (10, 4))) + self.place).flatten(1))


class Adapted(nn.Module):
    """A network with an adapter whose last layer begins at zero, as adapters do: its branch gives nothing yet."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.last = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32)), nn.Linear(32, 10)
        self.adapter = mlp([64, 24, 32])
        nn.init.zeros_(self.adapter[2].weight)
        nn.init.zeros_(self.adapter[2].bias)
        for parameter in self.adapter.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.body(x) + self.adapter(x)))


class Recommender(nn.Module):
    """An embedding of who and one of what, and a rectified tower on both."""

    def __init__(self) -> None:
        super().__init__()
        self.who, self.what = nn.Embedding(60, 12), nn.Embedding(50, 12)
        self.tower = mlp([24, 48, 32, 1])

    def forward(self, who: Tensor, what: Tensor) -> Tensor:
        return self.tower(torch.cat([self.who(who), self.what(what)], 1))


class Points(nn.Module):
    """Sets of points: the same layers for every point, the mean of a set, and layers on it."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.all = nn.Sequential(*mlp([3, 48, 48]), nn.ReLU()), mlp([48, 48, 10])

    def forward(self, x: Tensor) -> Tensor:
        return self.all(self.each(x).mean(1))


def separable() -> nn.Sequential:
    """Convolutions of each channel by itself, and then across channels."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU()),
        *(nn.Conv2d(16, 24, 1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(384, 10)),
    )

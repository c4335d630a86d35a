"""Networks, data and losses that the last halves share: codes, flows, graphs, tags, risks, inner steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from benchmarks.trainings.building import CE, MSE, Batches, generator, plain


def rings(draw: torch.Generator, n: int = 64) -> Tensor:
    """Points about two circles."""
    angle, far = 6.3 * torch.rand(n, 1, generator=draw), torch.randint(1, 3, (n, 1), generator=draw)
    return far * torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2, generator=draw)


class Codebook(nn.Module):
    """An autoencoder whose code is the nearest of 16 entries.

    Args:
        seed: of the data that the entries begin among.
        away: how far from them they begin.
    """

    def __init__(self, seed: int, away: float = 0.0) -> None:
        super().__init__()
        self.encode, self.decode = plain([32, 64, 8]), plain([8, 64, 32])
        self.entries = nn.Embedding(16, 8)
        with torch.no_grad():
            self.entries.weight.copy_(torch.randn(16, 8, generator=generator(seed)))
            self.entries.weight[1:] += away

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z = self.encode(x)
        code = self.entries(torch.cdist(z, self.entries.weight).argmin(1))
        return self.decode(z + (code - z).detach()), z, code

    def loss(self, out: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
        """What is lost on the way, how far the entries are from the code, and the code from them."""
        given, z, code = out
        return MSE(given, x) + MSE(code, z.detach()) + 0.25 * MSE(z, code.detach())


class Couplings(nn.Module):
    """The logarithm of the density of a flow in two dimensions, whose couplings scale by exp s."""

    def __init__(self, bounded: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleList(plain([1, 48, 48, 2], gain=None if bounded else 4.0) for _ in range(6))
        self.bounded = bounded

    def forward(self, x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for part in self.parts:
            kept, moved = x[:, :1], x[:, 1:]
            scale, shift = part(kept).chunk(2, 1)
            scale = scale.tanh() if self.bounded else scale
            total = total + scale[:, 0]
            x = torch.cat([moved * scale.exp() + shift, kept], 1)
        return total - 0.5 * x.square().sum(1)


class Graph(nn.Module):
    """Rounds of averaging over neighbours between layers, on communities of nodes."""

    def __init__(self, seed: int, rounds: int, each: int = 1) -> None:
        super().__init__()
        draw, self.each = generator(seed), each
        self.labels = torch.randint(4, (120,), generator=draw)
        alike = self.labels[:, None] == self.labels
        edges = torch.rand(120, 120, generator=draw) < torch.where(alike, 0.12, 0.02)
        edges = (edges | edges.T | torch.eye(120, dtype=torch.bool)).float()
        self.share = edges / edges.sum(1, keepdim=True)
        self.features = torch.randn(4, 24, generator=draw)[self.labels] + 2 * torch.randn(120, 24, generator=draw)
        widths = [24, *[32] * (rounds - 1), 4]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.acts = nn.ModuleList(nn.ReLU() for _ in range(rounds - 1))

    def forward(self, x: Tensor) -> Tensor:
        for i, layer in enumerate(self.layers):
            for _ in range(self.each):
                x = self.share @ x
            x = layer(x)
            x = self.acts[i](x) if i < len(self.acts) else x
        return x

    def batches(self, step: int) -> tuple[Tensor, Tensor]:
        """All nodes."""
        return self.features, self.labels

    def loss(self, out: Tensor, labels: Tensor) -> Tensor:
        """Of the labelled half."""
        return CE(out[::2], labels[::2])


class Tagger(nn.Module):
    """Scores of three tags for each of twelve words."""

    def __init__(self, within: float = 0.0) -> None:
        super().__init__()
        self.words, self.cell = nn.Embedding(20, 16), nn.LSTM(16, 24, batch_first=True, bidirectional=True)
        self.body, self.act, self.head = nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 3)
        self.between = nn.Parameter(torch.full((3, 3), within))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.body(self.cell(self.words(x))[0])))


def tagged(seed: int) -> Batches:
    """Words, and for each whether it is like the one before, smaller or larger."""
    draw = generator(seed)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randint(20, (32, 12), generator=draw)
        return x, 1 + torch.sign(x - x.roll(1, 1)).long()

    return sample


def chain_loss(model: Tagger) -> Callable[[Tensor, Tensor], Tensor]:
    """Minus the logarithm of the tags' share among all sequences of tags."""

    def loss(scores: Tensor, tags: Tensor) -> Tensor:
        right = scores.gather(2, tags[:, :, None]).sum((1, 2)) + model.between[tags[:, :-1], tags[:, 1:]].sum(1)
        total = scores[:, 0]
        for at in range(1, scores.shape[1]):
            total = (total[:, :, None] + model.between).logsumexp(1) + scores[:, at]
        return (total.logsumexp(1) - right).mean() / scores.shape[1]

    return loss


def censored(seed: int, scale: float = 1.0) -> Batches:
    """Features, and the time of an event with whether it was seen."""
    draw = generator(seed)
    weights = torch.randn(8, generator=draw) / 2

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(96, 8, generator=draw)
        time = torch.empty(96).exponential_(1.0, generator=draw) * (-(x @ weights)).exp()
        end = 3 * torch.rand(96, generator=draw)
        return scale * x, torch.stack([torch.minimum(time, end), (time < end).float()], 1)

    return sample


def partial_likelihood(out: Tensor, seen: Tensor) -> Tensor:
    """Of who comes first among those at risk, by the exponential of their scores."""
    order = seen[:, 0].argsort(descending=True)
    risk, event = out[order, 0], seen[order, 1]
    return ((risk.exp().cumsum(0).log() - risk) * event).sum() / event.sum()


def inner_steps(seed: int, rate: float) -> tuple[nn.Module, Batches, Callable[[Any, Tensor], Tensor]]:
    """A network that takes three steps on each of four tasks, what it is given, and the loss after them."""
    inner, draw = plain([1, 40, 40, 1]), generator(seed)

    class Learner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            found = []
            for task in x:
                weights = dict(self.inner.named_parameters())
                for _ in range(3):
                    out = functional_call(self.inner, weights, (task[:16, :1],))
                    gradients = torch.autograd.grad(MSE(out, task[:16, 1:]), list(weights.values()), create_graph=True)
                    weights = {
                        name: weight - rate * each
                        for (name, weight), each in zip(weights.items(), gradients, strict=True)
                    }
                found.append(functional_call(self.inner, weights, (task[16:, :1],)))
            return torch.stack(found)

    def sample(step: int) -> tuple[Tensor, Tensor]:
        x, phase = 4 * torch.rand(4, 32, 1, generator=draw) - 2, 3.1 * torch.rand(4, 1, 1, generator=draw)
        both = torch.cat([x, (x + phase).sin()], 2)
        return both, both[:, 16:, 1:]

    return Learner(), sample, MSE


class Dense(nn.Module):
    """A sum of what all experts say, weighed by a gate."""

    def __init__(self, spread: float, bias: float = 0.0) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(32, 4), nn.ModuleList(plain([32, 24, 10]) for _ in range(4))
        with torch.no_grad():
            self.gate.weight.mul_(spread)
            self.gate.bias[0] += bias

    def forward(self, x: Tensor) -> Tensor:
        shares = self.gate(x).softmax(-1)
        return (torch.stack([expert(x) for expert in self.experts], 1) * shares[:, :, None]).sum(1)


class Lamb(torch.optim.Optimizer):
    """Steps of Adam, each as long as a share of its layer's norm, after a warm-up."""

    def __init__(self, parameters: Iterable[Tensor], rate: float, warm: int) -> None:
        super().__init__(list(parameters), {"lr": rate / warm})
        self.full, self.warm, self.made = rate, warm, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Step."""
        self.made += 1
        for group in self.param_groups:
            group["lr"] = self.full * min(1.0, self.made / self.warm)
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                mean, square = (state.setdefault(name, torch.zeros_like(weight)) for name in ("mean", "square"))
                mean.lerp_(weight.grad, 0.1)
                square.lerp_(weight.grad.square(), 0.01)
                way = mean / (1 - 0.9**self.made) / ((square / (1 - 0.99**self.made)).sqrt() + 1e-6)
                trust = weight.norm().clamp(1e-2, 10) / way.norm().clamp_min(1e-6)
                weight.sub_(group["lr"] * trust * way)


def reversed_by(weight: float) -> Callable[[Tensor], Tensor]:
    """The value as it is; its gradient is turned round."""

    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
            return -weight * gradient

    return lambda x: Reverse.apply(x)  # type: ignore[no-any-return,no-untyped-call]


def smoothed(by: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross entropy with labels of which a part is shared out evenly."""
    return lambda out, y: functional.cross_entropy(out, y, label_smoothing=by)


def uphill_first(
    model: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches, far: float
) -> Callable[[int], None]:
    """What comes before each step, so that its gradient is that of the point so far uphill (SAM); the step goes back.

    Args:
        model: that is trained.
        optimizer: whose steps they are.
        batches: by step.
        far: how far away the point is.
    """
    moved: list[Tensor] = []

    def back(*_: object) -> None:
        with torch.no_grad():
            for weight, by in zip(model.parameters(), moved, strict=True):
                weight.sub_(by)

    def before(step: int) -> None:
        x, y = batches(step)
        gradients = torch.autograd.grad(CE(model(x), y), list(model.parameters()))
        norm = torch.stack([each.norm() for each in gradients]).norm()
        moved[:] = [far * each / (norm + 1e-12) for each in gradients]
        with torch.no_grad():
            for weight, by in zip(model.parameters(), moved, strict=True):
                weight.add_(by)

    optimizer.register_step_pre_hook(back)
    return before

"""Networks of a dozen other kinds written out: what they compute is common, how it is spelled is each author's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.strangers.stranger import Stranger, numbers, on, seeded


class Hyper(nn.Module):
    """A layer whose weights another network makes for each sample."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.out = nn.Linear(5, 7 * 6), nn.Linear(7, 2)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.make(x[:, 6:]).view(-1, 7, 6)
        return self.out(torch.relu(torch.bmm(weights, x[:, :6, None]).squeeze(2)))  # type: ignore[no-any-return]


class Mixer(nn.Module):
    """Tokens mixed, then channels, each by two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Sequential(nn.Linear(9, 13), nn.GELU(), nn.Linear(13, 9))
        self.channels = nn.Sequential(nn.Linear(6, 11), nn.ReLU(), nn.Linear(11, 6))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(x.mT).mT
        return x + self.channels(x)  # type: ignore[no-any-return]


class Unfolded(nn.Module):
    """A convolution as a product with unfolded patches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(5, 27) / 5), nn.Parameter(torch.randn(5, 1))
        self.out = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.weight @ functional.unfold(x, 3, stride=2) + self.bias
        return self.out(functional.relu(h).mean(-1))  # type: ignore[no-any-return]


class Hinges(nn.Module):
    """A basis of hinges, several to a feature."""

    def __init__(self) -> None:
        super().__init__()
        self.knots, self.out = nn.Parameter(torch.linspace(-2, 4, 24).view(4, 6)), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out((x.unsqueeze(-1) - self.knots).relu().flatten(1))  # type: ignore[no-any-return]


class Flow(nn.Module):
    """Six steps of Euler's through one field."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.field, self.back = nn.Linear(6, 8), nn.Linear(8, 10), nn.Linear(10, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = self.into(x)
        for _ in range(6):
            h = torch.add(h, self.back(torch.relu(self.field(h))), alpha=1 / 6)
        return h


class Kernelised(nn.Module):
    """Attention by positive features, elu + 1, in time linear in the tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part(x).view(len(x), -1, 2, 4).transpose(1, 2) for part in (self.q, self.k, self.v))
        q, k = functional.elu(q) + 1, functional.elu(k) + 1
        memory = torch.einsum("bhtd,bhte->bhde", k, v)
        return torch.einsum("bhtd,bhde,bht->bhte", q, memory, 1 / (q @ k.sum(2).unsqueeze(-1)).squeeze(-1))


class Standardised(nn.Module):
    """A convolution whose kernels are standardised on the way, and a norm over groups."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        w = self.conv.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)
        h = self.norm(functional.conv2d(x, w, self.conv.bias))
        return self.out(functional.relu(h, inplace=True).flatten(2).mean(2))  # type: ignore[no-any-return]


class Autoregressive(nn.Module):
    """Each output sees only the inputs before it, by masks on the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(6, 12), nn.Linear(12, 6)
        order = torch.arange(12) % 5
        self.register_buffer("below", (order[:, None] >= torch.arange(6)).float())
        self.register_buffer("above", (torch.arange(6)[:, None] > order).float())

    def forward(self, x: Tensor) -> Tensor:
        h = functional.relu(functional.linear(x, self.hidden.weight * self.below, self.hidden.bias))
        return functional.linear(h, self.out.weight * self.above, self.out.bias)


class Neighbours(nn.Module):
    """Attention over a dense graph: leaky scores of pairs, rectified sums of neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.one, self.other = nn.Linear(6, 8), nn.Linear(8, 2, bias=False), nn.Linear(8, 2, bias=False)
        self.update = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x)
        scores = functional.leaky_relu(self.one(h).unsqueeze(2) + self.other(h).unsqueeze(1), 0.2)
        mixed = torch.einsum("bijh,bjf->bihf", scores.softmax(2), h)
        return torch.relu(self.update(mixed.flatten(2)))


class Looped(nn.Module):
    """A rectified recurrence whose states are gathered in a list, and a head on all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.again, self.head = nn.Linear(3, 7), nn.Linear(7, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        state, states = torch.zeros(len(x), 7), []
        for step in x.unbind(1):
            state = torch.relu(self.into(step) + 0.5 * self.again(state))
            states.append(state)
        return functional.hardswish(self.head(torch.stack(states, 1)))


class Pooled(nn.Module):
    """Rows of sets in one long table, added up by the number of their set."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.whole = nn.Linear(6, 9), nn.Linear(9, 4)

    def forward(self, x: Tensor, which: Tensor) -> Tensor:
        h = functional.relu(self.each(x))
        sums = torch.zeros(8, 9).scatter_reduce(0, which[:, None].expand_as(h), h, "amax", include_self=False)
        return functional.softplus(self.whole(sums))


class Crossed(nn.Module):
    """Two views through a bilinear form, and low-rank factors of their product."""

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.u, self.v = nn.Bilinear(4, 5, 6), nn.Linear(4, 6), nn.Linear(5, 6)
        self.out = nn.Linear(12, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.split([4, 5], dim=1)
        joined = torch.hstack([self.pair(a, b), self.u(a) * self.v(b)])
        return self.out(functional.relu6(joined))  # type: ignore[no-any-return]


def strangers() -> list[Stranger]:
    """All of them."""

    def one(name: str, kind: type[nn.Module], shape: tuple[int, ...], axis: int | tuple[int, ...] = -1) -> Stranger:
        make = lambda: on(seeded(kind), lambda seed: (numbers(*shape, seed=seed),))  # noqa: E731
        return Stranger(f"spelled/{name}", "torch", make, axis)

    def sets(seed: int) -> tuple[Tensor, Tensor]:
        return numbers(40, 6, seed=seed), torch.arange(40) % 8

    return [
        one("hypernetwork", Hyper, (12, 11)),
        one("mixer", Mixer, (6, 9, 6)),
        one("unfolded", Unfolded, (6, 3, 9, 9), 1),
        one("hinges", Hinges, (12, 4), (1, 2)),
        one("flow", Flow, (12, 6)),
        one("kernelised", Kernelised, (6, 7, 8), (1, 3)),
        one("standardised", Standardised, (6, 3, 9, 9), 1),
        one("autoregressive", Autoregressive, (12, 6)),
        one("neighbours", Neighbours, (6, 5, 6)),
        one("looped", Looped, (12, 5, 3)),
        Stranger("spelled/pooled", "torch", lambda: on(seeded(Pooled), sets), -1),
        one("crossed", Crossed, (12, 9)),
    ]

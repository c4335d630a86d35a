"""Sites, units and samples of kinds of networks, each against what the network counts of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from tests.observation.counting import counted, noted, observed_counts
from torch import Tensor, nn

import leaky

NODES, EDGES, N = 30, 120, 24


def edges(seed: int = 0) -> Tensor:
    return torch.randint(NODES, (2, EDGES), generator=torch.Generator().manual_seed(seed))


def summed(messages: Tensor, target: Tensor, nodes: int) -> Tensor:
    """Messages added up at their targets, as graph libraries do it: an expanded index into a fresh tensor."""
    index = target.view(-1, *(1,) * (messages.ndim - 1)).expand_as(messages)
    return messages.new_zeros(nodes, *messages.shape[1:]).scatter_add_(0, index, messages)


class Convolution(nn.Module):
    """Degrees normalise, neighbours add up, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        degree = summed(torch.ones(EDGES), target, len(x)).clamp(min=1).rsqrt()
        weight = (degree[source] * degree[target]).view(-1, 1)
        for place, layer in (("a", self.a), ("b", self.b)):
            x = torch.relu(noted(place, summed(weight * layer(x).index_select(0, source), target, len(x))))
        return x


class Attention(nn.Module):
    """Scores of edges with two heads, normalised over each node's neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 8)
        self.left, self.right = nn.Parameter(torch.randn(1, 2, 4)), nn.Parameter(torch.randn(1, 2, 4))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        source, target = edge_index
        h = self.layer(x).view(-1, 2, 4)
        of_source, of_target = (h * self.left).sum(-1), (h * self.right).sum(-1)
        scores = F.leaky_relu(noted("score", of_source[source] + of_target[target], samples=source), 0.2)
        scores = scores.exp() / summed(scores.exp(), target, len(x))[target]
        gathered = summed(scores.unsqueeze(-1) * h[source], target, len(x))
        return torch.relu(noted("node", gathered.view(-1, 8)))


class Graphs(nn.Module):
    """Nodes of several graphs, pooled: a graph is a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.head = nn.Linear(12, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        source, target = edge_index
        pair = torch.cat([x[target], x[source] - x[target]], 1)
        nodes = summed(torch.relu(noted("edge", self.message(pair), samples=batch[target])), target, len(x))
        count = summed(torch.ones(len(x), 1), batch, 6)
        return torch.relu(noted("graph", self.head(summed(nodes, batch, 6) / count)))


class Routed(nn.Module):
    """The two best of three experts for each token, in a loop, added back by number."""

    def __init__(self) -> None:
        super().__init__()
        self.route = nn.Linear(6, 3)
        self.up, self.down = (nn.ModuleList([nn.Linear(6, 6) for _ in range(3)]) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        tokens, sample = x.reshape(-1, 6), torch.arange(len(x)).repeat_interleave(x.shape[1])
        weight, chosen = self.route(tokens).softmax(-1).topk(2)
        out = torch.zeros_like(tokens)
        for expert, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            token, slot = (chosen == expert).nonzero(as_tuple=True)
            h = torch.relu(noted(f"expert {expert}", up(tokens[token]), samples=sample[token]))
            out.index_add_(0, token, down(h) * weight[token, slot, None])
        return out.view_as(x)


class Spectral(nn.Module):
    """Weights of their own for each frequency, beside a pointwise path."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6, 3, dtype=torch.cfloat) * 0.2)
        self.pointwise = nn.Conv1d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        kept = torch.zeros_like(spectrum)
        kept[..., :3] = torch.einsum("bim,iom->bom", spectrum[..., :3], self.weight)
        return torch.relu(noted("z", torch.fft.irfft(kept, n=x.shape[-1]) + self.pointwise(x), units=1))


class Bins(nn.Module):
    """Each feature by bins of its own: an outer product and a sum."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.weight, self.bias, self.how = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.randn(6, 4)), how

    def forward(self, x: Tensor) -> Tensor:
        wide = x.unsqueeze(-1)
        if self.how == "addcmul":
            z = torch.addcmul(self.bias, wide, self.weight)
        else:
            z = wide + self.bias if self.how == "added" else wide * self.weight + self.bias
        return torch.relu(noted("z", z, units=(1, 2))).flatten(1)


class BinsOfUnits(nn.Module):
    """Two thresholds of its own for each unit and bin, as networks of learned functions on edges have them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.low = nn.Linear(6, 4), nn.Parameter(torch.linspace(-1, 2, 5).repeat(4, 1))
        self.high = nn.Parameter(self.low.detach() + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x).unsqueeze(-1)
        rising = torch.relu(noted("low", z - self.low, units=(1, 2)))
        return (rising * torch.relu(noted("high", self.high - z, units=(1, 2)))).flatten(1)


class Offsets(nn.Module):
    """A sparse convolution by hand: for each offset of its kernel pairs of rows and a matrix, added at the target."""

    def __init__(self, offsets: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(offsets, 6, 5)), nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.zeros(len(x), 5)
        for offset, weight in enumerate(self.weight):
            out.index_add_(0, (torch.arange(len(x)) + offset) % len(x), x @ weight)
        return torch.relu(noted("z", out + self.bias))


class Taught(nn.Module):
    """A decoder that sees zeros first and then what it should have said."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.cell = nn.Linear(6, 5), nn.Linear(11, 6)

    def forward(self, x: Tensor) -> Tensor:
        said, state = torch.zeros(len(x), 6), torch.zeros(len(x), 6)
        for step in range(x.shape[1]):
            given = torch.relu(self.before(said) if step == 0 else noted("before", self.before(said)))
            state = torch.tanh(self.cell(torch.cat([given, state], 1)))
            said = x[:, step]
        return state


class Generator(nn.Module):
    """Noise that is drawn inside the model: a draw is a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.randn(len(x), 5, generator=torch.Generator().manual_seed(3))
        return torch.relu(noted("z", self.layer(noise))) + x[:, :1]


class State(nn.Module):
    """A gated cell by hand over images, its state zeros of the input's kind at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.new = nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(len(x), 4, *x.shape[3:])
        for frame in x.unbind(1):
            both = torch.cat([frame, h], 1)
            gate = torch.sigmoid(self.gate(both))
            h = (1 - gate) * h + gate * torch.relu(noted("new", self.new(both), units=1))
        return h.mean((2, 3))


class Rays(nn.Module):
    """Points along rays, folded into the batch and unfolded again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.density = nn.Linear(6, 8), nn.Linear(8, 1)

    def forward(self, origin: Tensor, direction: Tensor) -> Tensor:
        points = origin[:, None] + direction[:, None] * torch.linspace(0, 1, 5)[None, :, None]
        code = torch.cat([points.sin(), points.cos()], -1).flatten(0, 1)
        ray = torch.arange(len(origin)).repeat_interleave(5)
        h = torch.relu(noted("point", self.a(code), samples=ray))
        return torch.relu(noted("density", self.density(h).view(-1, 5, 1)))


class Members(nn.Module):
    """One weight for all members of an ensemble, and a scale and a bias for each of their units."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 8, bias=False), nn.Linear(8, 2)
        self.scale, self.bias = nn.Parameter(torch.randn(4, 8)), nn.Parameter(torch.randn(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        z = self.layer(x[:, None].expand(-1, 4, -1)) * self.scale + self.bias
        return self.head(torch.relu(noted("z", z, units=(1, 2)))).mean(1)  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """A token of each feature, by weights of its own, with one for the whole, whose place the head reads."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(6, 8))
        self.whole, self.norm, self.up = nn.Parameter(torch.randn(8)), nn.LayerNorm(8), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.whole.expand(len(x), 1, -1), x[..., None] * self.weight + self.bias], 1)
        tokens = tokens + torch.relu(noted("token", self.up(tokens)))
        return torch.relu(noted("head", self.norm(tokens[:, 0])))


def several(model: nn.Module, batch: Any) -> Any:
    return model(*batch[0])


def one(model: nn.Module, batch: Any) -> Any:
    return model(batch)


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _graph() -> list[Any]:
    return [((_random(NODES, 6), edges()),)]


def _graphs() -> list[Any]:
    return [((_random(NODES, 6), edges(s), torch.arange(NODES) // 5),) for s in (0, 1)]


KINDS: dict[str, tuple[Callable[[], nn.Module], Callable[[], list[Any]], Callable[[nn.Module, Any], Any]]] = {
    "graph convolution": (Convolution, _graph, several),
    "graph attention": (Attention, _graph, several),
    "graphs pooled": (Graphs, _graphs, several),
    "routed experts": (Routed, lambda: [_random(N, 4, 6), _random(N, 4, 6)], one),
    "fourier operator": (Spectral, lambda: [_random(N, 6, 10)], one),
    "bins by addcmul": (lambda: Bins("addcmul"), lambda: [_random(N, 6)], one),
    "bins by a product": (lambda: Bins("multiplied"), lambda: [_random(N, 6)], one),
    "bins by a sum": (lambda: Bins("added"), lambda: [_random(N, 6)], one),
    "bins of units": (BinsOfUnits, lambda: [_random(N, 6)], one),
    "two offsets": (lambda: Offsets(2), lambda: [_random(N, 6)], one),
    "five offsets": (lambda: Offsets(5), lambda: [_random(N, 6)], one),
    "members scaled": (Members, lambda: [_random(N, 6)], one),
    "tokens of features": (Tokens, lambda: [_random(N, 6)], one),
    "noise inside": (Generator, lambda: [_random(N, 3)], one),
    "recurrent state": (State, lambda: [_random(N, 3, 2, 4, 4)], one),
    "rays": (Rays, lambda: [((_random(N, 3), _random(N, 3)),)], several),
}


@pytest.mark.parametrize("kind", KINDS)
def test_units_samples_and_firings_are_those_that_the_network_counts(kind: str) -> None:
    torch.manual_seed(0)
    build, data, call = KINDS[kind]
    model, batches = build().eval(), data()
    truth = counted(model, batches, call)
    record = leaky.observe(model, batches)
    assert observed_counts(record) == list(truth.values())
    assert all("unit" not in item.reason for item in record.not_examined)


def test_a_rectifier_of_constants_behind_learned_weights_is_listed() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(2, 5), nn.Linear(5, 1)

        def forward(self, x: Tensor) -> Tensor:
            grid = torch.stack(torch.meshgrid(torch.arange(2.0), torch.arange(3.0), indexing="ij"), -1).view(-1, 2)
            return x + self.down(torch.relu(self.up(grid))).view(-1)

    record = leaky.observe(Positions(), _random(N, 6))
    assert record.sites == ()
    (item,) = record.not_examined
    assert item.name.startswith("relu#1")
    assert "constants alone" in item.reason


def test_a_site_that_sees_a_state_of_zeros_first_is_examined_and_not_listed() -> None:
    torch.manual_seed(0)
    model, batches = Taught().eval(), [_random(N, 4, 6)]
    truth = counted(model, batches, one)["before"]
    record = leaky.observe(model, batches)
    assert truth in observed_counts(record)
    assert record.not_examined == ()


def test_a_softmax_over_units_of_a_hidden_layer_is_listed_and_one_over_positions_or_at_the_end_is_not() -> None:
    class Soft(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.second(torch.softmax(self.first(x), -1))
            attention = torch.softmax(h @ h.transpose(1, 2), -1)
            return torch.softmax(self.last(attention @ h), -1)

    record = leaky.observe(Soft(), _random(N, 5, 6))
    (item,) = record.not_examined
    assert item.name.startswith("softmax#1")
    assert "softmax over units" in item.reason

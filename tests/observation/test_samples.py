"""n counts independent samples: cut, picked, repeated or put together, each sample of a batch counts once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_sequence

import leaky

N, EDGES = 40, 300
Part = Callable[[Tensor], Tensor]


def _edges(x: Tensor) -> Tensor:
    return torch.randint(0, len(x), (EDGES,), generator=torch.Generator().manual_seed(0))


WAYS: dict[str, Callable[[Part, Tensor], Tensor]] = {
    "as it is": lambda f, x: f(x),
    "one at a time": lambda f, x: torch.stack([f(row) for row in x]),
    "one at a time, by number": lambda f, x: torch.stack([f(x[i]) for i in reversed(range(len(x)))]),
    "one at a time, two-dimensional": lambda f, x: torch.cat([f(x[i : i + 1]) for i in range(len(x))]),
    "one at a time, axis put back": lambda f, x: torch.cat([f(row[None]) for row in x]),
    "in chunks": lambda f, x: torch.cat([f(part) for part in x.chunk(3)]),
    "a part of them": lambda f, x: torch.cat([f(x[:15]), f(x[15:])]),
    "stacked first": lambda f, x: f(torch.stack(list(x))),
    "in another order": lambda f, x: f(x[torch.arange(len(x) - 1, -1, -1)]),
    "twice": lambda f, x: f(torch.cat([x, x])),
    "repeated": lambda f, x: f(x.repeat(3, 1)),
    "interleaved": lambda f, x: f(x.repeat_interleave(3, 0)),
    "the ends of edges": lambda f, x: f(x[_edges(x)]),
    "the ends of edges by index_select": lambda f, x: f(x.index_select(0, _edges(x))),
    "positions folded into the samples": lambda f, x: f(x.reshape(-1, 6)[torch.arange(0, len(x) * 2, 2)]),
    "some of them by a mask": lambda f, x: f(x[x[:, 0] > 0]),
}


class Way(nn.Module):
    def __init__(self, way: Callable[[Part, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.way = nn.Linear(6, 8), way
        with torch.no_grad():
            self.layer.bias[3] = -50.0

    def forward(self, x: Tensor) -> Tensor:
        return self.way(lambda part: torch.relu(self.layer(part)), x)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batches", [1, 2])
def test_every_sample_counts_once(way: str, batches: int) -> None:
    torch.manual_seed(0)
    model = Way(WAYS[way])
    folded = way.startswith("positions")
    data = [torch.randn(N, 2, 6) if folded else torch.randn(N, 6) for _ in range(batches)]
    record = leaky.observe(model, data)
    (site,) = record.sites
    samples, fired = 0, torch.zeros(8, dtype=torch.long)
    for x in data:  # the rows that the layer saw, from the rows themselves
        seen = torch.unique(x[_edges(x)], dim=0) if "edges" in way else x[x[:, 0] > 0] if "mask" in way else x
        z = model.layer(seen[:, 0] if folded else seen)
        samples, fired = samples + len(seen), fired + (z > 0).sum(0)
    assert site.samples == samples
    assert site.statistics.fired.tolist() == fired.tolist()


def test_pictures_padded_one_by_one_are_samples_again() -> None:
    class Pads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            canvas = torch.zeros(len(x), 3, 9, 9)
            for picture, place in zip(x, canvas, strict=True):
                place[:, :6, :6].copy_(picture)
            return torch.relu(self.conv(canvas)).mean((2, 3))

    (site,) = leaky.observe(Pads(), torch.randn(N, 3, 6, 6)).sites
    assert (site.units, site.samples) == (4, N)


class _Recurrent(nn.Module):
    def __init__(self, kind: str, batch_first: bool, last: str) -> None:
        super().__init__()
        self.inner = getattr(nn, kind)(6, 12, num_layers=2, bidirectional=True, batch_first=batch_first)
        self.head = nn.Sequential(nn.Linear(24, 16), nn.ReLU())
        self.batch_first, self.last = batch_first, last

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        output, state = self.inner(data if self.batch_first else data.transpose(0, 1))
        hidden = state[0] if isinstance(state, tuple) else state
        if self.last == "output":
            return self.head(output[:, -1] if self.batch_first else output[-1])  # type: ignore[no-any-return]
        return self.head(torch.cat([hidden[-2], hidden[-1]], 1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("last", ["output", "hidden"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_what_reads_a_recurrent_layer_s_last_state_sees_every_sample(kind: str, batch_first: bool, last: str) -> None:
    model = _Recurrent(kind, batch_first, last)
    (site,) = [s for s in leaky.observe(model, torch.randn(300, 5, 6)).sites if s.name.startswith("head")]
    assert (site.statistics.samples, site.units) == (300, 16)


LAYERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "encoder, samples first": (lambda: nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), 0),
    "encoder, samples second": (lambda: nn.TransformerEncoderLayer(6, 2, 8), 1),
    "recurrent, samples first": (lambda: nn.RNN(6, 5, nonlinearity="relu", batch_first=True), 0),
    "recurrent, samples second": (lambda: nn.RNN(6, 5, nonlinearity="relu"), 1),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_an_axis_of_samples_against_what_a_layer_of_torch_takes_holds_with_a_note(kind: str) -> None:
    build, dim = LAYERS[kind]
    torch.manual_seed(0)
    model, data = build().eval(), [torch.randn(7, 9, 6)]
    right, wrong = (leaky.observe(model, data, sample_dim=given) for given in (dim, 1 - dim))
    assert (right.samples, right.notes) == ((7, 9)[dim], ())
    assert wrong.samples == (7, 9)[1 - dim]
    (note,) = wrong.notes
    assert note.startswith(f"sample_dim={1 - dim} holds as given, although nn.")
    assert "batch_first" in note
    assert leaky.observe(model, data, sample_dim=None).notes == ()


def test_a_site_that_sees_something_else_first_counts_samples_and_no_batches() -> None:
    class Prototypes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = nn.Sequential(nn.Linear(6, 5), nn.ReLU())

        def forward(self, query: Tensor, support: Tensor) -> Tensor:
            prototype = self.code(support).mean(0)
            return self.code(query) - prototype  # type: ignore[no-any-return]

    record = leaky.observe(Prototypes(), [{"query": torch.randn(9, 6), "support": torch.randn(4, 6)}])
    (site,) = record.sites
    assert (site.samples, site.sample_dim, site.shape) == (9 + 1, 0, (9, 5))


def _by_steps(model: nn.Module, sequences: list[Tensor]) -> Tensor:
    return model.cell(pack_sequence(sequences, enforce_sorted=False))[1][-1]  # type: ignore[no-any-return, operator, union-attr]


LISTS: dict[str, Callable[[nn.Module, list[Tensor]], Tensor]] = {
    "packed": _by_steps,
    "padded": lambda model, sequences: pad_sequence(sequences, batch_first=True),
    "in a loop": lambda model, sequences: torch.stack([x.mean(0) for x in sequences]),
    "one after another": lambda model, sequences: torch.cat(sequences),
}


@pytest.mark.parametrize("way", LISTS)
@pytest.mark.parametrize("whole", [True, False], ids=["a batch", "in a tuple"])
def test_a_list_of_sequences_is_a_batch_with_a_sample_each(way: str, whole: bool) -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.layer = nn.GRU(6, 6), nn.Linear(6, 8)

        def forward(self, sequences: list[Tensor]) -> Tensor:
            return torch.relu(self.layer(LISTS[way](self, sequences)))

    torch.manual_seed(0)
    model = Reads()
    batches = [[torch.randn(int(n), 6) for n in torch.randint(1, 6, (N,))] for _ in range(2)]
    record = leaky.observe(model, batches if whole else [(batch, torch.zeros(N)) for batch in batches])
    (site,) = record.sites
    fired = torch.zeros(8, dtype=torch.long)
    for batch in batches:
        for x in batch:
            alone = x if way in ("padded", "one after another") else LISTS[way](model, [x])
            fired += (model.layer(alone) > 0).reshape(-1, 8).any(0)
    assert (record.samples, site.samples, site.units) == (2 * N, 2 * N, 8)
    assert site.statistics.fired.tolist() == fired.tolist()

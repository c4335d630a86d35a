"""Padding that no mask of the batch tells of enters no figure: the model makes the mask itself, or packs sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from tests.observation.counting import counted, noted, observed_counts
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

import leaky

TOKENS, N = 20, 24


def texts(seed: int = 0, steps: int = 7) -> Tensor:
    """Numbers of tokens, 0 behind each text's end."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, TOKENS, (N, steps), generator=generator)
    length = torch.randint(1, steps + 1, (N, 1), generator=generator)
    return torch.where(torch.arange(steps) < length, ids, 0)


HIDDEN: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "filled with −∞": lambda scores, ids: scores.masked_fill((ids == 0)[:, None], -torch.inf),
    "filled where a mask is 0": lambda scores, ids: scores.masked_fill((ids != 0).unsqueeze(1) == 0, -1e10),
    "added": lambda scores, ids: scores + (1.0 - ids.ne(0)[:, None].float()) * -10000.0,
    "taken off": lambda scores, ids: scores - ids.eq(0)[:, None].float() * 1e9,
    "where": lambda scores, ids: torch.where(ids.gt(0)[:, None], scores, torch.tensor(-1e9)),
    "with a causal mask": lambda scores, ids: scores.masked_fill(
        ~(torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril() & (ids != 0)[:, None]), -1e9
    ),
}


class Attention(nn.Module):
    """A block twice; how its scores hide padding varies."""

    def __init__(self, hide: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.embed, self.hide = nn.Embedding(TOKENS, 8), hide
        self.query, self.key, self.up, self.down = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for _ in range(2):
            scores = self.hide(self.query(x) @ self.key(x).transpose(1, 2), ids)
            x = x + scores.softmax(-1) @ x
            x = x + self.down(torch.relu(noted("ff", self.up(x), real=ids != 0)))
        return x[:, 0]


class Fused(nn.Module):
    """torch's own attention and layer, the mask made of the tokens."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(TOKENS, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 6, batch_first=batch_first)
        self.batch_first = batch_first

    def forward(self, ids: Tensor) -> Tensor:
        padding = ids == 0 if self.batch_first else (ids == 0).T
        x = self.embed(ids)
        h = self.layer.norm1(x + self.layer.self_attn(x, x, x, key_padding_mask=padding, need_weights=False)[0])
        along = 1 if self.batch_first else 0
        z = self.layer.linear1(h)
        noted("ff", z if self.batch_first else z.transpose(0, 1), real=~padding)
        return self.layer.norm2(h + self.layer.linear2(torch.relu(z))).mean(along)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """torch's encoder, the mask an input of any name, True where padding or where real."""

    def __init__(self, real: bool) -> None:
        super().__init__()
        self.embed, self.real = nn.Embedding(TOKENS, 8), real
        layer = nn.TransformerEncoderLayer(8, 2, 6, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor, told: Tensor) -> Tensor:
        padding = ~told if self.real else told
        x = self.embed(ids)
        for number, layer in enumerate(self.encoder.layers):
            attended = layer.self_attn(x, x, x, key_padding_mask=padding)[0]
            noted(f"{number}", layer.linear1(layer.norm1(x + attended)), real=~padding)
            x = layer(x, src_key_padding_mask=padding)
        return self.encoder(self.embed(ids), src_key_padding_mask=padding).mean(1)  # type: ignore[no-any-return]


class Products(nn.Module):
    """Padding is zeroed: steps below lengths, or a mask that is an input."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.first, self.second, self.how = nn.Linear(4, 8), nn.Linear(8, 6), how

    def forward(self, x: Tensor, given: Tensor) -> Tensor:
        real = torch.arange(x.shape[1]) < given[:, None] if self.how == "lengths" else given
        h = torch.relu(noted("first", self.first(x), real=real > 0))
        return (torch.relu(noted("second", self.second(h), real=real > 0)) * real.unsqueeze(-1)).sum(1)


class Fixed(nn.Module):
    """torch's fused product of attention with a mask of truth values."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.query, self.up = nn.Embedding(TOKENS, 8), nn.Linear(8, 8), nn.Linear(8, 6)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)[:, None]
        x = F.scaled_dot_product_attention(self.query(x), x, x, attn_mask=(ids != 0)[:, None, None])
        return torch.relu(noted("ff", self.up(x[:, 0]), real=ids != 0))


class Packed(nn.Module):
    """A recurrent layer over packed sequences, and what comes behind it on the padded ones."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 8)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.cell(packed)[0], batch_first=True)
        return torch.relu(noted("head", self.head(9 * h), real=torch.arange(h.shape[1]) < lengths[:, None]))


class Given(nn.Module):
    """The same of sequences that come in packed, and what comes behind their last states and their rows."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head, self.last = nn.GRU(4, 5), nn.Linear(5, 8), nn.Linear(5, 6)

    def forward(self, packed: Any) -> Tensor:
        rows, state = self.cell(packed)
        h, lengths = pad_packed_sequence(rows, batch_first=True)
        z = noted("head", self.head(9 * h), real=torch.arange(h.shape[1]) < lengths[:, None])
        own = rows.sorted_indices
        sample = torch.cat([(torch.arange(int(n)) if own is None else own[:n]) for n in rows.batch_sizes])
        return (
            torch.relu(z).mean((1, 2))
            + torch.relu(noted("last", self.last(9 * state[-1]))).mean(1)
            + torch.relu(noted("row", self.last(9 * rows.data), samples=sample)).mean()
        )


class RealRows(nn.Module):
    """Only what is no padding goes on, picked by a mask or by number."""

    def __init__(self, by_number: bool) -> None:
        super().__init__()
        self.embed, self.layer, self.by_number = nn.Embedding(TOKENS, 6), nn.Linear(6, 8), by_number

    def forward(self, ids: Tensor) -> Tensor:
        sample = (ids != 0).nonzero()[:, 0]
        x = self.embed(ids)
        rows = x.flatten(0, 1)[(ids != 0).flatten().nonzero().flatten()] if self.by_number else x[ids != 0]
        return torch.relu(noted("row", self.layer(rows), samples=sample))


class Experts(nn.Module):
    """Tokens sent to experts: slices of one parameter, or modules in a loop."""

    def __init__(self, sliced: bool) -> None:
        super().__init__()
        self.embed, self.route, self.sliced = nn.Embedding(TOKENS, 6), nn.Linear(6, 3), sliced
        self.weight = nn.Parameter(torch.randn(3, 6, 4))
        nn.init.normal_(self.route.weight)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        tokens = self.embed(ids).reshape(-1, 6)
        sample = torch.arange(len(ids)).repeat_interleave(ids.shape[1])
        chosen, real = self.route(tokens).argmax(-1), attention_mask.reshape(-1) > 0
        out = torch.zeros(len(tokens), 4)
        for expert in range(3):
            (rows,) = (chosen == expert).nonzero(as_tuple=True)
            z = noted(f"{expert}", tokens[rows] @ self.weight[expert], samples=sample[rows], real=real[rows])
            if not self.sliced:
                out = out.index_copy(0, rows, torch.relu(z))
        if self.sliced:
            out = torch.relu(torch.bmm(tokens.unsqueeze(1), self.weight[chosen]).squeeze(1))
        return out.view(*ids.shape, 4)


def one(model: nn.Module, batch: Any) -> Any:
    return model(batch)


def several(model: nn.Module, batch: Any) -> Any:
    return model(*batch[0])


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _lengths(most: int = 6) -> Tensor:
    return torch.randint(1, most + 1, (N,), generator=torch.Generator().manual_seed(2))


def _with_lengths() -> list[Any]:
    return [((_random(N, 6, 4), _lengths()),), ((_random(N, 6, 4), _lengths(4)),)]


def _in_packs(in_order: bool) -> list[Any]:
    parts = [[_random(N, 6, 4)[i, :n] for i, n in enumerate(lengths)] for lengths in (_lengths(), _lengths(4))]
    if in_order:
        parts = [sorted(part, key=len, reverse=True) for part in parts]
    return [pack_sequence(part, enforce_sorted=in_order) for part in parts]


def _with_mask() -> list[Any]:
    return [((_random(N, 6, 4), (torch.arange(6) < _lengths()[:, None]).float()),)]


def _told(real: bool) -> list[Any]:
    return [((ids, (ids != 0) == real),) for ids in _texts()]


def _texts() -> list[Any]:
    return [texts(0), texts(1, 5)]


PADDED: dict[str, tuple[Callable[[], nn.Module], Callable[[], list[Any]], Callable[[nn.Module, Any], Any]]] = {
    **{name: (lambda hide=hide: Attention(hide), _texts, one) for name, hide in HIDDEN.items()},  # type: ignore[misc]
    "torch's layer": (lambda: Fused(True), _texts, one),
    "torch's layer, time first": (lambda: Fused(False), lambda: [texts(0).T.contiguous()], one),
    "torch's attention": (Fixed, _texts, one),
    "torch's encoder, a mask of padding": (lambda: Encoder(False), lambda: _told(False), several),
    "torch's encoder, a mask of what is real": (lambda: Encoder(True), lambda: _told(True), several),
    "lengths": (lambda: Products("lengths"), _with_lengths, several),
    "a mask by place": (lambda: Products("mask"), _with_mask, several),
    "packed": (Packed, _with_lengths, several),
    "packed before": (Given, lambda: _in_packs(False), one),
    "packed before, in order": (Given, lambda: _in_packs(True), one),
    "rows by a mask": (lambda: RealRows(False), _texts, one),
    "rows by number": (lambda: RealRows(True), _texts, one),
}


@pytest.mark.parametrize("how", PADDED)
def test_what_the_model_hides_enters_no_figure(how: str) -> None:
    torch.manual_seed(0)
    build, data, call = PADDED[how]
    model, batches = build().eval(), data()
    truth = counted(model, batches, call)
    record = leaky.observe(model, batches)
    assert observed_counts(record) == list(truth.values())
    hides = not how.startswith("rows")
    assert any("are padding; mask=False" in note for note in record.notes) == hides
    if hides:
        everywhere = observed_counts(leaky.observe(model, batches, mask=False))
        assert all(sum(a.fired) >= sum(t.fired) for a, t in zip(everywhere, truth.values(), strict=True))
        assert everywhere != list(truth.values())


@pytest.mark.parametrize("sliced", [False, True])
def test_padding_is_not_sent_to_experts(sliced: bool) -> None:
    torch.manual_seed(0)
    model, batches = Experts(sliced), [{"ids": ids, "attention_mask": (ids != 0).long()} for ids in _texts()]
    truth = counted(model, batches, lambda m, batch: m(**batch))
    record = leaky.observe(model, batches)
    (site,) = record.sites
    assert site.statistics.fired.tolist() == [n for expert in sorted(truth) for n in truth[expert].fired]


@pytest.mark.parametrize("end", [True, False])
def test_a_comparison_that_hides_nothing_is_no_mask(end: bool) -> None:
    class Finds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.layer = nn.Embedding(TOKENS, 6), nn.Linear(6, 8)

        def forward(self, ids: Tensor) -> Tensor:
            x = torch.relu(noted("z", self.layer(self.embed(ids))))
            found = (ids == 5).int()
            return (
                x[torch.arange(len(ids)), found.argmax(1)] if end else torch.cat([x, found.unsqueeze(-1).float()], -1)
            )

    torch.manual_seed(0)
    model = Finds()
    batches = [torch.randint(1, TOKENS, (N, 7), generator=torch.Generator().manual_seed(3))]
    record = leaky.observe(model, batches)
    assert observed_counts(record) == list(counted(model, batches, one).values())
    assert record.notes == ()

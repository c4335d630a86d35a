"""Gates and attention's softmaxes, counted against the values that the network itself computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import leaky

X = torch.randn(40, 6, 8, generator=torch.Generator().manual_seed(1))


class Gated(nn.Module):
    """A value and what scales it, multiplied as `how` says."""

    def __init__(self, how: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.value, self.gate, self.out, self.how = nn.Linear(8, 5), nn.Linear(8, 5), nn.Linear(5, 2), how

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.how(self.value(x), self.gate(x)))  # type: ignore[no-any-return]


GATES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sigmoid": lambda v, g: g.sigmoid() * v,
    "behind": lambda v, g: v * torch.sigmoid(g),
    "twice": lambda v, g: v * (2 * torch.sigmoid(g)),
    "highway": lambda v, g: g.sigmoid() * v.tanh() + (1 - g.sigmoid()) * v,
    "glu": lambda v, g: functional.glu(torch.cat([v, g], -1), -1),
}


@pytest.mark.parametrize("how", GATES.values(), ids=GATES)
def test_a_gate_is_counted_by_its_own_values(how: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    model = Gated(how)
    with torch.no_grad():
        model.gate.weight *= 20
    (gate,) = leaky.observe(model, X).choices
    values = torch.sigmoid(model.gate(X))
    low, high = int((values <= 1e-3).sum()), int((values >= 0.999).sum())
    assert 0 < low < values.numel()
    assert (gate.kind, gate.entries, gate.low, gate.high) == ("gate", values.numel(), low, high)


@pytest.mark.parametrize("how", [lambda v, g: functional.silu(g) * v, lambda v, g: g * g.sigmoid() + v])
def test_a_swish_is_no_gate_of_another_value(how: Callable[[Tensor, Tensor], Tensor]) -> None:
    assert leaky.observe(Gated(how), X).choices == ()


class Attending(nn.Module):
    """One head, written out or torch's own, causal or not."""

    def __init__(self, scale: float, fused: bool, causal: bool) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 2)
        self.scale, self.fused, self.causal = scale, fused, causal

    def rows(self, x: Tensor) -> Tensor:
        q, k, _ = self.qkv(x).chunk(3, -1)
        scores = self.scale * (q @ k.mT)
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return scores.masked_fill(later, -torch.inf) if self.causal else scores  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        if not self.fused:
            return self.out(self.rows(x).softmax(-1) @ v)  # type: ignore[no-any-return]
        mixed = functional.scaled_dot_product_attention(
            q[:, None], k[:, None], v[:, None], scale=self.scale, is_causal=self.causal
        )
        return self.out(mixed[:, 0])  # type: ignore[no-any-return]


@pytest.mark.parametrize("scale", [0.3, 3.0, 60.0])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_rows_of_one_position_are_counted_where_there_was_a_choice(scale: float, fused: bool, causal: bool) -> None:
    torch.manual_seed(0)
    model = Attending(scale, fused, causal).eval()
    x = X[:16]
    (seen,) = leaky.observe(model, x).choices
    sharpest = model.rows(x).double().softmax(-1).amax(-1)[:, 1 if causal else 0 :]
    assert (seen.kind, seen.entries, seen.low) == ("attention", sharpest.numel(), 0)
    assert seen.high == pytest.approx(int((sharpest >= 0.999).sum()), abs=1)


def test_torchs_own_layers_and_padding() -> None:
    torch.manual_seed(0)
    model = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    gone = torch.arange(6)[None] >= torch.randint(1, 7, (40, 1), generator=torch.Generator().manual_seed(2))
    batch = {"query": X, "key": X, "value": X, "key_padding_mask": gone}
    (seen,) = leaky.observe(model, [batch]).choices
    rows = 16 if seen.entries < 40 * 12 and "softmax" not in seen.name else 40
    assert seen.entries == int(((~gone[:rows]).sum(1) > 1).sum()) * 6 * 2


def test_classes_and_units_are_no_attention() -> None:
    model = nn.Sequential(nn.Linear(8, 4), nn.Softmax(-1))
    assert leaky.observe(model, X[:, 0]).choices == ()


class Scored(nn.Module):
    """Attention with a mask of numbers or of truth values that are filled in, written out, torch's own or fused."""

    def __init__(self, how: str, value: float) -> None:
        super().__init__()
        self.qkv, self.out, self.how, self.value = nn.Linear(8, 24), nn.Linear(8, 2), how, value

    def forward(self, x: Tensor, gone: Tensor) -> Tensor:
        q, k, v = (part[:, None] for part in self.qkv(x).chunk(3, -1))
        hidden, mask = gone[:, None, None], self.value * gone[:, None, None].float()
        scores = 9 * q @ k.mT
        if self.how == "fused":
            return self.out(functional.scaled_dot_product_attention(q, k, v, mask, scale=9.0)[:, 0])  # type: ignore[no-any-return]
        hides: dict[str, Callable[[], Tensor]] = {
            "added": lambda: scores + mask,
            "taken off": lambda: scores - -mask,
            "in place": lambda: scores.add_(mask),
            "filled": lambda: scores.masked_fill(hidden, self.value),
            "picked": lambda: torch.where(hidden, self.value, scores),
            "in windows": lambda: (scores.view(8, 5, 1, 6, 6) + mask.view(8, 5, 1, 1, 6)).view(-1, 1, 6, 6),
            "before a scale": lambda: (scores + mask) / 1.0,
        }
        return self.out((hides[self.how]().softmax(-1) @ v)[:, 0])  # type: ignore[no-any-return]


@pytest.mark.parametrize("value", [-100.0, -1000.0, -1e4, -torch.inf])
@pytest.mark.parametrize(
    "how",
    [
        "added",
        "taken off",
        "in place",
        "filled",
        "picked",
        "in windows",
        "before a scale",
        "fused",
    ],
)
def test_what_a_mask_hides_is_no_place_to_choose(how: str, value: float) -> None:
    torch.manual_seed(0)
    model = Scored(how, value).eval()
    gone = torch.arange(6)[None] >= torch.randint(1, 5, (40, 1), generator=torch.Generator().manual_seed(2))
    if how != "filled" and how != "picked" and value == -torch.inf:
        value = model.value = -1e30  # 0 · ∞ is no number
    rows = 16 if how == "fused" else 40
    (seen,) = leaky.observe(model, [(X, gone)]).choices
    q, k, _ = model.qkv(X).double().chunk(3, -1)
    scores = (9 * q @ k.mT).masked_fill(gone[:, None], -torch.inf)[:rows][(~gone[:rows]).sum(1) > 1]
    assert seen.entries == scores[..., 0].numel() < 6 * rows
    sharp = int((scores.softmax(-1).amax(-1) >= 0.999).sum())
    assert seen.high == pytest.approx(sharp, abs=1)
    assert 0 < sharp < seen.entries


def test_counts_add_up_over_records_and_over_the_first_and_fourth_batch() -> None:
    model = Gated(GATES["sigmoid"])
    with torch.no_grad():
        model.gate.weight *= 20
    parts = [leaky.observe(model, part).choices[0] for part in X.split(8)]
    (both,) = leaky.observe(model, X[:8]).merge(leaky.observe(model, X[8:16])).choices
    assert (both.entries, both.low) == (16 * 6 * 5, parts[0].low + parts[1].low)
    counted = [parts[0], parts[3]]
    expected = [sum(getattr(part, what) for part in counted) for what in ("entries", "low", "high")]
    for how in ({}, {"loss": lambda out, batch: out.square().mean()}):
        (seen,) = leaky.observe(model, X, batch_size=8, **how).choices
        assert [seen.entries, seen.low, seen.high] == expected


class Swished(nn.Module):
    """down(silu(gate(x)) · up(x)), with a shortcut around it or none."""

    def __init__(self, shortcut: bool) -> None:
        super().__init__()
        self.gate, self.up, self.down, self.shortcut = nn.Linear(8, 5), nn.Linear(8, 5), nn.Linear(5, 8), shortcut

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(functional.silu(self.gate(x)) * self.up(x))
        return x + h if self.shortcut else h  # type: ignore[no-any-return]


@pytest.mark.parametrize("shortcut", [False, True])
def test_no_path_leads_around_a_factor(shortcut: bool) -> None:
    model = Swished(shortcut)
    (site,) = leaky.observe(model, X).sites
    with torch.no_grad():
        usual = model(X)
        model.gate.bias -= 1e4  # the factor is 0 then
        reaches = bool((model(X).std(0) > 1e-6).any())
    assert site.bypassed == reaches == shortcut
    assert bool((usual.std(0) > 1e-6).any())


@pytest.mark.parametrize(("weighs", "found"), [(False, ["softmax-inside"]), (True, [])])
def test_a_softmax_that_weighs_other_values_is_no_activation(weighs: bool, found: list[str]) -> None:
    class Soft(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router, self.value, self.out = nn.Linear(8, 5), nn.Linear(8, 5), nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            w = self.router(x).softmax(-1)
            return self.out(w * self.value(x) if weighs else w)  # type: ignore[no-any-return]

    checkup = leaky.check(Soft(), X)
    assert [f.rule for f in checkup.findings] == found
    assert len(checkup.record.not_examined) == 1


class Stepping(nn.Module):
    """A recurrent layer of torch's, step by step or at once."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.out = kind(8, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.cell, nn.RNNBase):
            return self.out(self.cell(x.transpose(0, 1))[0][-1])  # type: ignore[no-any-return]
        state: Any = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.out(state[0] if isinstance(state, tuple) else state)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell, nn.LSTM, nn.LSTMCell])
def test_a_loss_changes_nothing_of_the_gates_that_are_counted(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = Stepping(kind)
    with torch.no_grad():
        for weight in model.cell.parameters():
            weight *= 12
    plain = leaky.observe(model, X).choices
    assert sum(gate.low for gate in plain) > 0
    assert leaky.observe(model, X, loss=lambda out, _: out.square().mean()).choices == plain


@pytest.mark.parametrize("with_loss", [False, True])
def test_the_gates_of_a_gru_are_what_its_equations_give(with_loss: bool) -> None:
    torch.manual_seed(1)
    model = Stepping(nn.GRUCell)
    with torch.no_grad():
        for weight in model.cell.parameters():
            weight *= 12
    loss = (lambda out, _: out.square().mean()) if with_loss else None
    seen = leaky.observe(model, X, loss=loss).choices
    cell, h = model.cell, torch.zeros(40, 5)
    resets, updates = [], []
    for step in X.unbind(1):
        into = (step @ cell.weight_ih.T + cell.bias_ih).chunk(3, 1)
        over = (h @ cell.weight_hh.T + cell.bias_hh).chunk(3, 1)
        reset, update = torch.sigmoid(into[0] + over[0]), torch.sigmoid(into[1] + over[1])
        new = torch.tanh(into[2] + reset * over[2])
        h = (1 - update) * new + update * h
        resets.append(reset)
        updates.append(update)
    shut = [int((torch.stack(values) <= 1e-3).sum()) for values in (resets[1:], updates)]  # the first scales no data
    assert min(shut) > 0
    assert sum(gate.low for gate in seen) == pytest.approx(sum(shut), abs=3)


class Maxout(nn.Module):
    """Units that are the largest of pieces: parts of one layer's units, side by side or apart, or of two layers."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.first, self.second, self.out = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 1)
        self.form = form

    def pieces(self, x: Tensor) -> Tensor:
        """In shape (…, pieces of a unit, units)."""
        made = self.first(x)
        if self.form == "apart":
            return made.unflatten(-1, (3, 4))  # type: ignore[no-any-return]
        if self.form == "beside":
            return made.unflatten(-1, (4, 3)).mT  # type: ignore[no-any-return]
        both = made.chunk(2, -1) if self.form == "halves" else (made, self.second(x))
        return torch.stack(both, -2)

    def forward(self, x: Tensor) -> Tensor:
        made = self.first(x)
        if self.form == "apart":
            largest = made.unflatten(-1, (3, 4)).amax(-2)
        elif self.form == "beside":
            largest = made.unflatten(-1, (4, 3)).max(-1).values
        elif self.form == "halves":
            largest = torch.maximum(*made.chunk(2, -1))
        else:
            largest = torch.max(made, self.second(x))
        return largest.mean((1, 2))


@pytest.mark.parametrize("form", ["apart", "beside", "halves", "layers"])
@pytest.mark.parametrize("batch_size", [40, 10])
def test_pieces_that_are_the_largest_nowhere_are_counted(form: str, batch_size: int) -> None:
    torch.manual_seed(2)
    model = Maxout(form)
    with torch.no_grad():
        model.first.bias[torch.tensor([0, 1, 9])] -= 30.0
    (choice,) = leaky.observe(model, X, batch_size=batch_size).choices
    seen = X if batch_size == 40 else torch.cat([X[:10], X[30:]])  # the second and the third are not counted
    pieces = model.pieces(seen).detach()
    chosen = (pieces == pieces.amax(-2, keepdim=True)).flatten(0, 1).any(0)
    assert (choice.kind, choice.entries, choice.low) == ("pieces", chosen.numel(), int((~chosen).sum()))
    assert 3 <= choice.low < choice.entries


@pytest.mark.parametrize(
    "pool",
    [
        lambda h: h.amax(1),
        lambda h: h.amax(-1, keepdim=True).mean(1),
        lambda h: torch.maximum(h, 0.1 * h).mean(1),
        lambda h: torch.maximum(h, h.exp() - 1).mean(1),
        lambda h: h.unflatten(1, (3, 2)).amax(2).mean(1),
    ],
    ids=["positions", "all units", "leak", "two functions", "pairs of positions"],
)
def test_other_maxima_are_no_pieces(pool: Callable[[Tensor], Tensor]) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 6)

        def forward(self, x: Tensor) -> Tensor:
            return pool(self.layer(x))

    assert leaky.observe(Pooled(), X).choices == ()

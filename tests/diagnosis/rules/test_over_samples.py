"""What a batch's samples share by mistake, gates of torch's LSTM, loose weights, and ends that bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.diagnosis.helpers import ENOUGH, findings_in, only, terms
from tests.records import normal, record_from, regression, site_from, tensor
from torch import Tensor, nn

import leaky
from leaky.diagnosis import diagnose
from leaky.diagnosis.rules.targets import RANGES
from leaky.record import OVER_BATCH, Choice, LossTerm, ParameterGradients

X = torch.randn(96, 6, 8, generator=torch.Generator().manual_seed(1))
Y = X[:, :, 0].sum(1, keepdim=True)


def mse(out: Any, batch: Any) -> Tensor:
    return nn.functional.mse_loss(out, batch[1])


class Pooled(nn.Module):
    """Sequences drawn together by a function of their hidden values."""

    def __init__(self, pool: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.out, self.pool = nn.Linear(8, 5), nn.Linear(5, 1), pool

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.pool(torch.relu(self.body(x))))  # type: ignore[no-any-return]


POOLS: dict[str, tuple[Callable[[Tensor], Tensor], bool]] = {
    "mean over the batch": (lambda h: h.mean(0)[:1].expand(len(h), -1), True),
    "largest of the batch": (lambda h: h.amax((0, 1), keepdim=True)[0].expand(len(h), -1), True),
    "mean over the steps": (lambda h: h.mean(1), False),
    "centred by the batch": (lambda h: (h - h.mean(0)).amax(1), False),
}


@pytest.mark.parametrize(("pool", "shared"), POOLS.values(), ids=POOLS)
def test_an_output_of_the_batch_is_no_answer_of_a_sample(pool: Callable[[Tensor], Tensor], shared: bool) -> None:
    torch.manual_seed(0)
    batches = list(zip(X.split(32), Y.split(32), strict=True))
    found = findings_in("same-output", leaky.observe(Pooled(pool).eval(), batches, loss=mse))
    assert [(f.level, f.evidence["within_batches"]) for f in found] == ([("error", True)] if shared else [])
    without = findings_in("same-output", leaky.observe(Pooled(pool).eval(), batches))
    assert [f.level for f in without] == (["info"] if shared else [])


def test_batches_of_one_sample_say_nothing_of_it() -> None:
    torch.manual_seed(0)
    model = Pooled(POOLS["mean over the steps"][0]).eval()
    (output,) = leaky.observe(model, [X[:1], X[1:2]]).outputs
    assert (output.alike, output.alike_by_batch) == (False, None)
    assert findings_in("same-output", leaky.observe(model, [X[:1], X[1:2], X[2:3]])) == []


def test_batches_that_repeat_one_sample_each_have_one_answer_each() -> None:
    torch.manual_seed(0)
    model = Pooled(POOLS["mean over the steps"][0]).eval()
    record = leaky.observe(model, [X[place : place + 1].repeat(8, 1, 1) for place in range(5)])
    assert record.outputs[0].alike_by_batch
    assert findings_in("same-output", record) == []


@pytest.mark.parametrize("last", [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(0.0, 9.0)])
def test_a_cut_of_logits_is_told_whatever_its_upper_end(last: nn.Module) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 4), last).eval(), X[:, 0]
    labels = x[:, :4].argmax(1)
    with torch.no_grad():
        model[0].bias[2] -= 90
    record = leaky.observe(model, [(x, labels)], loss=lambda out, b: nn.functional.cross_entropy(out, b[1]))
    assert len(findings_in("output-rectifier", record)) == 1


@pytest.mark.parametrize("parts", [(True, True), (True, False), (True, None), (None, None)])
def test_batches_that_are_alike_are_so_together_only_if_all_are(parts: tuple[bool | None, bool | None]) -> None:
    one, two = (tensor([[1.0], [2.0]], alike_by_batch=part) for part in parts)
    known = [part for part in parts if part is not None]
    assert one.merge(two).alike_by_batch == two.merge(one).alike_by_batch == (all(known) if known else None)


def test_dead_units_follow_from_an_output_of_the_batch() -> None:
    z = normal(ENOUGH, 8)
    z[:, :6] = -1 - np.abs(z[:, :6])
    target = normal(ENOUGH, 1, seed=8)
    output = tensor(0.01 * normal(ENOUGH, 1, seed=9), "output", alike_by_batch=True)
    record = record_from(site_from(z), terms=terms(30.0), outputs=(output,), inputs=(tensor(target),))
    first = diagnose(record).findings[0]
    assert (first.rule, first.level) == ("same-output", "error")


class Attending(nn.Module):
    def __init__(self, over: int, heads: int) -> None:
        super().__init__()
        self.qkv, self.out, self.over, self.heads = nn.Linear(8, 24), nn.Linear(8, 1), over, heads

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(((q @ k.mT).softmax(self.over) @ v).transpose(1, 2).flatten(2).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("over", [0, 1, 2, 3])
def test_a_softmax_inside_over_the_samples_is_told(over: int) -> None:
    torch.manual_seed(0)
    found = leaky.observe(Attending(over, 2).eval(), X).choices
    assert [(c.kind, c.entries) for c in found if c.kind == OVER_BATCH] == ([] if over else [(OVER_BATCH, 2 * 6 * 6)])


@pytest.mark.parametrize(("noise", "level"), [(0.1, "info"), (30.0, "warning"), (None, "info")])
def test_its_level_is_that_of_what_may_be_meant(noise: float | None, level: str) -> None:
    known = () if noise is None else terms(noise)
    choice = Choice("softmax", OVER_BATCH, 72, 0, 0)
    record = record_from(site_from(normal(ENOUGH, 4)), choices=(choice,), terms=known)
    found = only(findings_in("softmax-inside", record))
    assert (found.level, found.evidence["over_samples"]) == (level, True)


@pytest.mark.parametrize("settings", [{}, {"bidirectional": True}, {"num_layers": 2}, {"bias": False}])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_gates_of_torchs_lstm_are_what_its_equations_give(settings: dict[str, Any], scale: float) -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(8, 5, batch_first=True, **settings)

        def forward(self, x: Tensor) -> Tensor:
            return self.cell(x)[0][:, -1]  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = Last().eval()
    with torch.no_grad():
        for weight in model.cell.parameters():
            weight *= scale
    found = {c.name: c for c in leaky.observe(model, X[:16]).choices}
    directions = ("", "_reverse") if settings.get("bidirectional") else ("",)
    layers = range(settings.get("num_layers", 1))
    assert {*found} == {
        f"cell.{gate} gate_l{n}{d}" for gate in ("input", "forget", "output") for n in layers for d in directions
    }
    for suffix in directions:
        for place, gate in ((0, "input"), (1, "forget"), (3, "output")):
            values = gates_of(model.cell, suffix)[:, :, 5 * place : 5 * place + 5]
            seen = found[f"cell.{gate} gate_l0{suffix}"]
            assert seen.entries == values.numel()
            assert seen.low == pytest.approx(int((values <= 1e-3).sum()), abs=2)
            assert seen.high == pytest.approx(int((values >= 0.999).sum()), abs=2)


def gates_of(cell: nn.LSTM, suffix: str) -> Tensor:
    """σ of the four blocks of the first layer, step by step, from torch's documented equations."""
    into, over = (getattr(cell, f"weight_{side}_l0{suffix}") for side in ("ih", "hh"))
    shift = sum(getattr(cell, f"bias_{side}_l0{suffix}") for side in ("ih", "hh")) if cell.bias else 0
    h = c = torch.zeros(16, 5)
    rows = []
    for t in range(6)[:: -1 if suffix else 1]:
        pre = X[:16, t] @ into.T + h @ over.T + shift
        i, f, g, o = pre.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        rows.append(pre.sigmoid())
    return torch.stack(rows).detach()


@pytest.mark.parametrize(
    ("hold", "said"),
    [
        (lambda: torch.randn(5, 5).requires_grad_(), True),
        (lambda: nn.Parameter(torch.randn(5, 5)), False),
        (lambda: torch.randn(5, 5), False),
        (lambda: 2 * torch.randn(5, 5).requires_grad_(), False),
    ],
)
def test_a_tensor_that_wants_to_learn_and_is_no_parameter(hold: Callable[[], Tensor], said: bool) -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.weight = nn.Linear(8, 5), hold()

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.into(x)) @ self.weight

    torch.manual_seed(0)
    assert leaky.observe(nn.Sequential(Own()), X[:, 0]).unregistered == (("0.weight",) if said else ())


SMOOTH = {"gelu": nn.GELU(), "silu": nn.SiLU(), "mish": nn.Mish()}


@pytest.mark.parametrize("name", SMOOTH)
def test_what_a_smooth_rectifier_at_the_end_never_gives(name: str) -> None:
    z = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    assert RANGES[name][0] == pytest.approx(float(SMOOTH[name](z).min()), abs=1e-4)
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(8, 1), SMOOTH[name]).eval(), X[:, 0]
    for shift, bad in ((0.0, True), (10.0, False)):
        record = leaky.observe(model, [(x, x[:, :1] + shift)], loss=mse)
        assert bool(findings_in("target-range", record)) == bad


def logits(low: float, high: float, classes: int, right: bool) -> LossTerm:
    z = np.full((ENOUGH, classes), low)
    target = np.arange(ENOUGH) % classes
    z[np.arange(ENOUGH), target if right else 0] = high
    counts = tuple(int((target == place).sum()) for place in range(classes))
    hits = ENOUGH if right else counts[0]
    return LossTerm(
        "cross_entropy",
        "output",
        (),
        tensor(z, "output"),
        tensor(target, "batch[1]", "int64"),
        None,
        hits,
        ENOUGH,
        counts,
    )


@pytest.mark.parametrize(
    ("low", "high", "right", "said"),
    [
        (-0.4, 0.98, True, True),
        (-1.0, 1.0, True, True),
        (-0.4, 0.98, False, False),
        (-0.4, 0.7, True, False),
        (-3.0, 1.0, True, False),
        (0.0, 5.0, True, False),
    ],
)
def test_cosines_as_logits_are_a_note(low: float, high: float, right: bool, said: bool) -> None:
    term = logits(low, high, 10, right)
    found = findings_in("loss-misfit", record_from(outputs=(term.given,), terms=(term,), samples=ENOUGH))
    assert [f.level for f in found] == (["info"] if said else [])
    if said:
        z = torch.tensor([1.0] + [-1.0] * 9, dtype=torch.float64)
        least = float(nn.functional.cross_entropy(z, torch.tensor(0)))
        assert f"{least:.2g} at the least" in found[0].message


@pytest.mark.parametrize("shortcuts", [True, False])
def test_growth_of_sums_comes_before_what_it_brings_about(shortcuts: bool) -> None:
    sites = [
        site_from(50.0 ** (n / 2) * normal(60, 8, seed=n), 0.0, name=f"act{n}", bypassed=shortcuts) for n in range(6)
    ]
    gone = site_from(-1 - np.abs(normal(ENOUGH, 8)), 0.0, name="last", bypassed=shortcuts)
    found = diagnose(record_from(*sites, gone)).findings
    growth = only([f for f in found if f.rule == "growth"])
    assert growth.evidence["on_shortcuts"] is shortcuts
    dead = only([f for f in found if f.rule in ("dead", "silent-so-far")])
    assert dead.follows_from == ("growth" if shortcuts else None)


@pytest.mark.parametrize(("rounding", "whole"), [(1e-9, True), (1e-3, False)])
def test_units_that_vary_by_rounding_are_constant_as_a_site(rounding: float, whole: bool) -> None:
    z = np.array([1.0, -2.0, 1e-4, -3.0]) + rounding * normal(ENOUGH, 4)
    found = findings_in("constant", record_from(site_from(z, bypassed=False)))
    assert [f.evidence["whole_site"] for f in found] == ([True] if whole else [])


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
@pytest.mark.parametrize(
    ("scale", "right", "said"), [(300.0, 0.6, True), (300.0, 1.0, False), (1.0, 0.6, False), (4.0, 0.6, False)]
)
def test_an_end_that_is_certain_and_often_wrong(name: str, scale: float, right: float, said: bool) -> None:
    act, low = {"sigmoid": (torch.sigmoid, 0.0), "tanh": (torch.tanh, -1.0)}[name]
    z = scale * X.flatten()[:2000].reshape(-1, 1)
    wrong = torch.rand(2000, 1, generator=torch.Generator().manual_seed(0)) > right
    target = torch.where((z > 0) ^ wrong, 1.0, low)
    out = tensor(act(z).numpy(), "output", made_by=name)
    term = regression(target.numpy(), act(z).numpy())
    site = site_from(normal(2000, 4), gradient=normal(2000, 4, seed=3))
    record = record_from(site, outputs=(out,), terms=(term,), gradients=ParameterGradients(4))
    assert [f.level for f in findings_in("no-gradient", record)] == (["warning"] if said else [])


@pytest.mark.parametrize(
    ("layer", "name"), [(nn.Hardtanh(), "hardtanh"), (nn.ReLU6(), "relu6"), (nn.Hardsigmoid(), "hardsigmoid")]
)
def test_a_cut_at_the_end_is_known_by_its_numbers(layer: nn.Module, name: str) -> None:
    z = torch.linspace(-9, 9, 1001)
    assert RANGES[name] == (float(layer(z).min()), float(layer(z).max()))
    (output,) = leaky.observe(nn.Sequential(nn.Linear(8, 1), layer), X[:, 0], loss=lambda out, _: out.mean()).outputs
    assert output.made_by == name
    other = nn.Sequential(nn.Linear(8, 1), nn.Hardtanh(-3.0, 2.0))
    (output,) = leaky.observe(other, X[:, 0], loss=lambda out, _: out.mean()).outputs
    assert (output.made_by, output.lowest, output.highest) == ("function", -3.0, 2.0)


def test_several_gates_that_one_layer_sets_are_told_apart() -> None:
    class Cell(nn.Module):
        """A forget gate and an output gate of one layer; the first is shut."""

        def __init__(self) -> None:
            super().__init__()
            self.both, self.value, self.out = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(4, 1)
            with torch.no_grad():
                self.both.bias[:4] -= 60

        def forward(self, x: Tensor) -> Tensor:
            state = x.new_ones(len(x), 4) * self.value(x[:, 0])
            for t in range(x.shape[1]):
                forget, last = self.both(x[:, t]).chunk(2, -1)
                state = torch.sigmoid(forget) * state + self.value(x[:, t])
                shown = torch.sigmoid(last) * state
            return self.out(shown)  # type: ignore[no-any-return]

    torch.manual_seed(0)
    gates = {c.name: c.low / c.entries for c in leaky.observe(Cell(), X).choices}
    assert gates == {"both": 1.0, "both, gate 2": 0.0}

"""What is measured beyond the sums: effective rank against NumPy's SVD, gated products against autograd by hand."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import leaky
from leaky.diagnosis import Thresholds
from leaky.errors import InputError
from leaky.structure.axes import Layout
from leaky.watching.measures import Measures, Products, effective_rank, idle_gates

torch.set_num_threads(1)


class Gated(nn.Module):
    """act(gate) · up, the activation a module or a function, in the order that is asked for."""

    def __init__(self, act: Any = None, flipped: bool = False) -> None:
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(12, 20), nn.Linear(12, 20), nn.Linear(20, 12)
        self.act = nn.SiLU() if act is None else act
        self.flipped = flipped

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.act(self.gate(x)), self.up(x)
        return self.down(up * gate if self.flipped else torch.mul(gate, up))


def idle_ones(model: nn.Module) -> None:
    """Four gates that are shut; four open ones whose product is next to nothing and is read by nobody."""
    with torch.no_grad():
        model[0].gate.weight[:4], model[0].gate.bias[:4] = 0.0, -30.0
        for p in (model[0].up.weight[4:8], model[0].up.bias[4:8], model[0].down.weight[:, 4:8]):
            p.mul_(1e-6)


def trained(model: nn.Module, steps: int = 30, shape: tuple[int, ...] = (16, 12), **options: Any) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    torch.manual_seed(3)
    with leaky.watch(model, optimizer, **options) as watch:
        for _ in range(steps):
            x = torch.randn(shape)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    return watch


def brute_force_rank(features: np.ndarray[Any, Any], delta: float) -> int:
    values = np.linalg.svd(features, compute_uv=False)
    return next((k for k in range(len(values) + 1) if values[:k].sum() >= (1 - delta) * values.sum()), 0)


@pytest.mark.parametrize("delta", [0.3, 0.1, 0.01])
def test_the_effective_rank_is_that_of_the_singular_values(delta: float) -> None:
    draw = np.random.default_rng(0)
    for rows, units, rank in ((50, 8, 8), (50, 20, 3), (6, 20, 20), (400, 30, 29)):
        features = draw.normal(size=(rows, rank)) @ draw.normal(size=(rank, units)) * 1.5 ** -np.arange(units)
        assert effective_rank(features.T @ features, delta) == brute_force_rank(features, delta)
    assert effective_rank(np.zeros((5, 5)), delta) == 0


@pytest.mark.parametrize("convolution", [False, True])
def test_a_report_has_the_effective_rank_of_all_outputs_since_the_one_before(convolution: bool) -> None:
    torch.manual_seed(0)
    if convolution:
        model, shape = nn.Sequential(nn.Conv2d(2, 10, 3), nn.ReLU(), nn.Flatten(), nn.Linear(160, 3)), (4, 2, 6, 6)
    else:
        model, shape = nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 3)), (16, 12)
    seen: list[Tensor] = []
    model[1].register_forward_hook(lambda *_: seen.append(_[2].detach().double().movedim(1, -1).flatten(0, -2)))
    watch = trained(model, 20, shape, measures=("srank",))
    expected = [brute_force_rank(torch.cat(seen[start : start + 10]).numpy(), 0.01) for start in (0, 10)]
    assert watch.history["1"]["srank"].tolist() == expected
    assert expected[0] > 1


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("act", [None, functional.gelu, functional.relu])
def test_gates_that_give_and_learn_next_to_nothing_are_counted_as_by_hand(act: Any, flipped: bool) -> None:
    def fresh() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(Gated(act, flipped), Gated(act, flipped))
        idle_ones(model)
        return model

    watch = trained(fresh(), measures=("gates",))
    first, second = watch.history
    tokens = trained(fresh(), shape=(4, 4, 12), measures=("gates",)).history  # the same numbers in another form
    np.testing.assert_array_equal(tokens[first]["idle_gates"], watch.history[first]["idle_gates"])
    model, sums = fresh(), np.zeros((3, 20))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    torch.manual_seed(3)
    for step in range(20):
        x, block = torch.randn(16, 12), model[0]
        z, up = block.gate(x), block.up(x)
        product = block.act(z) * up
        z.retain_grad(), up.retain_grad()
        optimizer.zero_grad()
        model[1](block.down(product)).square().mean().backward()
        optimizer.step()
        if step >= 10:
            parts = product.detach(), z.grad, up.grad
            sums += [part.double().abs().sum(0).numpy() for part in parts]
    relative = sums / sums.mean(1, keepdims=True)
    expected = ((relative[0] <= 0.025) & (relative[1] <= 0.01) & (relative[2] <= 0.01)).mean()
    assert watch.history[first]["idle_gates"][1] == expected >= 0.4
    if act is not functional.relu:
        assert watch.history[second]["idle_gates"][1] == 0
    assert idle_gates(sums, Thresholds()).mean() == expected


def test_a_smooth_gate_is_never_called_dead_and_a_rectified_one_still_is() -> None:
    for act, dead in ((nn.SiLU(), np.nan), (nn.ReLU(), 0.2)):
        torch.manual_seed(0)
        model = nn.Sequential(Gated(act))
        idle_ones(model)
        watch = trained(model, 60, measures=("gates",))
        np.testing.assert_equal(watch.history["0.act"]["dead"][-1], dead)
        np.testing.assert_equal(watch.history["0.act"]["silent"][-1], dead)


class After(nn.Module):
    """A rectifier, and what follows it."""

    def __init__(self, after: Any) -> None:
        super().__init__()
        self.after, self.other = after, nn.Parameter(torch.ones(16, 20))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(functional.relu(x), self.other)


@pytest.mark.parametrize(
    "after", [lambda h, _: h * h, lambda h, _: h * (h > 0.1), lambda h, other: h + other, lambda h, _: h.square()]
)
def test_what_is_no_gate_is_not_taken_for_one(after: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 20), After(after), nn.Linear(20, 3))
    with torch.no_grad():
        model[0].bias[:5] = -100.0
    watch = trained(model, 60, measures=("gates",))
    (site,) = watch.history
    assert np.isnan(watch.history[site]["idle_gates"]).all()
    assert watch.history[site]["dead"][-1] == 0.25  # squared or not, a rectifier's units die as they do


class Asks(TorchDispatchMode):
    """Counts how often Python asks for a value of a tensor."""

    asked = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.asked += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.equal.default)
        return func(*args, **(kwargs or {}))


PRODUCTS: list[Any] = [
    lambda gate, up: gate * up, lambda gate, up: up * gate, torch.mul, Tensor.mul, Tensor.multiply, operator.imul,
]  # fmt: skip


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_product_of_torchs_own_is_known_without_asking_for_a_value(product: Any) -> None:
    seen: list[Any] = []
    products = Products()
    measures = Measures(frozenset({"gates"}), 5, smooth=True, products=products)

    class Sees(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append((func, args))
            return func(*args, **(kwargs or {}))

    gate, up = torch.rand(3, 5), torch.rand(3, 5)
    products.made(gate, measures, Layout((3, 5), (0, 1), 3, 5, 1, 0, 1))
    with Sees():
        result = product(gate, up)
    with Asks() as asks:
        products.see(*seen[-1], result)
    assert measures.gated
    assert asks.asked == 0


def test_measuring_leaves_the_training_as_it_is_bit_for_bit() -> None:
    weights = []
    for measures in ((), ("srank", "gates")):
        torch.manual_seed(0)
        model = nn.Sequential(Gated(), Gated(functional.gelu), nn.ReLU())
        trained(model, 50, measures=measures)
        weights.append([p.detach().clone() for p in model.parameters()])
    assert all(map(torch.equal, *weights))


def test_a_batch_that_is_not_finite_spoils_no_measure() -> None:
    found = []
    for spoilt in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(Gated())
        idle_ones(model)
        with leaky.watch(model, measures=("srank", "gates"), alarms=[]) as watch:
            for step in range(20):
                x = torch.randn(16, 12)
                if spoilt and step == 13:
                    x[3] = torch.inf
                model(x).square().mean().backward()
                watch.step()
        found.append([watch.history["0.act"][figure][-1] for figure in ("srank", "idle_gates")])
    assert found[1] == found[0]


def test_units_are_asleep_that_have_not_fired_over_the_long_window() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Linear(40, 12))
    with torch.no_grad():
        model[0].bias[:10], model[0].bias[10:30] = -100.0, -1.8
    fired: list[Tensor] = []
    model[0].register_forward_hook(lambda *_: fired.append((_[2] > 0).detach()))
    watch = trained(model, 40, thresholds={"asleep_samples": 320})
    found = watch.history["1"]["asleep"]
    assert np.isnan(found[0])
    rows = torch.cat(fired)
    for report, last in enumerate((320, 480, 640), 1):
        since = [last - 1 - int(r.nonzero()[-1]) if bool(r.any()) else last for r in rows[:last].T]
        per_batch = [16 * (s // 16) for s in since]  # a unit's last batch counts as one in which it fired
        assert found[report] == np.mean([s >= 320 for s in per_batch])
    assert 0.25 <= found[-1] < 0.75


def test_what_was_measured_is_shown_by_layer_and_read_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(Gated())
    idle_ones(model)
    watch = trained(model, 60, measures=("srank", "gates"), log=tmp_path / "run.jsonl")
    watch.save(tmp_path / "run.json")
    for name in ("run.json", "run.jsonl"):
        run = leaky.load(tmp_path / name)
        for figure in ("srank", "idle_gates", "asleep"):
            np.testing.assert_array_equal(run.figures["0.act"][figure], watch.history["0.act"][figure])
        header, row = (line for line in str(run).splitlines() if line.startswith(("site", "0.act ")))
        assert header.split() == ["site", "units", "dormant", "idle", "gates", "rate", "srank", "weight"]
        assert row.split()[3] == f"{watch.history['0.act']['idle_gates'][-1]:.1%}"


def test_without_being_asked_nothing_is_measured_and_an_unknown_name_is_told() -> None:
    torch.manual_seed(0)
    watch = trained(nn.Sequential(Gated()))
    assert np.isnan([watch.history["0.act"][figure] for figure in ("srank", "idle_gates")]).all()
    for wrong in ("srank", ["rank"]):
        with pytest.raises(InputError, match="measures must be a collection of 'srank' and 'gates'"):
            leaky.watch(nn.ReLU(), measures=wrong)


class Sparse(nn.Module):
    """An autoencoder whose code is what its gate lets through."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.encode, self.gate, self.decode = nn.Linear(12, 50), gate, nn.Linear(50, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.gate(self.encode(x)))


class Strongest(nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        values, places = z.topk(4, dim=-1)
        return torch.zeros_like(z).scatter(-1, places, functional.relu(values))


class Jump(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.full((50,), 1.0))

    def forward(self, z: Tensor) -> Tensor:
        return z * (z > self.threshold)


@pytest.mark.parametrize("gate", [Strongest, Jump, nn.ReLU])
def test_latents_are_counted_whatever_lets_them_through_and_tokens_are_samples(gate: Any) -> None:
    torch.manual_seed(0)
    model = Sparse(gate())
    with torch.no_grad():
        model.encode.bias[:20], model.encode.bias[20:30] = -100.0, -2.0
    seen: list[Tensor] = []
    model.gate.register_forward_hook(lambda *_: seen.append((_[2] != 0).flatten(0, -2)))
    limits = {"asleep_samples": 640, "rate": 0.02}
    watch = trained(model, 30, (4, 16, 12), latents=["gate"], thresholds=limits)
    found, rows = watch.history["gate (latents)"], torch.cat(seen).double()
    assert watch.latents["gate"].density == pytest.approx(rows.mean(0).numpy())
    assert found["rate"] == pytest.approx([float(torch.cat(seen[i : i + 10]).double().mean()) for i in (0, 10, 20)])
    since = np.array([64 * next((k for k, s in enumerate(seen[::-1]) if s[:, u].any()), 30) for u in range(50)])
    assert watch.latents["gate"].silent_for.tolist() == since.tolist()
    assert found["asleep"][-1] == (since >= 640).mean() >= 0.4
    assert watch.run().units["gate (latents)"] == 50
    assert not any(module._forward_hooks for name, module in model.named_modules() if name != "gate")
    assert len(model.gate._forward_hooks) == 1


def test_the_latents_of_no_module_are_told() -> None:
    with pytest.raises(InputError, match="latents must name modules of the model, and it has no 'coder'"):
        leaky.watch(nn.Sequential(nn.ReLU()), latents=["coder"])

"""Each operation keeps its promise on every structure that it supports, and leaves the others alone with a reason."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.observation import architectures, networks
from tests.repairing.generated import kill, network
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.repairing.ground import Ground, relative_change
from leaky.repairing.operations.reviving import revive
from leaky.repairing.operations.standardising import standardise
from leaky.repairing.operations.swapping import refusal, swap
from leaky.repairing.pruning import prune

SEEDS = st.integers(0, 2**31)
GENERATED = settings(max_examples=12, deadline=None, derandomize=True, database=None)


def changed(model: nn.Module, before: list[torch.Tensor], data: torch.Tensor) -> float:
    return relative_change(before, Ground(model, data).outputs())


@GENERATED
@given(SEEDS)
def test_revive_keeps_the_function_and_the_units_fire(seed: int) -> None:
    model, data = network(seed)
    ground = Ground(model, data)
    dead = kill(ground, random.Random(seed))
    before = ground.outputs()
    done = revive(model, dead, data, seed=seed)
    assert changed(model, before, data) <= 1e-6
    record = leaky.observe(model, data)
    for name, units in done.revived.items():
        fired = record.site(name).firing_rate[list(units)]
        assert (fired > 0.1).all()
    for name, units in dead.items():
        assert set(units) == {*done.revived.get(name, ()), *done.refused.get(name, {})}


@GENERATED
@given(SEEDS)
def test_prune_keeps_the_function_in_a_smaller_network(seed: int) -> None:
    model, data = network(seed)
    ground = Ground(model, data)
    dead = kill(ground, random.Random(seed))
    before, state = ground.outputs(), copy.deepcopy(model.state_dict())
    done = prune(model, data, dead)
    assert changed(done.model, before, data) <= 1e-6
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert (done.parameters[1] < done.parameters[0]) == bool(done.removed)
    sites = {site.name: site.units for site in leaky.observe(done.model, data).sites}
    for name, units in done.removed.items():
        assert sites[name] == ground.site(name).units - len(units)


@GENERATED
@given(SEEDS, st.floats(-2, 3), st.floats(-100, 100))
def test_standardise_keeps_the_function(seed: int, magnitude: float, offset: float) -> None:
    model, data = network(seed)
    data = data * 10**magnitude + offset * 10**magnitude
    before = Ground(model, data).outputs()
    standardise(model, data)
    assert changed(model, before, data) <= 1e-5  # a mean 100 times as large takes two of the seven digits


@GENERATED
@given(SEEDS)
def test_swap_tells_its_drift_and_keeps_healthy_units(seed: int) -> None:
    model, data = network(seed)
    ground = Ground(model, data)
    before = ground.outputs()
    for name, site in ground.structure.sites.items():
        second = copy.deepcopy(model)
        if refusal(ground, site) is not None:
            with pytest.raises(InputError, match="cannot be swapped"):
                swap(second, name, data, negative_slope=0.3, units=[0])
            continue
        done = swap(second, name, data, negative_slope=0.3, units=[0])
        assert changed(second, before, data) == pytest.approx(done.drift, rel=1e-3, abs=1e-7)
        slopes = leaky.observe(second, data).site(name).negative_slope
        own = leaky.observe(model, data).site(name).negative_slope
        assert slopes[0] == pytest.approx(0.3)
        assert slopes[1:] == pytest.approx(own[1:])
        assert len(slopes) == site.units


@GENERATED
@given(SEEDS)
def test_the_weights_of_a_unit_are_its_own(seed: int) -> None:
    """Moving what makes a unit moves that unit's pre-activation alone; without what takes it, the output misses it."""
    model, data = network(seed)
    ground = Ground(model, data)
    record = leaky.observe(model, data)
    draw = random.Random(seed)
    for name, site in ground.structure.sites.items():
        free = [unit for unit in range(site.units) if site.refusal(unit) is None]
        if not free:
            continue
        unit, second = draw.choice(free), copy.deepcopy(model)
        other = Ground(second, data)
        with torch.no_grad():
            for taken in other.site(name).taken:
                other.tensor(taken.weight)[taken.owner == unit] = 0.0
        without = other.outputs()
        with torch.no_grad():
            for made in other.site(name).made:
                other.tensor(made.weight)[made.owner == unit] += 0.7
        moved = abs(leaky.observe(second, data).site(name).mean - record.site(name).mean)
        assert (moved > 1e-6).nonzero()[0].tolist() == [unit] or any(made.norms for made in site.made)
        assert relative_change(without, other.outputs()) == 0.0


def dead_pair() -> tuple[nn.Sequential, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].bias[2:4] = -50.0
    return model, torch.randn(64, 6)


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p),
    "NAdam": lambda p: torch.optim.NAdam(p),
    "RMSprop": lambda p: torch.optim.RMSprop(p, momentum=0.9, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p),
    "Adadelta": lambda p: torch.optim.Adadelta(p),
    "RAdam": lambda p: torch.optim.RAdam(p),
}


def train(model: nn.Module, data: torch.Tensor, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(data).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizers_slices_begin_anew_and_the_others_stay(name: str) -> None:
    model, data = dead_pair()
    optimizer = OPTIMIZERS[name](model.parameters())
    train(model, data, optimizer)
    weight, after = model[0].weight, model[2].weight
    states = {
        p: {k: v.clone() for k, v in optimizer.state[p].items() if isinstance(v, torch.Tensor)} for p in (weight, after)
    }
    done = revive(model, {"1": [2, 3]}, data, optimizer=optimizer)
    assert done.optimizer_tensors >= 3
    others = [0, 1, 4, 5, 6, 7]
    for p in (weight, after):
        for key, old in states[p].items():
            new = optimizer.state[p][key]
            if not isinstance(old, torch.Tensor) or old.shape != p.shape:
                assert new == old
                continue
            mine, rest = (new[[2, 3]], old[others]) if p is weight else (new[:, [2, 3]], old[:, others])
            kept = new[others] if p is weight else new[:, others]
            assert torch.equal(kept, rest)
            assert len(mine.unique()) == 1
            assert float(mine.max()) in (0.0, pytest.approx(float(rest.mean())))
    train(model, data, optimizer)  # the loop goes on


def test_of_a_weight_between_two_layers_that_are_revived_rows_and_columns_begin_anew() -> None:
    model, data = dead_pair()
    with torch.no_grad():
        model[2].bias[5] = -50.0
    optimizer = torch.optim.Adam(model.parameters())
    train(model, data, optimizer)
    weight, before = model[2].weight.detach().clone(), optimizer.state[model[2].weight]["exp_avg_sq"].clone()
    assert revive(model, {"1": [2, 3], "3": [5]}, data, optimizer=optimizer, seed=0).refused == {}
    anew = torch.zeros(8, 8, dtype=torch.bool)
    anew[5], anew[:, [2, 3]] = True, True
    after = optimizer.state[model[2].weight]["exp_avg_sq"]
    assert torch.equal(after[~anew], before[~anew])
    torch.testing.assert_close(after[anew], before[~anew].mean().expand(22))
    assert torch.equal(model[2].weight.detach()[~anew], weight[~anew])
    assert (model[2].weight.detach()[anew] != weight[anew]).all()


def test_a_whole_tensor_that_begins_anew_gets_a_new_step_count() -> None:
    model, data = dead_pair()
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
    optimizer = torch.optim.Adam(model.parameters())
    train(model, data, optimizer)
    revive(model, {"1": range(8)}, data, optimizer=optimizer)
    assert float(optimizer.state[model[0].weight]["step"]) == 0.0
    assert not optimizer.state[model[0].weight]["exp_avg_sq"].any()
    assert float(optimizer.state[model[4].weight]["step"]) == 3.0


def test_parameters_stay_the_optimizers_and_the_loop_goes_on() -> None:
    model, data = dead_pair()
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    train(model, data, optimizer)
    ids = [id(p) for p in model.parameters()]
    revive(model, {"1": [2, 3]}, data, optimizer=optimizer)
    assert [id(p) for p in model.parameters()] == ids
    before = model[2].weight[:, 2:4].clone()
    assert not before.any()
    train(model, data, optimizer, 1)
    scheduler.step()
    assert model[2].weight[:, 2:4].any()  # the gradient reaches what was zeroed


REFUSED = {
    "a shortcut": (lambda: networks.ResNet(), (8, 3, 8, 8), 0, "add in blocks.0 adds other data to it"),
    "shared weights": (lambda: networks.Siamese(), None, 0, "runs 2 times"),
    "an output": (lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU()), (8, 6), 0, "part of the model's output"),
    "a norm over units": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2)),
        (8, 6),
        0,
        "native_layer_norm in 2 mixes units",
    ),
    "a softmax": (
        lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Softmax(1), nn.Linear(4, 2)),
        (8, 6),
        0,
        "_softmax in 2 mixes units",
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.ReLU(), nn.Linear(4, 2)),
        (8, 6),
        0,
        "no weight that makes it",
    ),
    "two sites": (architectures.ConcatenatedReLU, (8, 6), 0, "makes it for 2 sites"),
    "an lstm": (lambda: architectures.Recurrent(nn.LSTM), (8, 4, 6), 0, "no weight that makes it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_changed_alone_is_refused_with_the_reason(name: str) -> None:
    torch.manual_seed(0)
    build, shape, index, reason = REFUSED[name]
    model = build().eval()
    data = torch.randn(shape) if shape else {"a": torch.randn(8, 6), "b": torch.randn(8, 6)}
    site = list(Ground(model, data).structure.sites)[index]
    before = copy.deepcopy(model.state_dict())
    done = revive(model, {site: [1]}, data)
    assert reason in done.refused[site][1]
    assert done.revived == {}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_unit_that_varies_is_not_taken_away() -> None:
    model, data = dead_pair()
    done = revive(model, {"1": [0, 2, 99]}, data)
    assert done.revived == {"1": (2,)}
    assert "varies" in done.refused["1"][0]
    assert done.refused["1"][99] == "there is no such unit"
    moved = revive(model, {"1": [0]}, data, approximate=True)
    assert moved.revived == {"1": (0,)}


def test_a_constant_in_front_of_padding_is_refused() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1), nn.Flatten(), nn.Linear(72, 2))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, 2.0
    data = torch.randn(8, 3, 8, 8)
    assert "sums over padding" in revive(model, {"1": [1]}, data).refused["1"][1]
    assert "sums over padding" in prune(model, data, {"1": [1]}).refused["1"][1]
    model[2].padding = (0, 0)
    model[4] = nn.Linear(32, 2)
    before = Ground(model, data).outputs()
    done = prune(model, data, {"1": [1]})
    assert (done.removed, done.change <= 1e-6) == ({"1": (1,)}, True)
    assert changed(done.model, before, data) <= 1e-6
    assert done.model[0].out_channels == done.model[2].in_channels == 3  # type: ignore[index,union-attr]


def test_a_size_in_the_models_own_code_is_named() -> None:
    class Sized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3), nn.Linear(4 * 36, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.relu(self.a(x)).reshape(-1, 4 * 36))

    model, data = Sized(), torch.randn(8, 3, 8, 8)
    with torch.no_grad():
        model.a.bias[1] = -50
    with pytest.raises(InputError, match="a size is written into the model's own code"):
        prune(model, data, {Ground(model, data).history.events[1].site.name: [1]})  # type: ignore[union-attr]


def test_a_functional_call_gets_the_edit_to_make() -> None:
    model, data = networks.Functional(), torch.randn(8, 6)
    name = leaky.observe(model, data).sites[0].name
    with pytest.raises(InputError, match=r"call of relu at networks.py:\d+.*leaky_relu\(x, negative_slope\)"):
        swap(model, name, data, negative_slope=0.1)


def test_a_site_with_slopes_of_which_some_are_0_is_one_site_and_its_units_can_be_changed() -> None:
    model, data = dead_pair()
    swap(model, "1", data, negative_slope=0.1, units=[0, 1])
    sites = Ground(model, data).structure.sites
    assert list(sites) == ["1", "3"]
    assert [sites["1"].refusal(unit) for unit in range(8)] == [None] * 8
    before = Ground(model, data).outputs()
    assert revive(model, {"1": [2, 3]}, data).revived == {"1": (2, 3)}
    assert changed(model, before, data) <= 1e-6


def test_a_shared_module_is_not_swapped() -> None:
    model, data = networks.Shared(3), torch.randn(8, 6)
    with pytest.raises(InputError, match=r"runs 3 times in one pass \(act, act#2, act#3\)"):
        swap(model, "act", data, negative_slope=0.1)


@pytest.mark.parametrize(
    ("rectifier", "reason"),
    [
        (lambda: leaky.LeakyReLU(0.1, clamp=2.0), "a clamp or learnable slopes of its own"),
        (lambda: leaky.LeakyReLU([0.1] * 8, learnable=True), "a clamp or learnable slopes of its own"),
        (lambda: leaky.LeakyReLU(0.1, gain=2.0), "a gain of its own"),
        (nn.ReLU6, "it is a ReLU6"),
    ],
)
def test_a_rectifier_that_does_more_than_a_slope_says_is_not_swapped(
    rectifier: Callable[[], nn.Module], reason: str
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), rectifier(), nn.Linear(8, 3))
    with pytest.raises(InputError, match=reason):
        swap(model, "1", torch.randn(8, 6), negative_slope=0.3)


@pytest.mark.parametrize("units", [None, [0, 3]])
@pytest.mark.parametrize("inplace", [False, True])
def test_what_is_swapped_in_overwrites_as_what_was_there(inplace: bool, units: list[int] | None) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=inplace), nn.Linear(8, 3))
    swap(model, "1", torch.randn(8, 6), negative_slope=0.3, units=units)
    z = torch.linspace(-2, 2, 16).reshape(2, 8)
    slopes = torch.tensor([0.3 if units is None or unit in units else 0.0 for unit in range(8)])
    wanted, given = torch.where(z > 0, z, slopes * z), z.clone()
    torch.testing.assert_close(model[1](given), wanted)
    torch.testing.assert_close(given, wanted if inplace else z)


def test_the_fold_takes_the_mean_shift_away() -> None:
    torch.manual_seed(0)
    model, data = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(256, 6) - 0.5
    mean = model(data).detach().mean(0)
    plain, folded = copy.deepcopy(model), copy.deepcopy(model)
    without = swap(plain, "1", data, negative_slope=0.3, fold=False)
    done = swap(folded, "1", data, negative_slope=0.3)
    torch.testing.assert_close(folded(data).detach().mean(0), mean)
    assert done.folded == ("2.bias",)
    assert done.drift < without.drift


def test_an_exception_in_the_middle_of_reviving_puts_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from leaky.repairing.operations import reviving as module

    model, data = dead_pair()
    optimizer = torch.optim.Adam(model.parameters())
    train(model, data, optimizer)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))

    def fail(*_: object) -> None:
        raise RuntimeError("no more memory")

    monkeypatch.setattr(module, "centre", fail)
    with pytest.raises(RuntimeError, match="no more memory"):
        revive(model, {"1": [2, 3]}, data, optimizer=optimizer)
    assert all(torch.equal(v, before[0][k]) for k, v in model.state_dict().items())
    now = optimizer.state_dict()
    for index, state in before[1]["state"].items():
        assert all(torch.equal(v, now["state"][index][k]) for k, v in state.items())

"""Inputs standardised inside the first layers: the function stays, and what cannot be done is said."""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.utils.prune
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.repairing.ground import Ground
from leaky.repairing.operations.standardised import StandardisedLinear
from leaky.repairing.operations.standardising import STANDARDISE, input_ranges, standardise
from leaky.repairing.plan import Action
from leaky.repairing.recipe import Recipe
from leaky.repairing.subject import Subject

SCALES = torch.tensor([1.0, 100.0, 0.01, 5.0, 3.0, 1000.0])
MEANS = torch.tensor([0.0, 50.0, 7.0, -3.0, 0.0, 1e3])


def rows(samples: int = 400) -> torch.Tensor:
    return torch.randn(samples, 6, generator=torch.Generator().manual_seed(0)) * SCALES + MEANS


def images() -> torch.Tensor:
    noise = torch.randn(40, 6, 9, 9, generator=torch.Generator().manual_seed(0))
    return noise * SCALES.reshape(6, 1, 1) + MEANS.reshape(6, 1, 1)


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 2))


def cnn(**options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(6, 9, 3, **options), nn.ReLU(), nn.Conv2d(9, 2, 3))


def change(model: nn.Module, data: torch.Tensor) -> float:
    """How far the outputs move when the first layers are standardised, relative to their size."""
    with torch.no_grad():
        before = model(data)
        standardise(model, data)
        return float((model(data) - before).norm() / before.norm())


def test_the_function_stays_and_each_feature_becomes_standard() -> None:
    model, data = mlp(), rows()
    weight = model[0].weight
    assert change(model, data) <= 1e-6
    assert isinstance(model[0], StandardisedLinear)
    assert model[0].weight is weight  # so that optimizers keep it
    entered = (data - model[0].input_mean) * model[0].input_scale
    torch.testing.assert_close(entered.mean(0), torch.zeros(6), atol=1e-4, rtol=0)
    torch.testing.assert_close(entered.std(0, correction=0), torch.ones(6), atol=1e-4, rtol=0)


REFLECT = {"padding": 1, "padding_mode": "reflect"}


@pytest.mark.parametrize(
    ("options", "centred"),
    [
        ({}, True),
        ({"groups": 3}, True),
        (REFLECT, True),
        ({"bias": False}, False),
        ({"padding": 1}, False),
        ({"padding": "same"}, False),
    ],
    ids=str,
)
def test_convolutions_standardise_their_channels(options: dict[str, Any], centred: bool) -> None:
    model, data = cnn(**options), images()
    assert change(model, data) <= 1e-6
    centred = (
        options.get("bias", True) and options.get("padding_mode", "zeros" if "padding" in options else "") != "zeros"
    )
    assert bool(model[0].input_mean.abs().max() > 0) == centred  # beside zeros, or without a bias, it only scales
    entered = ((data - model[0].input_mean) * model[0].input_scale).transpose(0, 1).flatten(1)
    tolerance = 0.05 if options is REFLECT else 1e-3  # what is reflected beside the image counts there too
    torch.testing.assert_close(entered.square().mean(1), torch.ones(6), atol=tolerance, rtol=0)


def test_a_constant_feature_is_taken_away_and_not_blown_up() -> None:
    model, data = mlp(), rows()
    data[:, 3] = 8.0
    assert change(model, data) <= 1e-6
    assert float(model[0].input_scale[3]) == 1.0
    assert float(model[0].input_mean[3]) == 8.0


def test_it_learns_in_few_steps_what_raw_inputs_hardly_teach() -> None:
    data = rows()
    labels = ((data - MEANS) / SCALES)[:, [2, 4]].sum(1).gt(0).long()

    def accuracy(standard: bool) -> float:
        model = mlp()
        if standard:
            standardise(model, data)
            leaky.initialize(model, data, seed=0)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(data), labels).backward()
            optimizer.step()
        return float((model(data).argmax(1) == labels).float().mean())

    assert accuracy(True) > 0.9 > accuracy(False)


@pytest.mark.parametrize(
    ("data", "trouble"),
    [
        (torch.randn(300, 6, generator=torch.Generator().manual_seed(1)) * 400, "its inputs have a size of"),
        (rows() / 100, "times as much as the middle one"),
        (torch.randn(300, 6, generator=torch.Generator().manual_seed(1)) / 20 + 5, "means of"),
        (torch.randn(300, 6, generator=torch.Generator().manual_seed(1)), None),
        (torch.rand(300, 6, generator=torch.Generator().manual_seed(1)), None),
        (torch.eye(6)[torch.arange(1200) % 200 % 7 % 6], None),
        (torch.cat([torch.eye(5)[torch.randint(5, (600,))], torch.randn(600, 1)], 1), None),
        (torch.ones(300, 6) * 700, None),
        (((torch.arange(3000) % 1000 == 0).float()[:, None] - 1e-3) / 0.0316 * torch.ones(6), None),
    ],
    ids=[
        "size",
        "spread",
        "offset",
        "standard",
        "images in [0, 1]",
        "one-hot",
        "mixed",
        "all the same",
        "rare, standardised",
    ],
)
def test_which_inputs_are_troubled(data: torch.Tensor, trouble: str | None) -> None:
    found = input_ranges(Ground(mlp(), data))[0].trouble
    assert (found is None) if trouble is None else (found is not None and trouble in found)


def test_a_plan_standardises_and_its_recipe_rebuilds_the_layer() -> None:
    model, data = mlp(), rows()
    plan = leaky.repair(model, leaky.check(model, data), data)
    assert plan.actions[0].kind == "standardise"
    assert "standardise 0: its largest input feature varies" in str(plan)
    done = plan.apply()
    assert done.kept
    again = leaky.apply_recipe(mlp(), done.recipe.to_dict())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(data), model(data))
    assert Recipe(standardised=("0",)).to_dict()["standardised"] == ["0"]


def test_the_optimizer_goes_on_with_the_same_parameters() -> None:
    model, data = mlp(), rows()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    parameters = list(model.parameters())
    leaky.repair(model, leaky.check(model, data), data).apply(optimizer=optimizer)
    assert all(new is old for new, old in itertools.zip_longest(model.parameters(), parameters))
    assert model[0].weight not in optimizer.state  # its scale is another one now
    assert model[2].weight in optimizer.state


def test_rare_features_do_not_take_steps_many_times_as_long() -> None:
    numbers = torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)) * 1e4
    rare = (torch.arange(4000) % 1000 == 0).float()[:, None]
    model, data = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), torch.cat([numbers, rare], 1)
    assert change(model, data) <= 1e-6
    assert float(model[0].input_scale[2]) <= 8.0  # 1 ÷ deviation would be 32


def test_behind_a_batchnorm_no_size_is_a_trouble() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
    pixels = torch.randint(0, 256, (64, 3, 8, 8), generator=torch.Generator().manual_seed(0)).float()
    assert input_ranges(Ground(model, pixels))[0].trouble is None
    bare = nn.Sequential(model[0], *model[2:])
    assert "its inputs have a size of" in str(input_ranges(Ground(bare, pixels))[0].trouble)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.relu(self.layer(x)))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(nn.functional.linear(x, self.weight))


class Listed(nn.Module):
    """Runs its first layer from a list of its own, past the registered module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 2)
        self.order = [self.first, torch.relu, self.last]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.order:
            x = part(x)
        return x


class Twice(nn.Module):
    """Has its first layer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.net = nn.Sequential(self.first, nn.ReLU(), nn.Linear(8, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class UsedElsewhere(nn.Module):
    """Uses a weight, or a bias, of its first layer once more."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.a, self.b, self.what = nn.Linear(6, 8), nn.Linear(8, 2), what

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.a(x))
        return self.b(hidden * self.a.weight.norm(dim=1) if self.what == "weight" else hidden - self.a.bias)


def tied() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
    model[2].bias = model[0].bias
    return model


def pruned() -> nn.Sequential:
    model = mlp()
    torch.nn.utils.prune.l1_unstructured(model[0], "bias", 0.5)
    return model


def frozen() -> nn.Sequential:
    model = mlp()
    model[0].requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        (Listed(), "first", "would move the outputs"),
        (Twice(), "first", "stands in the model 2 times"),
        (UsedElsewhere("weight"), "a", "used elsewhere too"),
        (UsedElsewhere("bias"), "a", "used elsewhere too"),
        (tied(), "0", "used elsewhere too"),
        (pruned(), "0", "computed from something else"),
        (frozen(), "0", "frozen"),
    ],
    ids=["listed", "twice", "weight", "bias", "tied", "pruned", "frozen"],
)
def test_what_would_move_the_function_is_refused(model: nn.Module, name: str, reason: str) -> None:
    data = rows()
    before, modules = model(data).detach(), list(model.modules())
    with pytest.raises(InputError, match=reason):
        standardise(model, data, modules=[name])
    assert torch.equal(model(data).detach(), before)
    assert list(model.modules()) == modules


def test_a_scale_that_the_numbers_cannot_hold_is_refused() -> None:
    model, data = mlp().half(), (torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * 1e-6).half()
    with pytest.raises(InputError, match="would move the outputs by"):
        standardise(model, data)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("build", [mlp, cnn], ids=["linear", "convolution"])
def test_a_standardising_layer_is_scripted_exported_and_copied(build: Callable[[], nn.Sequential]) -> None:
    model, data = build(), rows() if build is mlp else images()
    standardise(model, data)
    expected = model(data)
    assert torch.equal(torch.jit.script(model)(data), expected)
    torch.testing.assert_close(torch.export.export(model, (data,)).module()(data), expected)
    assert torch.equal(copy.deepcopy(model)(data), expected)
    assert torch.equal(pickle.loads(pickle.dumps(model))(data), expected)


def test_a_model_that_begins_with_a_recurrent_layer_has_no_input_to_standardise() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.l, self.a, self.b = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 16), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(torch.relu(self.a(self.l(x)[0])))

    torch.manual_seed(0)
    model, data = Recurrent(), torch.randn(800, 5, 4)
    assert input_ranges(Ground(model, data)) == ()
    assert not any(a.kind == "standardise" for a in leaky.repair(model, leaky.check(model, data), data).actions)


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [(Shared(), "layer", "used elsewhere too"), (Functional(), "", "a module of its own"), (mlp(), "2", "as it came")],
    ids=["shared", "functional", "not the first"],
)
def test_what_cannot_be_standardised_is_refused_and_left_alone(model: nn.Module, name: str, reason: str) -> None:
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=reason):
        standardise(model, rows(), modules=[name])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    ranges = input_ranges(Ground(model, rows()))
    assert name == "2" or (ranges[0].refusal is not None and reason in ranges[0].refusal)


@pytest.mark.parametrize(("factor", "troubled"), [(0.9, True), (1.1, False)])
def test_inputs_are_small_where_the_middle_feature_reaches_less_than_a_hundredth(factor: float, troubled: bool) -> None:
    data = torch.rand(400, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    data = data / data.abs().amax(0) * 0.01 * factor
    (found,) = input_ranges(Ground(mlp(), data))
    assert (found.trouble is not None) is troubled


def test_a_layer_behind_the_first_is_left_alone_with_the_reason() -> None:
    able, (left,) = STANDARDISE.able(Subject(mlp(), rows()), Action("standardise", "2", (), "its inputs are large"))
    assert able is None
    assert left.site == "2"
    assert left.reason == "its inputs are large, but it does not take the model's input as it came"

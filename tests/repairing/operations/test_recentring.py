"""Units shifted back by their bias: they fire as their neighbours do, with the weights that they had."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import leaky
from leaky.errors import InputError
from leaky.repairing.operations.recentring import RECENTRE, recentre
from leaky.repairing.plan import Action
from leaky.repairing.subject import Subject

DATA = torch.randn(1500, 6, generator=torch.Generator().manual_seed(1))


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    model(DATA)
    return model.eval()


def buried(build: Callable[[], nn.Sequential]) -> nn.Sequential:
    model = build()
    with torch.no_grad():
        next(m for m in reversed(model[:-2]) if getattr(m, "bias", None) is not None).bias[:6] -= 50.0
    return model


@pytest.mark.parametrize("build", [plain, normalised])
def test_units_come_back_with_the_weights_that_they_had(build: Callable[[], nn.Sequential]) -> None:
    model, healthy = buried(build), build()
    site = "1" if build is plain else "2"
    assert recentre(model, {site: range(6)}, DATA) == {site: tuple(range(6))}
    assert torch.equal(model[0].weight, healthy[0].weight)
    assert torch.equal(model[-1].weight, healthy[-1].weight)
    seen = leaky.observe(model, DATA).site(site)
    ratio = seen.mean / seen.variance**0.5
    middle = sorted(ratio[6:])[4:6]
    assert ratio[:6] == pytest.approx(sum(middle) / 2, abs=1e-3)


def test_a_unit_that_sees_the_same_in_every_input_or_has_no_bias_is_left_alone() -> None:
    model = plain()
    with torch.no_grad():
        model[0].weight[3], model[0].bias[3] = 0.0, -5.0
    assert recentre(model, {"1": [3]}, DATA) == {}
    bare = nn.Sequential(nn.Linear(6, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    assert recentre(bare, {"1": [0]}, DATA) == {}


def test_only_the_shifted_biases_begin_anew_in_the_optimizer() -> None:
    model = buried(plain)
    optimizer = torch.optim.SGD(model.parameters(), 0.0, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    recentre(model, {"1": range(6)}, DATA, optimizer=optimizer)
    momentum = optimizer.state[model[0].bias]["momentum_buffer"]
    assert momentum.tolist() == [0.0] * 6 + [1.0] * 10
    assert bool((optimizer.state[model[0].weight]["momentum_buffer"] == 1).all())


def distance_to(outputs: torch.Tensor) -> Callable[[nn.Module], float]:
    """A metric: the mean squared distance of a model's outputs to these."""

    def distance(model: nn.Module) -> float:
        with torch.no_grad():
            return float((model(DATA) - outputs).square().mean())

    return distance


def test_a_plan_shifts_units_back_only_where_the_metric_gets_better() -> None:
    good = plain()
    target = good(DATA).detach()

    error = distance_to(target)
    model = buried(plain)
    plan = leaky.repair(model, leaky.check(model, DATA), DATA)
    assert [a.kind for a in plan.actions] == ["revive"]
    assert plan.treatments[0].name == "shifted"
    sick = error(model)
    done = plan.apply(validate=error, higher_is_better=False)
    assert done.verdict == "kept"
    assert [a.kind for a in done.actions] == ["recentre"]
    assert error(model) < 0.5 * sick

    other = buried(plain)
    before = copy.deepcopy(other.state_dict())
    at_its_best = other(DATA).detach()

    moved = distance_to(at_its_best)
    done = leaky.repair(other, leaky.check(other, DATA), DATA).apply(validate=moved, higher_is_better=False)
    assert done.verdict == "not judged"
    assert [a.kind for a in done.actions] == ["revive"]
    assert not torch.equal(other[0].weight, before["0.weight"])


def test_a_network_of_which_all_units_are_held_down_comes_back_with_what_it_knew() -> None:
    good = plain()
    target = good(DATA).detach()
    model = plain()
    with torch.no_grad():
        model[0].bias -= 50.0

    error = distance_to(target)
    plan = leaky.repair(model, leaky.check(model, DATA), DATA)
    assert [a.kind for a in plan.actions] == ["recentre"]
    sick = error(model)
    done = plan.apply(validate=error, higher_is_better=False)
    assert done.kept
    assert [a.kind for a in done.actions] == ["recentre"]
    assert error(model) < 0.5 * sick
    assert torch.equal(model[2].weight, good[2].weight)


def offset() -> nn.Sequential:
    """Weights that have learned to let most units fire on most samples, with biases near those of a new layer."""
    model = plain()
    with torch.no_grad():
        model[0].weight[:, 0] = 0.0
        model[0].weight[:, 1] = model[0].weight[:, 1].abs() + 0.3
        model[0].bias.mul_(0.1)
    return model


def test_where_all_units_are_held_down_the_weights_say_where_each_one_was() -> None:
    data = DATA + torch.tensor([0.0, 1.5, 0.0, 0.0, 0.0, 0.0])
    model, healthy = offset(), offset()
    with torch.no_grad():
        model[0].bias -= 50.0
    assert recentre(model, {"1": range(16)}, data) == {"1": tuple(range(16))}
    with torch.no_grad():
        target, found = healthy(data), model(data)
    assert float((found - target).square().mean()) < 0.02 * float((target - target.mean(0)).square().mean())


def test_a_unit_that_a_bias_of_zero_would_leave_silent_is_brought_to_its_threshold() -> None:
    data = DATA + 20.0
    model = plain()
    with torch.no_grad():
        model[0].weight.copy_(-model[0].weight.abs())
        model[0].bias.sub_(50.0)
    recentre(model, {"1": range(16)}, data)
    assert model[0](data).mean(0).tolist() == pytest.approx([0.0] * 16, abs=1e-3)


class Twice(nn.Module):
    """A rectified layer on both halves of the input; where it is asked for, once more without the rectifier."""

    def __init__(self, bare: bool) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.layer, self.act, self.last, self.bare = nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 1), bare

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = self.act(self.layer(x[:, :3])), self.act(self.layer(x[:, 3:]))
        out: torch.Tensor = self.last(first - second)
        return out + self.layer(x[:, :3]).mean(1, keepdim=True) if self.bare else out


def test_a_site_that_runs_twice_is_shifted_in_both_places_by_the_bias_that_makes_both() -> None:
    model = Twice(bare=False)
    with torch.no_grad():
        model.layer.bias[:6] -= 50.0
    assert recentre(model, {"act": range(6)}, DATA) == {"act": tuple(range(6))}
    before = model.layer(DATA.reshape(-1, 3)).detach()
    ratio = before.mean(0) / before.std(0, correction=0)
    middle = ratio[6:].sort().values[4:6].mean()
    assert ratio[:6].tolist() == pytest.approx([float(middle)] * 6, abs=1e-3)


def test_a_layer_that_also_runs_elsewhere_is_left_alone() -> None:
    model = Twice(bare=True)
    with torch.no_grad():
        model.layer.bias[:6] -= 50.0
    before = copy.deepcopy(model.state_dict())
    assert recentre(model, {"act": range(6)}, DATA) == {}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class OwnDerivative(nn.Module):
    """A function of a value and its derivative, which it takes itself: the chain rule uses its weights again."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            out = self.net(x)
            (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return out, slope


class Tied(nn.Module):
    """A decoder that is its encoder turned round."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) @ self.net[0].weight


@pytest.mark.parametrize("build", [OwnDerivative, Tied])
def test_a_bias_that_only_one_site_takes_may_move_whatever_else_its_weight_makes(
    build: type[OwnDerivative] | type[Tied],
) -> None:
    model = build()
    data = DATA[:, : model.net[0].in_features]
    with torch.no_grad():
        model.net[0].bias[:6] -= 50.0
    assert recentre(model, {"net.1": range(6)}, data) == {"net.1": tuple(range(6))}
    before = model.net[0](data).detach()
    ratio = before.mean(0) / before.std(0, correction=0)
    assert ratio[:6].tolist() == pytest.approx([float(ratio[6:].sort().values[4:6].mean())] * 6, abs=1e-3)


def test_a_unit_that_is_always_0_tells_no_samples_apart() -> None:
    model = plain()
    with torch.no_grad():
        model[0].weight[3], model[0].bias[3] = 0.0, 0.0
    assert recentre(model, {"1": [3]}, DATA) == {}


def test_behind_dead_units_a_unit_may_be_shifted_once_they_are_unless_nothing_leads_to_it() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[0].bias -= 50.0
        model[2].weight[0, :5] = 0.0  # pruned, not cut off
        model[2].weight[1] = 0.0
    subject = Subject(model, DATA)
    able, left = RECENTRE.able(subject, Action("recentre", "3", (0, 1, 2), "why"))
    assert able is not None
    assert able.units == (0, 2)
    assert [each.units for each in left] == [(1,)]


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ({"9": [0]}, "no site is named '9'"),
        ({"1": [0, 16]}, r"units of '1' must be below 16, not \[16\]"),
        ({"1": ["a"]}, "a unit of '1' must be a whole number"),
        ([0], "units must be numbers by site"),
    ],
)
def test_units_that_there_are_not_are_told_before_anything_is_changed(units: Any, words: str) -> None:
    model = buried(plain)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=words):
        recentre(model, units, DATA)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())

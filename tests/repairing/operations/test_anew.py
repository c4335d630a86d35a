"""A network that begins anew: its weights, slopes and biases against those that the formulas give."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

import leaky
from leaky import theory
from leaky.repairing.beginning import begin_as_built
from leaky.repairing.ground import Ground
from leaky.repairing.operations.anew import BEGIN_ANEW, LEAK, SMALL, tailored
from leaky.repairing.operations.standardising import standardise
from leaky.repairing.plan import Action
from leaky.repairing.subject import Subject

DATA = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))


def plain(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    sizes = (8, *widths)
    hidden = [part for size, width in itertools.pairwise(sizes) for part in (nn.Linear(size, width), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], 2))


def leaked(model: nn.Sequential, slope: float) -> nn.Sequential:
    """A copy with leaky rectifiers."""
    parts = [nn.LeakyReLU(slope) if isinstance(part, nn.ReLU) else copy.deepcopy(part) for part in model]
    return nn.Sequential(*parts)


def anew(model: nn.Module, data: Any = DATA, slope: float = 0.0, **given: Any) -> None:
    BEGIN_ANEW.carry_out(Subject(model, data, seed=5, **given), [Action("begin anew", None, (), "why", slope)])


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [p.detach() for name, p in model.named_parameters() if name.endswith("weight")]


@pytest.mark.parametrize(("depth", "target"), [(12, 0.9), (13, 0.5)])
def test_from_13_layers_on_inputs_may_come_less_close(depth: int, target: float) -> None:
    ground = Ground(plain(*[16] * depth), DATA)
    known = (theory.tailored_slope(ground.analysis, t).negative_slope for t in (target, 1.4 - target))
    expected, other = (max(LEAK, slope) for slope in known)
    assert tailored(ground) == expected != other


@pytest.mark.parametrize(
    ("widths", "leak"),
    [((16, 16, 16), False), ((40, 15, 40), True), ((16, 16, 16, 16), True), ((2,), True)],
)
def test_only_what_is_shallow_and_wide_gets_no_leak(widths: tuple[int, ...], leak: bool) -> None:
    found = tailored(Ground(plain(*widths), DATA))
    assert found >= LEAK if leak else found == 0.0


def test_a_shallow_network_gets_weights_and_biases_of_the_size_that_torch_draws() -> None:
    model = plain(64, 48, 32)
    before = copy.deepcopy(model)
    anew(model)
    leaky.initialize(before, DATA, seed=5)
    for mine, he in zip(weights(model), weights(before), strict=True):
        torch.testing.assert_close(mine, SMALL * he, rtol=1e-6, atol=0)
    assert [type(part) for part in model] == [type(part) for part in before]  # no leak is put in
    for layer in model:
        if isinstance(layer, nn.Linear) and layer.out_features > 8:
            bound = 1 / math.sqrt(layer.in_features)
            assert 0.8 * bound < float(layer.bias.detach().abs().max()) <= bound
            assert float(layer.bias.detach().min()) < 0 < float(layer.bias.detach().max())


@pytest.mark.parametrize("size", [0.15, 1.0, 9.0])
def test_from_four_layers_on_weights_carry_the_signal_of_inputs_of_about_size_1(size: float) -> None:
    model = plain(16, 16, 16, 16)
    expected = leaked(model, 0.2)
    data = DATA * math.sqrt(size)
    anew(model, data, 0.2)
    leaky.initialize(expected, data, seed=5)
    assert all(map(torch.equal, weights(model), weights(expected)))
    assert not any(bool(part.bias.any()) for part in model if isinstance(part, nn.Linear))
    assert [part.negative_slope for part in model if isinstance(part, nn.LeakyReLU)] == [0.2] * 4


def test_inputs_of_another_size_are_calibrated_for_unless_the_first_layer_standardises_them() -> None:
    model, data = plain(16, 16, 16, 16), DATA * 100
    expected = copy.deepcopy(model)
    anew(model, data)
    leaky.initialize(expected, data, seed=5)
    drawn = weights(copy.deepcopy(expected))
    leaky.calibrate(expected, data)
    assert all(map(torch.equal, weights(model), weights(expected)))
    assert not torch.equal(weights(model)[0], drawn[0])
    standard = plain(16, 16, 16, 16)
    standardise(standard, data)
    anew(standard, data)
    assert all(map(torch.equal, weights(standard), drawn))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.rest = nn.Linear(8, 16), nn.Linear(8, 16), plain(16, 16, 16, 16)
        self.act, self.rest[0] = nn.ReLU(), nn.Linear(16, 16)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.rest(self.act(self.a(a) + self.b(b)))


def test_one_input_of_another_size_is_enough() -> None:
    torch.manual_seed(0)
    model, data = TwoInputs(), {"a": DATA, "b": DATA * 100}
    expected = copy.deepcopy(model)
    anew(model, data)
    leaky.initialize(expected, data, seed=5)
    assert not torch.equal(model.rest[0].weight, expected.rest[0].weight)
    leaky.calibrate(expected, data)
    assert all(map(torch.equal, weights(model), weights(expected)))


def test_frozen_layers_stay_with_what_the_optimizer_knows_of_them() -> None:
    model = plain(16, 16, 16, 16)
    optimizer = torch.optim.Adam(model.parameters())
    model(DATA).square().sum().backward()
    optimizer.step()
    model[2].requires_grad_(False)
    kept = copy.deepcopy(model[2].state_dict())
    wanted = Action("begin anew", None, (), "why", 0.1)
    able, left = BEGIN_ANEW.able(Subject(model, DATA), wanted)
    assert able is not None
    assert able.changes == ("the rectifiers 1, 3, 5, 7 become LeakyReLU(0.1)",)
    assert left == ()
    anew(model, optimizer=optimizer)
    assert all(torch.equal(value, kept[name]) for name, value in model[2].state_dict().items())
    assert {id(p) for p in optimizer.state} == {id(p) for p in model[2].parameters()}
    able, left = BEGIN_ANEW.able(Subject(model.requires_grad_(False), DATA), wanted)
    assert able is None
    assert left[0].reason == "all of its layers are frozen"


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.act, self.b, self.c = nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.b(self.act(self.a(x)))))


def test_what_cannot_be_swapped_is_listed_and_the_rest_is_swapped() -> None:
    torch.manual_seed(0)
    model = Functional()
    able, left = BEGIN_ANEW.able(Subject(model, DATA), Action("begin anew", None, (), "why", 0.1))
    assert able is not None
    assert able.changes == ("the rectifiers act become LeakyReLU(0.1)",)
    assert len(left) == 1
    assert "only its own source can change" in left[0].reason
    anew(model, slope=0.1)
    assert isinstance(model.act, nn.LeakyReLU)
    plainly, nothing = BEGIN_ANEW.able(Subject(model, DATA), Action("begin anew", None, (), "why", 0.0))
    assert plainly is not None
    assert (plainly.changes, nothing) == ((), ())


def test_a_model_without_layers_has_nothing_to_begin_with() -> None:
    able, left = BEGIN_ANEW.able(Subject(nn.Sequential(nn.ReLU()), DATA), Action("begin anew", None, (), "why", 0.1))
    assert able is None
    assert left[0].reason == "it has no layer that could begin anew"


class Twice(nn.Module):
    """One rectifier in two places."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.first, self.second, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 2)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.act(self.second(self.act(self.first(x)))))  # type: ignore[no-any-return]


def test_a_rectifier_in_two_places_gets_the_leak_in_both() -> None:
    model = Twice()
    anew(model, slope=0.2)
    assert isinstance(model.act, nn.LeakyReLU)
    assert model.act.negative_slope == 0.2


def test_numbers_of_words_are_no_inputs_whose_size_counts() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(500, 8), nn.Flatten(), *plain(16, 16, 16, 16))
    words = torch.randint(100, 500, (300, 1), generator=torch.Generator().manual_seed(0))
    expected = copy.deepcopy(model)
    anew(model, words)
    begin_as_built(expected, 5)
    leaky.initialize(expected, words, seed=5)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    for name in linear:
        assert torch.equal(model.get_submodule(name).weight, expected.get_submodule(name).weight)
        assert not bool(model.get_submodule(name).bias.any())

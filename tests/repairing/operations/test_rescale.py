"""Weights that were blown up are scaled back with their directions, before anything begins anew."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import leaky
from leaky.repairing.operations.rescale import RESCALE
from leaky.repairing.plan import Action
from leaky.repairing.sizes import blown_up
from leaky.repairing.subject import Subject

DATA = torch.randn(600, 6, generator=torch.Generator().manual_seed(1))
TARGETS = DATA[:, :1] * DATA[:, 1:2] + torch.sin(2 * DATA[:, 2:3])
WANTED = Action("rescale", None, (), "they are blown up")


def trained(act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 32), act(), nn.Linear(32, 32), act(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(DATA), TARGETS).backward()
        optimizer.step()
    return model


def explained(model: nn.Module) -> float:
    with torch.no_grad():
        return 1 - float((model(DATA) - TARGETS).square().mean() / TARGETS.var())


def blown(model: nn.Sequential, by: float = 60.0) -> nn.Sequential:
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.mul_(by)
    return model


def names(model: nn.Module) -> list[str]:
    return [treatment.name for treatment in leaky.repair(model, DATA).treatments]


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh])
def test_directions_stay_and_sizes_come_back(act: type[nn.Module]) -> None:
    model, before = blown(trained(act)), trained(act)
    optimizer = torch.optim.SGD(model.parameters(), 0.0, momentum=0.9)
    model(DATA).sum().backward()
    optimizer.step()
    assert blown_up(leaky.observe(model, DATA)) is not None
    RESCALE.carry_out(Subject(model, DATA, optimizer=optimizer), [WANTED])
    for layer, old in ((model[0], before[0]), (model[2], before[2]), (model[4], before[4])):
        rows, olds = layer.weight.detach(), old.weight.detach()
        assert nn.functional.cosine_similarity(rows, olds).tolist() == pytest.approx([1.0] * len(rows), abs=1e-5)
    seen = leaky.observe(model, DATA)
    assert blown_up(seen) is None
    assert all(float(site.variance.mean()) == pytest.approx(1.0, abs=1e-3) for site in seen.sites)
    assert not optimizer.state


def test_it_is_offered_where_weights_are_too_large_and_not_where_a_bias_is_far_off() -> None:
    assert "rescaled" in names(blown(trained()))
    buried = trained()
    with torch.no_grad():
        buried[0].bias[:20] -= 60.0
    assert "rescaled" not in names(buried)
    raw = leaky.repair(trained(), 1000 * DATA)  # the weights are as they were
    assert next(t.name for t in raw.treatments) == "inputs standardised"
    assert "rescaled" not in [t.name for t in raw.treatments]
    assert not leaky.repair(trained(), DATA)


def test_of_weights_that_were_multiplied_the_biases_and_the_sizes_among_units_stay() -> None:
    before, model = trained(nn.Tanh), blown(trained(nn.Tanh), 40.0)
    RESCALE.carry_out(Subject(model, DATA), [WANTED])
    for layer, old, inputs in ((0, before[0], DATA), (2, before[2], model[:2](DATA))):
        factor = float(model[layer].weight.detach().norm() / old.weight.detach().norm())
        torch.testing.assert_close(model[layer].weight, factor * old.weight)
        with torch.no_grad():
            inside = nn.functional.linear(inputs, model[layer].weight)
        mean, deviation = inside.mean(0), inside.std(0, correction=0)
        there = (mean + old.bias).abs() <= 2 * deviation  # fires on some samples and not on others
        assert there.sum() > 16
        torch.testing.assert_close(model[layer].bias[there], old.bias[there])
        torch.testing.assert_close(model[layer].bias[~there], -mean[~there], atol=1e-5, rtol=1e-5)
    same = copy.deepcopy(before)
    RESCALE.carry_out(Subject(same, DATA), [WANTED])  # of a usual size in every layer
    torch.testing.assert_close(same[0].weight, before[0].weight)


def test_blown_up_weights_are_offered_a_way_though_no_unit_is_in_trouble() -> None:
    model = trained()
    with torch.no_grad():
        model[0].weight.mul_(12)
        model[0].bias.mul_(12)  # the same units fire on the same samples
    assert names(trained()) == []
    found = leaky.repair(model, DATA)
    assert [treatment.name for treatment in found.treatments] == ["rescaled", "begun anew"]
    assert found.plan.planned is None
    assert "deviation" in str(found)


def test_an_lstm_is_left_alone_by_a_calibration_and_its_head_put_right() -> None:
    class Memory(nn.Module):
        def __init__(self) -> None:
            torch.manual_seed(0)
            super().__init__()
            self.rnn, self.a, self.act, self.b = nn.LSTM(6, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.b(self.act(self.a(self.rnn(x)[0])))
            return out

    model = Memory()
    with torch.no_grad():
        model.a.weight.mul_(100)
    gates = copy.deepcopy(model.rnn.state_dict())
    RESCALE.carry_out(Subject(model, DATA), [WANTED])
    assert all(torch.equal(value, gates[name]) for name, value in model.rnn.state_dict().items())
    assert float(leaky.observe(model, DATA).sites[0].variance.mean()) == pytest.approx(1.0, rel=1e-3)
    assert {reason for name, reason in leaky.calibrate(model, DATA).left_alone if name.startswith("rnn")} == {
        "its gates run inside one operation"
    }


def test_a_metric_alone_finds_what_a_scaled_network_still_knows() -> None:
    model = blown(trained())
    before = explained(model)
    done = leaky.repair(model, DATA).apply(validate=explained)
    assert done.kept
    assert [action.kind for action in done.actions][:1] == ["rescale"]
    assert explained(model) > before + 100


def test_frozen_weights_stay_and_a_shared_one_is_put_right_where_it_runs_first() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            torch.manual_seed(0)
            super().__init__()
            self.frozen, self.body, self.act = nn.Linear(6, 3), nn.Linear(3, 3), nn.ReLU()
            self.frozen.weight.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.body(self.act(self.body(self.frozen(x))))
            return out

    model = Shared()
    with torch.no_grad():
        model.body.weight.mul_(100)
    frozen = copy.deepcopy(model.frozen.state_dict())
    RESCALE.carry_out(Subject(model, DATA), [WANTED])
    assert all(torch.equal(value, frozen[name]) for name, value in model.frozen.state_dict().items())
    first = model.body(model.frozen(DATA)).detach()
    assert float(first.var(0, correction=0).mean()) == pytest.approx(1.0, rel=1e-3)
    model.body.weight.requires_grad_(False)
    assert RESCALE.able(Subject(model, DATA), WANTED)[0] is None

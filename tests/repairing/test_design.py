"""What is zero or sparse by design is left alone, and what is in trouble is not taken for it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import leaky

DATA = torch.randn(1500, 8, generator=torch.Generator().manual_seed(1))


def network(act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 24), act(), nn.Linear(24, 24), act(), nn.Linear(24, 3))


def buried(model: nn.Sequential, by: float = 40.0) -> nn.Sequential:
    with torch.no_grad():
        model[0].bias[:14] -= by
    return model


def sites(model: nn.Module, **options: object) -> set[str]:
    plan = leaky.repair(model, DATA, **options)  # type: ignore[arg-type]
    return {action.site for treatment in plan.treatments for action in treatment.actions if action.site is not None}


def test_units_that_were_cut_off_on_both_sides_stay_cut_off() -> None:
    model = network()
    with torch.no_grad():
        model[0].weight[:10], model[0].bias[:10], model[2].weight[:, :10] = 0.0, 0.0, 0.0
    before = copy.deepcopy(model.state_dict())
    plan = leaky.repair(model, DATA)
    assert not plan
    assert "they were cut off" in str(plan)
    plan.apply(validate=lambda _: 0.5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sites(model, include=["1"]) == {"1"}
    one_sided = network()
    with torch.no_grad():
        one_sided[0].weight[:10], one_sided[0].bias[:10] = 0.0, -1.0  # what takes them is not zero: they died
    assert sites(one_sided) == {"1"}


def test_pruned_weights_are_not_filled() -> None:
    model = buried(network())
    with torch.no_grad():
        model[0].weight[torch.rand(model[0].weight.shape) < 0.4] = 0.0
    plan = leaky.repair(model, DATA)
    assert "1" not in sites(model)
    assert "0.weight has been pruned" in str(plan)


def test_a_sparse_code_is_left_alone_and_a_dying_classifier_is_not() -> None:
    torch.manual_seed(0)
    code = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 8))
    with torch.no_grad():
        code[0].bias.fill_(-0.8)  # each unit fires now and then
        code[0].bias[:20] = -30.0
        code[2].weight.copy_(code[0].weight.T)  # it gives back what it is given
    assert sites(code) == set()
    assert "sparse code of an autoencoder" in str(leaky.repair(code, DATA))
    assert sites(code, include=["1"]) == {"1"}
    classifier = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 3))
    classifier[0].load_state_dict(code[0].state_dict())
    assert sites(classifier) == {"1"}


def test_a_function_that_returns_as_much_as_it_takes_is_no_autoencoder() -> None:
    torch.manual_seed(0)
    step = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 8))
    with torch.no_grad():
        step[0].bias.fill_(-0.8)
        step[0].bias[:20] = -30.0
        step[2].weight.copy_(-step[0].weight.T)  # as a step back in time may do
    assert sites(step) == {"1"}
    scalar = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    with torch.no_grad():
        scalar[0].bias[:20] += 15.0
        scalar[2].weight.copy_(scalar[0].weight.T)
    plan = leaky.repair(scalar, DATA[:, :1])
    assert {a.site for t in plan.treatments for a in t.actions if a.kind == "recentre"} == {"1"}


def test_winners_that_take_all_are_left_alone() -> None:
    class Winners(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.act, self.b = nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.act(self.a(x))
            best = h.topk(4, dim=1)
            return self.b(torch.zeros_like(h).scatter(1, best.indices, best.values))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = Winners()
    before = copy.deepcopy(model.state_dict())
    leaky.repair(model, DATA).apply(validate=lambda _: 0.5)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("act", "by"), [(nn.ReLU6, -200.0), (nn.LeakyReLU, 200.0), (nn.LeakyReLU, -200.0)], ids=["capped", "below", "above"]
)
def test_locked_and_capped_units_are_candidates_too(act: type[nn.Module], by: float) -> None:
    model = buried(network(act), by)
    good = network(act)(DATA).detach()
    plan = leaky.repair(model, DATA)
    assert plan.treatments[0].name == "shifted"
    done = plan.apply(validate=lambda m: float((m(DATA) - good).detach().square().mean()), higher_is_better=False)
    assert done.verdict == "kept"
    z = model[0](DATA).detach()
    assert float(((z > 0) & (z < 6)).double().mean(0).min()) > 0.2


def test_units_silent_on_too_few_samples_are_tried_where_a_metric_can_tell() -> None:
    model, few = buried(network()), DATA[:60]
    checkup = leaky.check(model, few)
    assert not checkup.verdicts["1"].dead
    plan = leaky.repair(model, checkup, few)
    assert not plan.actions  # nothing is done without evidence
    assert [treatment.name for treatment in plan.treatments][:2] == ["shifted", "revived"]
    good = network()(DATA).detach()
    done = plan.apply(validate=lambda m: float((m(DATA) - good).detach().square().mean()), higher_is_better=False)
    assert done.verdict == "kept"


def test_an_output_rectifier_is_not_dropped_from_the_plan() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 1), nn.ReLU())
    with torch.no_grad():
        model[2].bias.fill_(-40.0)
    plan = leaky.repair(model, DATA)
    assert next((t.name, t.actions[0].site) for t in plan.treatments) == ("shifted", "3")
    assert plan.apply().kept
    assert float(model(DATA).detach().std()) > 0

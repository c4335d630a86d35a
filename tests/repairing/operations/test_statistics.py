"""BatchNorm's running statistics: told to be stale where they are, estimated as training would, all else untouched."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import leaky
from leaky.repairing.operations.statistics import ESTIMATE_STATISTICS, stale
from leaky.repairing.plan import Action
from leaky.repairing.subject import Subject

DATA = 2 * torch.randn(600, 6, generator=torch.Generator().manual_seed(1)) + 1
WANTED = Action("estimate statistics", None, (), "they are stale")


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3),
    )  # fmt: skip
    with torch.no_grad():
        model[1].weight.uniform_(0.5, 2.0)
    for _ in range(200):
        model[:3](DATA[torch.randint(600, (64,))])
    model[3].eval()
    for _ in range(200):
        model(DATA[torch.randint(600, (64,))])
    return model.eval()


def test_fresh_and_spoilt_statistics_are_stale_and_those_of_training_are_not() -> None:
    model = normalised()
    assert stale(Subject(model, DATA).ground) == {}
    spoilt = copy.deepcopy(model)
    spoilt[1].running_mean.add_(20.0)
    assert next(iter(stale(Subject(spoilt, DATA).ground))) == "1"
    fresh = copy.deepcopy(model)
    fresh[5].reset_running_stats()
    assert stale(Subject(fresh, DATA).ground) == {"5": "it has seen no batch"}
    assert stale(Subject(nn.Sequential(nn.Linear(6, 2)), DATA).ground) == {}


def test_they_become_those_of_the_data_and_nothing_else_changes() -> None:
    model = normalised()
    good = model(DATA).detach()
    before = copy.deepcopy(model.state_dict())
    for norm in (model[1], model[5]):
        norm.running_mean.add_(20.0)
        norm.running_var.mul_(30.0)
    momenta = [model[1].momentum, model[5].momentum]
    ESTIMATE_STATISTICS.carry_out(Subject(model, DATA), [WANTED])
    z = model[0](DATA).detach()
    torch.testing.assert_close(model[1].running_mean, z.mean(0), rtol=0.05, atol=0.05)
    torch.testing.assert_close(model[1].running_var, z.var(0), rtol=0.1, atol=0.1)
    assert float((model(DATA) - good).detach().abs().max()) < 0.2 * float(good.abs().max())
    for name, value in model.state_dict().items():
        assert "running" in name or "num_batches" in name or torch.equal(value, before[name])
    assert [model[1].momentum, model[5].momentum] == momenta
    assert not any(module.training for module in model.modules())


def test_an_exception_of_the_model_puts_them_back() -> None:
    class Fails(nn.Sequential):
        fails = False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            if self.fails:
                raise RuntimeError("the user's own")
            return y

    model = Fails(*normalised())
    subject = Subject(model, DATA)
    assert subject.ground
    before = copy.deepcopy(model.state_dict())
    model.fails = True
    with pytest.raises(RuntimeError, match="the user's own"):
        ESTIMATE_STATISTICS.carry_out(subject, [WANTED])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model[1].momentum == 0.1


def test_a_network_of_which_only_the_statistics_are_wrong_is_not_begun_anew() -> None:
    model = normalised()
    good = model(DATA).detach()
    for norm in (model[1], model[5]):
        norm.running_mean.add_(20.0 * norm.running_var.sqrt())
    plan = leaky.repair(model, DATA)
    assert plan.treatments[0].name == "statistics estimated anew"
    weights = copy.deepcopy(model[0].weight)
    done = plan.apply(validate=lambda m: float((m(DATA) - good).detach().square().mean()), higher_is_better=False)
    assert (
        done.kept
    )  # by evidence, or because a network that has learned nothing scores about as well: both are true here
    assert done.metric is not None
    assert done.metric[1] < 0.01 * done.metric[0]
    assert [action.kind for action in done.actions] == ["estimate statistics"]
    assert torch.equal(model[0].weight, weights)


def test_a_layer_anew_leaves_the_others() -> None:
    from leaky.repairing.operations.reinitialise import REINITIALISE

    model = normalised()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam(model.parameters())
    model(DATA).square().sum().backward()
    optimizer.step()
    moved = copy.deepcopy(model.state_dict())
    subject = Subject(model, DATA, optimizer=optimizer)
    REINITIALISE.carry_out(subject, [Action("reinitialise", "6", (), "its units are in trouble")])
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, moved[name])}
    assert changed == {f"4.{n}" for n in ("weight", "bias")} | {
        f"5.{n}" for n in ("weight", "bias", "running_mean", "running_var")
    }
    rows = model[4].weight.detach()
    gram = rows @ rows.T
    torch.testing.assert_close(gram, torch.eye(8) * gram[0, 0], rtol=1e-4, atol=1e-4)
    assert model[4].weight not in optimizer.state
    assert model[0].weight in optimizer.state
    assert before.keys() == model.state_dict().keys()
    frozen = normalised()
    frozen[4].requires_grad_(False)
    able, left = REINITIALISE.able(Subject(frozen, DATA), Action("reinitialise", "6", (), "trouble"))
    assert able is None
    assert "is frozen" in left[0].reason


def test_the_statistics_of_a_single_channel_are_those_of_its_data() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(1, momentum=None), nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 2))
    data = 10 + torch.randn(400, 1, generator=torch.Generator().manual_seed(0))
    model.train()(data)
    assert stale(Subject(model.eval(), data).ground) == {}
    assert list(stale(Subject(model, data + 10).ground)) == ["0"]

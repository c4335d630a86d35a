"""Recurrent layers whose weights were blown up: told by what states of ±1 give, and scaled back as a whole."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import leaky
from leaky.repairing.gates import blown_up_gates, ease_gates

DATA = torch.randn(400, 8, 5, generator=torch.Generator().manual_seed(1))
LABELS = (DATA[:, 2, 0] + DATA[:, 3, 1] > 0).long()


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], **options: object) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.body = kind(5, 24, batch_first=True, **options)  # type: ignore[arg-type]
        self.head = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.body(x)[0][:, -1])
        return out


def blown(model: Recurrent, by: float = 20.0) -> Recurrent:
    with torch.no_grad():
        for parameter in model.body.parameters():
            parameter.mul_(by)
    return model


def accuracy(model: nn.Module) -> float:
    with torch.no_grad():
        return float((model(DATA).argmax(1) == LABELS).float().mean())


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_size_is_that_of_states_of_one_and_comes_back_to_one(kind: type[nn.RNNBase]) -> None:
    model = blown(Recurrent(kind))
    before = copy.deepcopy(model.body.state_dict())
    states = torch.randint(0, 2, (20_000, 24), generator=torch.Generator().manual_seed(2)).double() * 2 - 1
    rows = (states @ before["weight_hh_l0"].double().t()).var(0).mean().sqrt()
    words = blown_up_gates(model)
    assert words is not None
    assert float(words.split("deviation of ")[1].split(",")[0]) == pytest.approx(float(rows), rel=0.02)
    assert set(ease_gates(model)) == {f"body.{name}" for name in before}
    after = states @ model.body.weight_hh_l0.detach().double().t()
    assert float(after.var(0).mean().sqrt()) == pytest.approx(1.0, rel=0.02)
    for name, value in model.body.state_dict().items():
        cosine = nn.functional.cosine_similarity(value.flatten(), before[name].flatten(), dim=0)
        assert float(cosine) == pytest.approx(1.0, abs=1e-5)
    assert blown_up_gates(model) is None
    assert ease_gates(model) == []


def test_what_begins_as_built_is_not_too_large_and_states_without_bounds_are_left_alone() -> None:
    assert all(blown_up_gates(Recurrent(kind)) is None for kind in (nn.LSTM, nn.GRU, nn.RNN))
    assert blown_up_gates(blown(Recurrent(nn.RNN, nonlinearity="relu"))) is None
    frozen = blown(Recurrent(nn.LSTM))
    frozen.body.weight_ih_l0.requires_grad_(False)
    before = copy.deepcopy(frozen.state_dict())
    assert ease_gates(frozen) == []
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_a_network_with_blown_up_gates_at_chance_begins_anew_by_a_metric_alone() -> None:
    model = blown(Recurrent(nn.LSTM))
    plan = leaky.repair(model, DATA)
    assert [treatment.name for treatment in plan.treatments] == ["rescaled", "begun anew"]
    assert "the states of body give its gates a deviation of" in " ".join(str(plan).split())
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    unmoved = plan.apply(validate=lambda _: 0.5)  # a metric that never moves says nothing of what is lost
    assert (unmoved.verdict, unmoved.actions) == ("left", ())
    done = plan.apply(validate=accuracy, optimizer=optimizer)
    assert [action.kind for action in done.actions] == ["begin anew"]
    assert blown_up_gates(model) is None
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(DATA), LABELS).backward()
        optimizer.step()
    assert accuracy(model) > 0.9

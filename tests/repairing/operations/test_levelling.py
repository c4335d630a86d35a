"""Gates that are shut or open on all samples, and norms whose biases are far off, come back by their biases alone."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import leaky
from leaky.repairing.operations.levelling import LEVEL, held_on_one_side
from leaky.repairing.plan import Action
from leaky.repairing.subject import Subject

DATA = torch.randn(500, 6, generator=torch.Generator().manual_seed(1))
LABELS = (DATA[:, 0] * DATA[:, 1] > 0).long()
WANTED = Action("level", None, (), "they are held on one side")


class Gated(nn.Module):
    """A layer that a gate scales."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.made, self.gate, self.last = nn.Linear(6, 24), nn.Linear(6, 24), nn.Linear(24, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.made(x) * torch.sigmoid(self.gate(x)))
        return out


class Sure(Gated):
    """The same, with a sigmoid in front of what the model returns."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(super().forward(x))


def normed(kind: str) -> nn.Sequential:
    torch.manual_seed(0)
    norm = {"layer": nn.LayerNorm(24), "group": nn.GroupNorm(4, 24), "batch": nn.BatchNorm1d(24)}[kind]
    return nn.Sequential(nn.Linear(6, 24), norm, nn.ReLU(), nn.Linear(24, 2))


def trained(model: nn.Module) -> nn.Module:
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(DATA), LABELS).backward()
        optimizer.step()
    return model.eval()


def accuracy(model: nn.Module) -> float:
    with torch.no_grad():
        return float((model(DATA).argmax(1) == LABELS).double().mean())


@pytest.mark.parametrize("by", [-30.0, 30.0])
def test_the_middle_of_a_stuck_gate_goes_to_zero_and_the_others_stay(by: float) -> None:
    model = Sure()
    with torch.no_grad():
        model.gate.bias[:10] += by
        model.last.bias += 30.0  # what the model returns may be as sure as it likes
    before = copy.deepcopy(model.state_dict())
    assert "gate.bias" in str(held_on_one_side(Subject(model, DATA).ground))
    optimizer = torch.optim.Adam(model.parameters())
    model(DATA).square().sum().backward()
    optimizer.step()
    model.load_state_dict(before)
    LEVEL.carry_out(Subject(model, DATA, optimizer=optimizer), [WANTED])
    middle = model.gate(DATA).median(0).values
    assert middle[:10].abs().max() < 1e-5
    assert [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])] == ["gate.bias"]
    assert torch.equal(model.gate.bias[10:], before["gate.bias"][10:])
    assert not optimizer.state[model.gate.bias]["exp_avg"][:10].any()
    assert held_on_one_side(Subject(model, DATA).ground) is None


def test_a_gate_that_is_open_on_some_samples_and_few_that_are_stuck_are_left() -> None:
    model = Gated()
    with torch.no_grad():
        model.gate.weight.mul_(50)  # on either side, by the sample
        model.gate.bias[:4] -= 500.0  # a sixth of the units
    assert held_on_one_side(Subject(model, DATA).ground) is None
    assert held_on_one_side(Subject(Gated(), DATA).ground) is None


def test_gates_in_a_row_are_measured_behind_those_that_are_put_right() -> None:
    class Row(nn.Module):
        def __init__(self) -> None:
            torch.manual_seed(0)
            super().__init__()
            self.made = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))
            self.gates = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for made, gate in zip(self.made, self.gates, strict=True):
                x = 2 * made(x) * torch.sigmoid(gate(x))
            return x

    model = Row()
    with torch.no_grad():
        for gate in model.gates:
            gate.bias -= 40.0
    LEVEL.carry_out(Subject(model, DATA), [WANTED])
    seen: list[torch.Tensor] = []
    for gate in model.gates:
        gate.register_forward_hook(lambda _module, _args, out: seen.append(out.detach()))
    model(DATA)
    assert all(float(out.median(0).values.abs().max()) < 1e-3 * float(out.std()) for out in seen)


@pytest.mark.parametrize("kind", ["layer", "group", "batch"])
def test_biases_of_a_norm_that_are_far_off_begin_anew_and_gains_stay(kind: str) -> None:
    model = trained(normed(kind))
    with torch.no_grad():
        model[1].bias[:20] -= 12.0
    before = copy.deepcopy(model.state_dict())
    assert "1.bias" in str(held_on_one_side(Subject(model, DATA).ground))
    LEVEL.carry_out(Subject(model, DATA), [WANTED])
    assert model[1].bias[:20].abs().max() == 0
    assert torch.equal(model[1].bias[20:], before["1.bias"][20:])
    assert [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])] == ["1.bias"]
    frozen = normed(kind)
    with torch.no_grad():
        frozen[1].bias -= 12.0
    frozen[1].bias.requires_grad_(False)
    assert held_on_one_side(Subject(frozen, DATA).ground) is None
    assert LEVEL.able(Subject(frozen, DATA), WANTED)[0] is None


def test_shut_gates_are_tried_to_be_opened_and_a_metric_keeps_it() -> None:
    model = trained(Gated())
    good = accuracy(model)
    assert good > 0.85
    assert not leaky.repair(model, DATA)
    with torch.no_grad():
        model.gate.bias -= 40.0
    assert accuracy(model) < 0.7
    plan = leaky.repair(model, DATA)
    assert [treatment.name for treatment in plan.treatments] == ["shifted", "begun anew"]
    assert "the gates that gate.bias shifts are shut or open" in " ".join(str(plan).split())
    done = plan.apply(validate=accuracy)
    assert done.verdict == "kept"
    assert {action.kind for action in done.actions} == {"level"}
    assert accuracy(model) > good - 0.1


class Maxout(nn.Module):
    """Units that are the largest of three pieces, which lie apart in the layer or side by side."""

    def __init__(self, beside: bool) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.made, self.last, self.beside = nn.Linear(6, 24), nn.Linear(8, 2), beside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.made(x)
        largest = made.view(-1, 8, 3).max(-1).values if self.beside else made.view(-1, 3, 8).amax(1)
        out: torch.Tensor = self.last(largest)
        return out


@pytest.mark.parametrize("beside", [False, True])
def test_pieces_that_are_never_the_largest_come_up_to_those_that_are(beside: bool) -> None:
    model = Maxout(beside)
    assert held_on_one_side(Subject(model, DATA).ground) is None
    shut = torch.arange(24).view(8, 3)[:, 0] if beside else torch.arange(8)
    kept = torch.ones(24, dtype=torch.bool).index_fill(0, shut, False)
    with torch.no_grad():
        model.made.bias[shut] -= 30.0
    before = copy.deepcopy(model.state_dict())
    assert "made.bias" in str(held_on_one_side(Subject(model, DATA).ground))
    optimizer = torch.optim.Adam(model.parameters())
    model(DATA).square().sum().backward()
    optimizer.step()
    model.load_state_dict(before)
    LEVEL.carry_out(Subject(model, DATA, optimizer=optimizer), [WANTED])
    levels = model.made(DATA).detach().median(0).values
    others = levels[kept].view(8, 2).mean(1) if beside else levels[kept].view(2, 8).mean(0)
    torch.testing.assert_close(levels[shut], others, rtol=0, atol=1e-4)
    assert [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])] == ["made.bias"]
    assert torch.equal(model.made.bias[kept], before["made.bias"][kept])
    assert not optimizer.state[model.made.bias]["exp_avg"][shut].any()
    assert held_on_one_side(Subject(model, DATA).ground) is None
    frozen = Maxout(beside)
    frozen.made.bias.requires_grad_(False)
    assert LEVEL.able(Subject(frozen, DATA), WANTED)[0] is None

"""What begins anew with a network: also what has a beginning of its own; frozen and tied parameters stay."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

import leaky
from leaky.repairing.beginning import begin_as_built

TOKENS = torch.randint(0, 30, (400, 8), generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    """A table, gates and a rectified head."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.table, self.rnn = nn.Embedding(30, 8, padding_idx=0), nn.GRU(8, 12, batch_first=True)
        self.head = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 2))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(self.table(x))[0][:, -1])
        return out


def wrecked() -> Reader:
    model = Reader()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(30 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model


def test_tables_begin_small_and_gates_as_torch_builds_them_and_the_generator_goes_on() -> None:
    model = wrecked()
    objects = [*model.parameters()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert begin_as_built(model, 3, 0.25) == ("table", "rnn", "head.0", "head.2")
    assert torch.equal(torch.rand(3), expected)
    assert all(a is b for a, b in zip(objects, model.parameters(), strict=True))
    assert all(float(p.detach().abs().max()) <= 12**-0.5 for p in model.rnn.parameters())
    torch.manual_seed(3)
    assert torch.equal(model.table.weight.detach(), nn.Embedding(30, 8, padding_idx=0).weight.detach() / 4)
    assert not bool(model.table.weight[0].any())  # the padding row
    again = wrecked()
    begin_as_built(again, 3, 0.25)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_what_is_frozen_tied_or_does_not_say_how_it_begins_stays() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.back = nn.Embedding(30, 8), nn.Linear(8, 30, bias=False)
            self.back.weight = self.table.weight
            self.frozen, self.scale = nn.Linear(8, 8), nn.Parameter(torch.ones(8))
            self.frozen.bias.requires_grad_(False)

        def reset_parameters(self, how: str) -> None:
            raise AssertionError(how)

    model = Own()
    before = copy.deepcopy(model.state_dict())
    assert begin_as_built(model, 0) == ()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_that_begins_anew_does_so_in_its_gates_too() -> None:
    model = wrecked()
    plan = leaky.repair(model, TOKENS)
    assert plan.treatments[-1].name == "begun anew"
    plan = plan.without(*(treatment.name for treatment in plan.treatments[:-1]))
    labels = (TOKENS.sum(1) > TOKENS.sum(1).float().median()).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def train(_: nn.Module) -> None:
        for _ in range(30):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(TOKENS), labels).backward()
            optimizer.step()

    deviations = []

    def accuracy(_: nn.Module) -> float:
        deviations.append(float(model.table.weight.detach()[1:].std()))
        return float((model(TOKENS).argmax(1) == labels).double().mean())

    record = plan.apply(validate=accuracy, train=train, optimizer=optimizer)
    assert record.kept
    assert "begun anew" in record.reason
    assert max(float(p.detach().abs().max()) for p in model.rnn.parameters()) < 2
    assert sum(0.8 < deviation < 1.2 for deviation in deviations) == 3  # new networks by which chance is known
    assert sum(0.2 < deviation < 0.3 for deviation in deviations) > 1  # the one that began anew, before and after

"""No pass over the data is repeated while nothing has changed: the samples that run through the model are counted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import leaky
from leaky.repairing.operations.recentring import recentre
from leaky.repairing.operations.reviving import revive
from leaky.repairing.subject import Subject

SAMPLES = 1000
DATA = torch.randn(SAMPLES, 6, generator=torch.Generator().manual_seed(1))
TRACED = 2
"""Samples of the one pass that tells the structure."""


class Counting(nn.Sequential):
    """Three layers, a site with dead units, and a count of the samples seen."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
        self.seen = 0
        with torch.no_grad():
            self[0].bias[:6] = -50.0  # type: ignore[union-attr,operator]

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return super().forward(x)  # type: ignore[no-any-return]

    def since(self) -> int:
        seen, self.seen = self.seen, 0
        return seen


DRIFT_SAMPLES = 256


def test_planning_takes_one_pass_and_applying_one_for_each_change() -> None:
    model = Counting()
    checkup = leaky.check(model, DATA)
    assert model.since() == SAMPLES
    plan = leaky.repair(model, checkup, DATA)
    assert model.since() == TRACED + SAMPLES
    assert [a.kind for a in plan.actions] == ["revive"]
    assert plan.apply().kept
    # New units are centred; outputs and units are looked at afterwards; what leaves each site, before and after.
    assert model.since() <= 3 * SAMPLES + 2 * DRIFT_SAMPLES
    leaky.repair(model, DATA)
    assert model.since() <= TRACED + 2 * SAMPLES


def test_what_was_seen_is_kept_until_something_changes() -> None:
    model = Counting()
    subject = Subject(model, DATA)
    events = [taken.event for site in subject.ground.structure.sites.values() for taken in site.taken]
    first = subject.outputs, subject.record, subject.ground.entering(events)
    seen = model.since()
    assert subject.outputs is first[0]
    assert subject.record is first[1]
    assert subject.ground.entering(events).keys() == first[2].keys()
    assert model.since() == 0 < seen
    subject.changed()
    assert subject.outputs is not first[0]
    assert model.since() == SAMPLES  # the structure is not traced again
    subject.changed(modules=True)
    assert subject.outputs is not first[0]
    assert model.since() == TRACED + SAMPLES


@pytest.mark.parametrize("metric", [lambda _: 0.5, None])
def test_a_metric_costs_no_pass_of_ours(metric: object) -> None:
    model = Counting()
    plan = leaky.repair(model, DATA)
    model.since()
    plan.apply(validate=metric)  # type: ignore[arg-type]
    assert model.since() <= 8 * SAMPLES


class Deep(nn.Module):
    """Residual blocks, each with dead units, with or without a norm; whole passes are counted."""

    def __init__(self, depth: int, norm: bool) -> None:
        torch.manual_seed(0)
        super().__init__()
        norms = [[nn.BatchNorm1d(16)] if norm else [] for _ in range(depth)]
        blocks = [nn.Sequential(nn.Linear(6, 16), *n, nn.ReLU(), nn.Linear(16, 6)) for n in norms]
        self.blocks, self.seen = nn.ModuleList(blocks), 0
        with torch.no_grad():
            for block in blocks:
                block[int(norm)].bias[:6] -= 50.0  # type: ignore[index,operator]

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        for block in self.blocks:
            x = x + 0.3 * block(x)
        return x


@pytest.mark.parametrize("norm", [False, True])
def test_reviving_takes_as_many_passes_in_a_deep_network_as_in_a_shallow_one(norm: bool) -> None:
    seen = {}
    for depth in (3, 24):
        model = Deep(depth, norm).eval()
        units = {f"blocks.{i}.{1 + norm}": range(6) for i in range(depth)}
        before = model(DATA).detach()
        model.seen = 0
        revived = revive(model, units, DATA, seed=1)
        seen[depth] = model.seen
        assert all(done == tuple(range(6)) for done in revived.revived.values())
        assert (model(DATA) - before).abs().max() < 1e-4
        for site in leaky.observe(model, DATA).sites:
            assert site.mean[:6] == pytest.approx([0.0] * 6, abs=1e-3)  # as the units before them now are
            assert all(site.variance[:6] > 0.01)
    assert seen[3] == seen[24] <= 3 * SAMPLES + TRACED


def test_one_pass_and_passes_of_their_own_come_to_the_same() -> None:
    models = [Deep(4, norm=False), Deep(4, norm=False)]
    for model, data in zip(models, (DATA, [DATA[:500], DATA[500:]]), strict=True):
        revive(model, {f"blocks.{i}.1": range(6) for i in range(4)}, data, seed=1)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("norm", [False, True])
def test_shifting_takes_one_pass_in_a_deep_network_and_comes_to_what_site_by_site_does(norm: bool) -> None:
    for depth in (3, 24):
        model, other = Deep(depth, norm).eval(), Deep(depth, norm).eval()
        units = {f"blocks.{i}.{1 + norm}": tuple(range(6)) for i in range(depth)}
        shifted = recentre(model, units, DATA)
        assert shifted == units
        assert model.seen == SAMPLES + TRACED
        if depth == 3:
            for name, chosen in units.items():  # each alone, by what its record says
                recentre(other, {name: chosen}, DATA)
            for one, same in zip(model.parameters(), other.parameters(), strict=True):
                assert torch.allclose(one, same, atol=1e-5, rtol=1e-5)


def test_what_one_pass_cannot_shift_is_shifted_by_passes_of_its_own() -> None:
    models = [Deep(4, norm=False), Deep(4, norm=False)]
    units = {f"blocks.{i}.1": tuple(range(6)) for i in range(4)}
    for model, data in zip(models, (DATA, [DATA[:500], DATA[500:]]), strict=True):
        assert recentre(model, units, data) == units
    assert models[1].seen == 4 * SAMPLES + TRACED
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-5, rtol=1e-5)

"""Experts whose matrices are picked by numbers, samples that are sent to places, kernels that are one kernel turned."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.observation.counting import Count, counted, noted, observed_counts
from torch import Tensor, nn
from torch.nn import functional

import leaky

T, EXPERTS, SLOTS, INTO, UNITS = 40, 4, 2, 6, 5
Route = Callable[["Routed", Tensor], tuple[Tensor, Tensor]]


class Routed(nn.Module):
    """Experts in one tensor; each way runs them so, and says what each expert made of each sample that it got."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.gate, self.route = nn.Linear(INTO, EXPERTS), route
        self.up = nn.Parameter(torch.randn(EXPERTS, INTO, UNITS) / INTO**0.5)
        self.bias = nn.Parameter(torch.randn(EXPERTS, UNITS) - 0.7)
        self.down = nn.Linear(UNITS, 3)

    def top(self, x: Tensor) -> Tensor:
        return self.gate(x).topk(SLOTS, -1).indices  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.route(self, x)
        return self.down(torch.relu(h))  # type: ignore[no-any-return]


def _everywhere(model: Routed, x: Tensor, given: Tensor) -> Tensor:
    """Brute force: each expert on each sample, below 0 where it did not get it. Shape (samples, experts, units)."""
    z = torch.stack([x @ model.up[e] + model.bias[e] for e in range(EXPERTS)], 1)
    return torch.where(given[..., None], z, -torch.ones(1))


def _given(ids: Tensor, rows: int) -> Tensor:
    return torch.zeros(rows, EXPERTS).scatter(1, ids, 1.0).bool()


def by_einsum(model: Routed, x: Tensor) -> tuple[Tensor, Tensor]:
    ids = model.top(x)
    return torch.einsum("td,tkdf->tkf", x, model.up[ids]) + model.bias[ids], _given(ids, len(x))


def by_matmul(model: Routed, x: Tensor) -> tuple[Tensor, Tensor]:
    ids = model.top(x)
    return (x[:, None, None] @ model.up[ids]).squeeze(2) + model.bias[ids], _given(ids, len(x))


def by_rows(model: Routed, x: Tensor) -> tuple[Tensor, Tensor]:
    ids = model.top(x)
    rows = x.repeat_interleave(SLOTS, 0)
    made = torch.bmm(rows[:, None], model.up.index_select(0, ids.flatten()))[:, 0]
    return made + model.bias.index_select(0, ids.flatten()), _given(ids, len(x))


def by_dispatch(model: Routed, x: Tensor) -> tuple[Tensor, Tensor]:
    """GShard: a tensor of zeros and ones sends each sample to a place at its expert, while there are places."""
    places = 8
    one = functional.one_hot(model.gate(x).argmax(-1), EXPERTS).float()
    place = (one.cumsum(0) - 1) * one
    kept = one * (place < places)
    at = functional.one_hot(place.sum(-1).long().clamp(max=places - 1), places).float()
    sent = torch.einsum("te,tc->tec", kept, at)
    rows = torch.einsum("tec,td->ecd", sent, x)
    return torch.einsum("ecd,edf->ecf", rows, model.up) + model.bias[:, None], kept.bool()


def by_experts_choice(model: Routed, x: Tensor) -> tuple[Tensor, Tensor]:
    """Each expert takes its nine favourites."""
    ids = model.gate(x).T.topk(9, 1).indices
    given = torch.zeros(EXPERTS, len(x)).scatter(1, ids, 1.0).T.bool()
    return torch.bmm(x[ids], model.up) + model.bias[:, None], given


WAYS: dict[str, Route] = {way.__name__: way for way in (by_einsum, by_matmul, by_rows, by_dispatch, by_experts_choice)}


@pytest.mark.parametrize("way", WAYS)
def test_a_unit_is_a_feature_of_an_expert_whatever_sends_the_samples_there(way: str) -> None:
    torch.manual_seed(0)
    model = Routed(WAYS[way])
    batches = [torch.randn(T, INTO), torch.randn(T, INTO)]
    fired = torch.zeros(EXPERTS * UNITS)
    seen = 0
    with torch.no_grad():
        for x in batches:
            _, given = model.route(model, x)
            fired += (_everywhere(model, x, given) > 0).flatten(1).sum(0)
            seen += int(given.any(1).sum())
    (site,) = leaky.observe(model, batches).sites
    assert (site.units, site.samples) == (EXPERTS * UNITS, seen)
    assert site.statistics.fired.tolist() == fired.int().tolist()


class Turned(nn.Module):
    """One kernel in four directions, side by side or one behind another."""

    def __init__(self, stacked: bool) -> None:
        super().__init__()
        self.kernel, self.last, self.stacked = nn.Parameter(torch.randn(3, 2, 3, 3)), nn.Linear(3, 1), stacked

    def forward(self, x: Tensor) -> Tensor:
        four = [torch.rot90(self.kernel, turns, (2, 3)) for turns in range(4)]
        if self.stacked:
            z = functional.conv2d(x, torch.stack(four, 1).reshape(12, 2, 3, 3)).unflatten(1, (3, 4))
            noted("z", z - 8, 1)
            return self.last(torch.relu(z - 8).amax((2, 3, 4)))  # type: ignore[no-any-return]
        z = functional.conv2d(x, torch.cat(four)) - 8
        noted("z", z.unflatten(1, (4, 3)), 2)
        return self.last(torch.relu(z).unflatten(1, (4, 3)).amax((1, 3, 4)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("stacked", [True, False])
def test_a_kernel_that_is_turned_is_one_unit_in_several_positions(stacked: bool) -> None:
    torch.manual_seed(0)
    model, x = Turned(stacked), torch.randn(30, 2, 7, 7)
    truth = counted(model, [x], lambda m, batch: m(batch))
    assert 0 < sum(truth["z"].fired) < 90
    assert observed_counts(leaky.observe(model, x)) == [*truth.values()]


def test_kernels_that_differ_in_more_than_their_place_are_units_of_their_own() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(3, 2, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(functional.conv2d(x, torch.stack([self.kernel, self.kernel * 2], 1).flatten(0, 1))).mean()

    torch.manual_seed(0)
    (site,) = leaky.observe(Scaled(), torch.randn(30, 2, 7, 7)).sites
    assert site.units == 6


class Neighbours(nn.Module):
    """The nearest points of each point, picked out of all points of all samples by one number each."""

    def __init__(self) -> None:
        super().__init__()
        self.edge, self.last = nn.Conv2d(6, 8, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        samples, points, features = x.shape
        near = torch.cdist(x, x).topk(4, largest=False).indices + torch.arange(samples)[:, None, None] * points
        there = x.reshape(-1, features)[near.flatten()].view(samples, points, 4, features)
        both = torch.cat([there - x[:, :, None], x[:, :, None].expand_as(there)], -1)
        z = noted("z", self.edge(both.permute(0, 3, 1, 2)) - 2, 1)
        return self.last(torch.relu(z).amax(-1).mean(-1))  # type: ignore[no-any-return]


def test_rows_picked_out_of_folded_samples_are_their_samples_again() -> None:
    torch.manual_seed(0)
    model, x = Neighbours(), torch.randn(6, 20, 3)
    truth: dict[str, Count] = counted(model, [x], lambda m, batch: m(batch))
    assert truth["z"].samples == 6
    assert observed_counts(leaky.observe(model, x)) == [*truth.values()]


class Largest(nn.Module):
    """A code of the four largest units of each sample, rectified before they are chosen or after."""

    def __init__(self, before: bool) -> None:
        super().__init__()
        self.into, self.out, self.before = nn.Linear(6, 16), nn.Linear(16, 6), before

    def forward(self, x: Tensor) -> Tensor:
        z = self.into(x)
        values, places = (torch.relu(z) if self.before else z).topk(4, -1)
        values = values if self.before else torch.relu(values)
        return self.out(torch.zeros_like(z).scatter(-1, places, values))  # type: ignore[no-any-return]


def test_the_largest_units_of_a_sample_are_no_units_of_their_own() -> None:
    torch.manual_seed(0)
    record = leaky.observe(Largest(before=False), torch.randn(40, 6))
    assert [site.units for site in record.sites if site.activation == "ReLU"] == []
    assert ["largest units of each sample" in item.reason for item in record.not_examined] == [True]
    (site,) = leaky.observe(Largest(before=True), torch.randn(40, 6)).sites
    assert site.units == 16

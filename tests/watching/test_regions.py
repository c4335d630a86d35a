"""Models of which a part is compiled, and compiled code with graph breaks: every site is counted, or it is said."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.watching.test_compiled import assert_same
from torch import Tensor, nn
from torch._dynamo.utils import counters

import leaky


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    torch._dynamo.reset()
    counters.clear()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")  # by torch, of its own
        yield
    torch._dynamo.reset()


class Middle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.smooth, self.act = nn.Linear(6, 7), nn.Linear(7, 6), nn.GELU(), nn.LeakyReLU(0.1, True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.b(self.smooth(self.a(x))))


class Outer(nn.Module):
    """Python around a part, with a module and a function as sites."""

    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.first, self.act, self.middle, self.last = nn.Linear(5, 6), nn.ReLU(inplace=True), middle, nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.last(self.middle(self.act(self.first(x)))))


def itself(part: nn.Module) -> nn.Module:
    part.compile(backend="aot_eager", fullgraph=True)
    return part


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "part.compile": itself,
    "torch.compile": lambda part: torch.compile(part, backend="aot_eager", fullgraph=True),  # type: ignore[dict-item]
}


def trained(model: nn.Module, call: Any, watched: bool = True) -> tuple[leaky.watching.Watch, dict[str, Tensor]]:
    data = torch.randn(9, 5, generator=torch.Generator().manual_seed(3)).double()
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    watch = leaky.watch(model, optimizer, report_every=2, alarms=())
    if watched:
        watch.start()
    for _ in range(5):
        optimizer.zero_grad()
        call(data).square().mean().backward()
        optimizer.step()
    watch.stop()
    return watch, model.state_dict()


def outer(way: str | None) -> nn.Module:
    torch.manual_seed(0)
    middle = Middle()
    return Outer(middle if way is None else WAYS[way](middle)).double()


@pytest.mark.parametrize("way", WAYS)
def test_sites_of_a_part_that_is_compiled_are_counted_and_the_part_stays_compiled(way: str) -> None:
    model = outer(None)
    expected = trained(model, model)[0].record()
    model = outer(way)
    plain = trained(model, model, watched=False)[1]
    torch._dynamo.reset()
    counters.clear()
    model = outer(way)
    watch, seen = trained(model, model)
    assert_same(watch.record(), expected)
    assert not watch.notes
    assert counters["stats"]["unique_graphs"] == 1
    assert all(torch.equal(value, seen[name]) for name, value in plain.items())


def test_a_part_that_was_compiled_before_its_steps_are_observed_is_compiled_anew() -> None:
    model = outer("part.compile")
    data = torch.randn(9, 5).double()
    with leaky.watch(model, alarms=(), every=lambda step: step > 2) as watch:
        for _ in range(6):
            model(data).sum().backward()
            watch.step()
    assert [site.samples for site in watch.record().sites] == [27, 27, 27, 27]


def test_sites_of_a_part_that_leaky_cannot_tell_apart_are_named() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(6, 6), nn.Linear(6, 6), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.b(self.act(self.a(x))))

    model = Outer(itself(Twice())).double()
    with pytest.warns(RuntimeWarning, match=r"middle.act, middle.act#2 are in parts .* compiled by themselves"):
        watch, _ = trained(model, model)
    assert [site.samples for site in watch.record().sites] == [45, 9, 9, 45]  # the first pass is Python's


def test_a_part_with_functions_is_run_by_python_on_observed_steps_and_that_is_told() -> None:
    class Functions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.b(torch.relu(self.a(x))))

    model = Outer(itself(Functions())).double()
    watch, _ = trained(model, model)
    assert [site.samples for site in watch.record().sites] == [45, 45, 45, 45]
    (note,) = watch.notes
    assert "called as a function in a part of the model that is compiled by itself" in note


class Breaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.b(torch.relu(self.a(x))))
        torch._dynamo.graph_break()
        return nn.functional.leaky_relu(self.d(torch.relu(self.c(x))), 0.1)


def test_sites_before_and_behind_a_graph_break_are_counted() -> None:
    torch.manual_seed(0)
    model = Breaks().double()
    expected = trained(model, model)[0].record()
    torch.manual_seed(0)
    model = Breaks().double()
    watch, _ = trained(model, torch.compile(model, backend="aot_eager"))
    assert_same(watch.record(), expected)
    assert not watch.notes


def test_what_python_runs_of_a_compiled_model_goes_on_as_without_a_watch_and_is_told() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.head, self.act = nn.GRU(5, 6), nn.Linear(6, 4), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.act(self.head(self.gru(x)[0])) - 0.1)

    states = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = Recurrent().double()
        call = torch.compile(model, backend="aot_eager")
        if watched:
            with pytest.warns(RuntimeWarning, match="compiled code runs without leaky's operators at act"):
                states.append(trained(model, call)[1])
        else:
            states.append(trained(model, call, watched=False)[1])
        torch._dynamo.reset()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())

"""Small pre-activations are handed over at the end of a pass, as they were; a copy of a model has its own graphs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.watching.test_compiled import assert_same
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import leaky
from leaky.record import Record
from leaky.watching.compiled import operators, tracing


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Overwritten(nn.Module):
    """A small pre-activation that is written to behind its activation, a smooth one, and one that is large."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 900)
        self.act, self.smooth, self.last = nn.ReLU(), nn.SiLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        z = self.first(x)
        h = self.act(z)
        z.add_(100)
        return self.last(self.third(self.smooth(self.second(h)))) + z.mean()


def recorded(compiled: bool, graphs: list[Any]) -> Record:
    def kept(graph: Any, inputs: Any) -> Any:
        graphs.append([(node.target, node.args) for node in graph.graph.nodes])
        return graph.forward

    torch.manual_seed(0)
    model = nn.Sequential(Overwritten()).double()
    call = torch.compile(model, fullgraph=True, backend=kept) if compiled else model
    with leaky.watch(model, alarms=()) as watch:
        for _ in range(3):
            call(torch.randn(40, 5, generator=torch.Generator().manual_seed(1)).double()).square().mean().backward()
            watch.step()
    return watch.record()


def test_what_is_handed_over_late_is_what_it_was() -> None:
    graphs: list[Any] = []
    assert_same(recorded(True, graphs), recorded(False, []))
    (graph,) = graphs
    called = [target for target, _ in graph]
    (end,) = (args for target, args in graph if target is operators.end)
    assert called.count(operators.take) == 2  # what is written to, and what is large
    assert len(end[3]) == 2  # a pre-activation and its output


def test_guards_that_a_torch_to_come_names_otherwise_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(*_: Any) -> Any:
        raise AttributeError("originating_source")

    asked: list[Any] = []
    monkeypatch.setattr(tracing, "let_go_unguarded", lambda *given: (asked.append(given), renamed()))
    assert_same(recorded(True, []), recorded(False, []))
    assert asked


class Own(nn.Sequential):
    """A class of the user's, around whose compiled code Python runs the hooks."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@pytest.mark.parametrize("make", [nn.Sequential, Own])
def test_the_passes_of_a_copy_are_not_taken_for_the_models_own(make: Any) -> None:
    model = make(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with leaky.watch(model, alarms=()) as watch:
        for _ in range(2):
            compiled(torch.randn(7, 4)).sum().backward()
            average = torch.compile(copy.deepcopy(model), fullgraph=True, backend="aot_eager")
            average(torch.randn(7, 4)).sum().backward()
            watch.step()
    assert [site.samples for site in watch.record().sites] == [14]


class Checkpointed(nn.Module):
    """What is behind the first activation is kept, and what is before it is computed once more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.last = nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = checkpoint(lambda x: self.act(self.first(x)), x, use_reentrant=False)
        return self.last(h)


def test_a_checkpoint_compiles_as_one_graph_and_is_counted_once() -> None:
    records = []
    for backend in (None, "aot_eager"):
        torch.manual_seed(0)
        model = Checkpointed().double()
        call = model if backend is None else torch.compile(model, fullgraph=True, backend=backend)
        with leaky.watch(model, alarms=(), every=2) as watch:
            for _ in range(3):
                call(torch.randn(9, 5).double()).square().mean().backward()
                watch.step()
        records.append(watch.record())
    assert_same(records[1], records[0])
    assert [site.samples for site in records[1].sites] == [18]

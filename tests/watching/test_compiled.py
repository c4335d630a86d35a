"""A compiled model is seen as the same model uncompiled is, in one graph, and trains to the same bits."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.watching.networks import made
from torch import Tensor, nn
from torch._dynamo.utils import counters

import leaky
from leaky.record import Record

COUNTED = ("samples", "counts", "fired", "last_fired", "nonfinite")
SUMMED = ("sums", "squares", "minimum", "maximum", "output_absolute_sums", "output_squares")
Ways = dict[str, Callable[[nn.Module, str], Callable[[Tensor], Tensor]]]


def itself(model: nn.Module, backend: str) -> Callable[[Tensor], Tensor]:
    model.compile(fullgraph=True, backend=backend)
    return model


WAYS: Ways = {
    "torch.compile": lambda model, backend: torch.compile(model, fullgraph=True, backend=backend),
    "model.compile": itself,
    "a function that calls it": lambda model, backend: torch.compile(
        lambda x: model(x), fullgraph=True, backend=backend
    ),
}


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    torch._dynamo.reset()
    counters.clear()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
    torch._dynamo.reset()


def prepared(name: str) -> tuple[nn.Module, Tensor, torch.optim.Optimizer]:
    """A network in double precision, so that nothing but the order of sums differs between two compilations."""
    model, data = made(name)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.double(), data.double(), torch.optim.SGD(model.parameters(), 0.05)


def steps(call: Any, data: Tensor, optimizer: torch.optim.Optimizer, count: int = 4) -> None:
    for _ in range(count):
        optimizer.zero_grad()
        call(data).square().mean().backward()
        optimizer.step()


def uncompiled(name: str) -> Record:
    model, data, optimizer = prepared(name)
    with leaky.watch(model, optimizer, alarms=()) as watch:
        steps(model, data, optimizer)
    return watch.record()


def assert_same(got: Record, expected: Record) -> None:
    assert [site.name for site in got.sites] == [site.name for site in expected.sites]
    for here, there in zip(got.sites, expected.sites, strict=True):
        mine, theirs = here.statistics, there.statistics
        for figure in COUNTED:
            np.testing.assert_array_equal(getattr(mine, figure), getattr(theirs, figure), f"{here.name} {figure}")
        for figure in SUMMED:
            if getattr(theirs, figure) is not None:
                np.testing.assert_allclose(getattr(mine, figure), getattr(theirs, figure), rtol=1e-9, atol=1e-12)
        assert mine.gradient is not None
        assert theirs.gradient is not None
        assert mine.gradient.samples == theirs.gradient.samples
        np.testing.assert_allclose(mine.gradient.absolute_sums, theirs.gradient.absolute_sums, rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(mine.gradient.squares, theirs.gradient.squares, rtol=1e-9, atol=1e-18)


def assert_one_graph(graphs: int = 1) -> None:
    assert counters["stats"]["unique_graphs"] == graphs
    assert not counters["graph_break"]


def left_behind(model: nn.Module) -> list[str]:
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    found = [name for module in model.modules() for name in hooks if getattr(module, name)]
    return found + [name for module in model.modules() for name in module.__dict__ if name == "forward"]


@pytest.mark.parametrize("name", ["functional", "resnet", "transformer"])
def test_it_sees_what_a_watch_of_the_uncompiled_model_sees(name: str) -> None:
    expected = uncompiled(name)
    model, data, optimizer = prepared(name)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with leaky.watch(compiled, optimizer, alarms=()) as watch:
        steps(compiled, data, optimizer)
    assert_same(watch.record(), expected)
    assert_one_graph()
    assert not watch.notes
    assert not left_behind(model)


@pytest.mark.parametrize("way", WAYS)
def test_it_may_be_compiled_after_the_watch_has_begun(way: str) -> None:
    expected = uncompiled("functional")
    model, data, optimizer = prepared("functional")
    with leaky.watch(model, optimizer, alarms=()) as watch:
        steps(WAYS[way](model, "aot_eager"), data, optimizer)
    assert_same(watch.record(), expected)
    assert_one_graph()


def test_it_may_have_run_before_the_watch_begins_and_what_was_compiled_then_serves_after_it() -> None:
    expected = uncompiled("mlp")
    model, data, optimizer = prepared("mlp")
    call = torch.compile(model, fullgraph=True, backend="aot_eager")
    call(data).sum().backward()
    for _ in range(2):
        model.load_state_dict(prepared("mlp")[0].state_dict())
        with leaky.watch(model, optimizer, alarms=()) as watch:
            steps(call, data, optimizer)
        assert_same(watch.record(), expected)
        call(data).sum().backward()
        assert_one_graph(2)  # one for the watches, the second of which is served by the first one's


def test_inductor_sees_the_same() -> None:
    expected = uncompiled("cnn")
    model, data, optimizer = prepared("cnn")
    compiled = torch.compile(model, fullgraph=True)
    with leaky.watch(compiled, optimizer, alarms=()) as watch:
        steps(compiled, data, optimizer)
    assert_same(watch.record(), expected)
    assert_one_graph()


def test_one_graph_serves_steps_that_are_observed_and_those_that_are_not() -> None:
    model, data, optimizer = prepared("mlp")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with leaky.watch(compiled, optimizer, every=10, report_every=1, alarms=()) as watch:
        steps(compiled, data, optimizer, 21)
    assert_one_graph()
    assert watch.history.steps.tolist() == [0, 10, 20]
    assert [site.samples for site in watch.record().sites] == [72, 72, 72]
    assert [site.statistics.gradient.samples for site in watch.record().sites if site.statistics.gradient] == [72] * 3


def test_every_pass_whose_gradient_is_accumulated_is_counted() -> None:
    model, data, optimizer = prepared("mlp")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with leaky.watch(compiled, optimizer, alarms=()) as watch:
        (compiled(data).sum() + compiled(data).sum()).backward()
        optimizer.step()
    (first, *_) = watch.record().sites
    assert first.statistics.gradient is not None
    assert (first.samples, first.statistics.gradient.samples) == (48, 48)


def test_an_evaluation_in_between_is_kept_apart() -> None:
    model, data, optimizer = prepared("functional")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with leaky.watch(compiled, optimizer, alarms=()) as watch:
        steps(compiled, data, optimizer, 1)
        model.eval()
        with torch.no_grad():
            compiled(1000 * data)
        model.train()
        steps(compiled, data, optimizer, 1)
    assert watch.record().samples == 48
    assert [site.samples for site in watch.record().sites] == [48, 48, 48]


@pytest.mark.parametrize(("make", "name"), [(torch.optim.SGD, "mlp"), (torch.optim.AdamW, "resnet")])
def test_the_weights_are_those_of_the_compiled_unwatched_training_bit_for_bit(make: Any, name: str) -> None:
    states = []
    for watched in (False, True):
        model, data = made(name)  # resnet: with BatchNorm and dropout
        optimizer = make(model.parameters(), 0.01)
        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        watch = leaky.watch(compiled, optimizer, alarms=())
        if watched:
            watch.start()
        torch.manual_seed(3)
        steps(compiled, data, optimizer, 20)
        watch.stop()
        states.append({**model.state_dict(), "random": torch.get_rng_state()})
        torch._dynamo.reset()
    plain, seen = states
    assert all(torch.equal(value, seen[name]) for name, value in plain.items())


def test_inductor_adds_in_the_same_order_though_it_lays_out_in_memory_what_leaky_reads() -> None:
    found = []
    for watched in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
            *(nn.Conv2d(8, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.SiLU()),
        )
        data = torch.randn(8, 3, 8, 8)
        compiled = torch.compile(model, fullgraph=True)
        watch = leaky.watch(compiled, alarms=())
        if watched:
            watch.start()
        loss = compiled(data).square().mean()
        loss.backward()
        watch.stop()
        found.append({name: p.grad for name, p in model.named_parameters()} | dict(model.named_buffers()))
        torch._dynamo.reset()
    plain, seen = found
    assert [name for name, value in plain.items() if not torch.equal(value, seen[name])] == []
    assert [site.samples for site in watch.record().sites] == [8, 8, 8]


def test_an_activation_in_place_that_runs_twice_keeps_a_copy_of_each_of_its_inputs() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.act = nn.Linear(6, 6), nn.Linear(6, 6), nn.SiLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.second(self.act(self.first(x))))

    records = []
    for backend in (None, "aot_eager"):
        torch.manual_seed(0)
        model = Twice().double()
        call = model if backend is None else torch.compile(model, fullgraph=True, backend=backend)
        with leaky.watch(model, alarms=()) as watch:
            call(torch.randn(9, 6).double()).square().mean().backward()
            watch.step()
        records.append(watch.record())
    assert_same(records[1], records[0])


def test_a_graph_without_leakys_operators_is_told_with_how_to_mend_it() -> None:
    model, data, optimizer = prepared("mlp")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    compiled(data).sum().backward()
    watch = leaky.watch(model, optimizer, alarms=()).start()
    for module in model.modules():  # what makes torch compile it anew
        module.__dict__.pop("forward", None)
    with pytest.warns(RuntimeWarning, match=r"no pass of the model .* call torch.compiler.reset\(\)"):
        steps(compiled, data, optimizer, 4)
    torch.compiler.reset()
    steps(compiled, data, optimizer, 2)
    watch.stop()
    assert [note[:11] for note in watch.notes] == ["steps go by"]
    assert [site.samples for site in watch.record().sites] == [48, 48, 48]


def test_compiled_code_that_runs_eagerly_is_seen() -> None:
    model, data, optimizer = prepared("mlp")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.compiler.set_stance("force_eager"), leaky.watch(compiled, optimizer, alarms=()) as watch:
        steps(compiled, data, optimizer, 5)
    assert [site.samples for site in watch.record().sites] == [120, 120, 120]
    assert not watch.notes


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"measures": {"gates"}}, ["idle_gates is not counted"]),
        ({"latents": ["1"]}, ["the latents of '1' are not counted"]),
        ({"measures": {"gates"}, "latents": ["1"]}, ["idle_gates and the latents of '1' are not counted"]),
        ({"measures": {"srank"}}, []),
    ],
)
def test_measures_that_compiled_code_shows_nothing_of_are_told(asked: dict[str, Any], told: list[str]) -> None:
    model, data, optimizer = prepared("mlp")
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with leaky.watch(compiled, optimizer, alarms=(), **asked) as watch:
        steps(compiled, data, optimizer, 3)
    assert len(watch.notes) == len(told)
    assert all(words in note for words, note in zip(told, watch.notes, strict=True))
    model, data, optimizer = prepared("mlp")
    with leaky.watch(model, optimizer, alarms=(), **asked) as watch:
        steps(model, data, optimizer, 3)
    assert not watch.notes


def test_a_whole_step_may_be_compiled_with_its_backward_pass() -> None:
    expected = uncompiled("mlp")
    model, data, optimizer = prepared("mlp")
    with leaky.watch(model, optimizer, alarms=()) as watch:
        steps_compiled = torch.compile(lambda: steps(model, data, optimizer, 1), backend="aot_eager")
        for _ in range(4):
            steps_compiled()  # Dynamo once waited for itself here
    assert_same(watch.record(), expected)

"""A compiled model trains as if it were not watched, and the watch says that it sees nothing."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from tests.watching.networks import made

import leaky


@pytest.fixture(autouse=True)
def _fresh() -> Any:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield
    torch._dynamo.reset()


def trained(before: bool, watched: bool) -> tuple[Any, dict[str, torch.Tensor]]:
    """Five steps of a model compiled in one graph, before the watch or after it has begun."""
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager") if before else None
    watch = leaky.watch(compiled or model, optimizer, alarms=())
    if watched:
        watch.start()
    compiled = compiled or torch.compile(model, fullgraph=True, backend="aot_eager")
    for _ in range(5):
        optimizer.zero_grad()
        compiled(data).square().mean().backward()
        optimizer.step()
    watch.stop()
    return watch, model.state_dict()


@pytest.mark.parametrize("before", [True, False], ids=["compiled before", "compiled after"])
def test_it_compiles_in_one_graph_trains_to_the_same_bits_and_is_said_not_to_be_seen(before: bool) -> None:
    _, plain = trained(before, watched=False)
    torch._dynamo.reset()
    with pytest.warns(RuntimeWarning, match=r"compiled by torch\.compile runs without hooks"):
        watch, seen = trained(before, watched=True)
    assert all(torch.equal(value, seen[name]) for name, value in plain.items())
    assert [note[:11] for note in watch.notes] == ["steps go by"]


def test_compiled_code_that_runs_eagerly_is_seen() -> None:
    with torch.compiler.set_stance("force_eager"):
        watch, _ = trained(before=True, watched=True)
    assert [site.samples for site in watch.record().sites] == [120, 120, 120]
    assert not watch.notes

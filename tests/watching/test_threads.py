"""Threads and watches that share a model: each figure is right, or one sentence says why there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch
from tests.watching.test_watch import hooks_on
from torch import Tensor, nn

import leaky

PATIENCE = 60


class Gate(nn.Module):
    """Where a thread may be held in the middle of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.holds: threading.Thread | None = None
        self.inside, self.leave = threading.Event(), threading.Event()

    def forward(self, x: Tensor) -> Tensor:
        if threading.current_thread() is self.holds:
            self.inside.set()
            assert self.leave.wait(PATIENCE)
        return x


def network(gate: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), gate, nn.Linear(8, 8), nn.ReLU())


def in_a_thread(run: Callable[[], object]) -> None:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.mark.parametrize("passes_before", [0, 2])
def test_a_pass_in_the_middle_of_another_threads_pass_ends_the_watch_with_one_sentence(passes_before: int) -> None:
    gate = Gate()
    model, data = network(gate), torch.randn(9, 4)
    gradients: list[Tensor] = []

    def first() -> None:
        with pytest.warns(RuntimeWarning, match="two threads ran the model at once; let them take turns"):
            out = model(data)
        gradients.append(torch.autograd.grad(out.sum(), model[0].weight)[0])

    with leaky.watch(model, report_every=100) as watch:
        for _ in range(passes_before):
            model(data).sum().backward()
            watch.step()
        gate.holds = threading.Thread(target=first)
        gate.holds.start()
        assert gate.inside.wait(PATIENCE)
        try:
            in_a_thread(lambda: gradients.append(torch.autograd.grad(model(data).sum(), model[0].weight)[0]))
        finally:
            gate.leave.set()
            gate.holds.join(PATIENCE)
        assert [note for note in watch.notes if "two threads" in note] == list(watch.notes)
        assert hooks_on(model) == 0, "the training goes on without it"
        model(data)
    expected = torch.autograd.grad(model(data).sum(), model[0].weight)[0]
    assert [torch.equal(gradient, expected) for gradient in gradients] == [True, True]
    assert torch._C._len_torch_function_stack() == 0


def test_threads_that_take_turns_are_counted_together() -> None:
    model, data = network(nn.Identity()), torch.randn(9, 4)
    with leaky.watch(model, report_every=100) as watch:
        for _ in range(3):
            in_a_thread(lambda: model(data).sum().backward())
            model(data[:5]).sum().backward()
            watch.step()
        assert [site.samples for site in watch.record().sites] == [3 * 14, 3 * 14]
        assert not watch.notes


def test_two_watches_on_one_model_each_count_right() -> None:
    model, data = network(nn.Identity()), torch.randn(9, 4)
    with leaky.watch(model, report_every=100) as alone:
        for _ in range(3):
            model(data).sum().backward()
            alone.step()
        wanted = alone.record()
    with leaky.watch(model, report_every=100) as outer:
        with leaky.watch(model, report_every=100) as inner:
            for _ in range(3):
                model(data).sum().backward()
                inner.step()
                outer.step()
            records = [outer.record(), inner.record()]
        assert hooks_on(model) > 0
        assert [*outer.notes, *inner.notes] == []
    assert hooks_on(model) == 0
    for record in records:
        for site, right in zip(record.sites, wanted.sites, strict=True):
            assert (site.name, site.samples) == (right.name, 27)
            assert site.statistics.fired.tolist() == right.statistics.fired.tolist()

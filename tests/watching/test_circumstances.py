"""Checkpointing, mixed precision, accumulation, transforms: each counted once, and as it should be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.watching.networks import made
from torch import nn
from torch.utils.checkpoint import checkpoint

import leaky
from leaky.errors import InputError


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.middle = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.LeakyReLU(0.1))
        self.reentrant = reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(x)
        h = self.middle(h) if self.reentrant is None else checkpoint(self.middle, h, use_reentrant=self.reentrant)
        return self.last(h)


def records(model: nn.Module, x: torch.Tensor, steps: int = 4) -> leaky.Record:
    with leaky.watch(model, alarms=()) as watch:
        for _ in range(steps):
            model(x).square().mean().backward()
            watch.step()
    return watch.record()


@pytest.mark.parametrize("reentrant", [False, True], ids=["non-reentrant", "reentrant"])
def test_what_a_checkpoint_recomputes_is_not_counted_twice(reentrant: bool) -> None:
    x = torch.randn(9, 6)
    plain, got = records(Checkpointed(None), x), records(Checkpointed(reentrant), x)
    for here, there in zip(got.sites, plain.sites, strict=True):
        assert here.samples == there.samples == 36
        np.testing.assert_array_equal(here.statistics.counts, there.statistics.counts)
        np.testing.assert_allclose(here.statistics.squares, there.statistics.squares, rtol=1e-6)
        mine, theirs = here.statistics.gradient, there.statistics.gradient
        assert mine is not None
        assert theirs is not None
        assert mine.samples == 36
        np.testing.assert_allclose(mine.absolute_sums, theirs.absolute_sums, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_trains_to_the_same_bits_and_is_seen_in_its_own_precision(dtype: torch.dtype) -> None:
    weights = []
    for watched in (False, True):
        model, data = made("cnn")
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        watch = leaky.watch(model, optimizer, alarms=())
        if watched:
            watch.start()
        for start in range(0, 16, 4):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype):
                loss = model(data[start : start + 4]).float().square().mean()
            loss.backward()
            optimizer.step()
        watch.stop()
        weights.append(model.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert [site.samples for site in watch.record().sites] == [16, 16]
    assert watch.record().sites[0].statistics.gradient is not None


def test_a_scaled_loss_is_judged_unscaled() -> None:
    found = []
    for enabled in (False, True):
        model, data = made("mlp")
        optimizer = torch.optim.SGD(model.parameters(), 0.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=3, enabled=enabled)
        with leaky.watch(model, optimizer, scaler=scaler, report_every=2, alarms=()) as watch:
            for _ in range(8):
                optimizer.zero_grad()
                scaler.scale(model(data).square().mean()).backward()
                scaler.step(optimizer)
                scaler.update()
        found.append(watch.record().sites[0].statistics.gradient)
    np.testing.assert_allclose(found[1].absolute_sums, found[0].absolute_sums, rtol=1e-5)
    np.testing.assert_allclose(found[1].squares, found[0].squares, rtol=1e-5)


def test_a_step_is_an_optimizer_step_however_many_passes_it_takes() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with leaky.watch(model, optimizer, report_every=1, alarms=()) as watch:
        for _ in range(3):
            optimizer.zero_grad()
            for start in (0, 8, 16):
                (model(data[start : start + 8]).square().mean() / 3).backward()
            optimizer.step()
    assert watch.history.steps.tolist() == [0, 1, 2]
    assert watch.history.samples.tolist() == [24, 24, 24]
    assert watch.record().sites[0].samples == 72


def test_function_transforms_run_unwatched() -> None:
    model, data = made("mlp")
    parameters = dict(model.named_parameters())

    def loss(p: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, p, x).square().mean()

    expected = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, data[:, None])
    with leaky.watch(model) as watch:
        got = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, data[:, None])
        model(data).sum().backward()
        watch.step()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    assert watch.record().samples == 24
    assert not watch.notes


def test_a_second_backward_and_a_gradient_of_the_gradient_count_once() -> None:
    model, data = made("mlp")
    with leaky.watch(model, alarms=()) as watch:
        x = data.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).square().mean(), x, create_graph=True)
        slope.square().mean().backward()
        watch.step()
    site = watch.record().sites[0]
    assert site.samples == 24
    assert site.statistics.gradient is not None
    assert site.statistics.gradient.samples == 24


def test_frozen_parts_are_seen_without_a_gradient() -> None:
    model, data = made("mlp")
    for p in model[:2].parameters():
        p.requires_grad_(False)
    with leaky.watch(model, alarms=()) as watch:
        model(data).square().mean().backward()
        watch.step()
    first, second, _ = watch.record().sites
    assert first.samples == 24
    assert first.statistics.gradient is None
    assert second.statistics.gradient is not None


def test_no_memory_is_held_after_the_backward_pass() -> None:
    import gc
    import weakref

    model, data = made("functional")
    kept = []

    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.act = model, nn.LeakyReLU(0.1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.inner(x)
            kept.append(weakref.ref(z))
            return self.act(z)

    outer = Keeps()
    with leaky.watch(outer, alarms=()) as watch:
        for _ in range(3):
            loss = outer(data).square().mean()
            loss.backward()
            watch.step()
            gc.collect()
            assert kept[-1]() is None  # while the loss still lives


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_what_torch_traces_is_the_model_alone() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    x = torch.randn(6, 4)
    with leaky.watch(model) as watch:
        for _ in range(3):
            model(x).sum().backward()
            watch.step()
        traced = torch.jit.trace(model, x)  # which checks what it has traced, and warns
        assert torch.equal(traced(x), model(x))
    assert watch.record().sites[0].samples == 30  # three steps, the comparison, and the plain pass of torch's check


def test_a_scripted_model_is_refused() -> None:
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 8), nn.ReLU()))
    with pytest.raises(InputError, match="TorchScript"):
        leaky.watch(scripted)

"""Watching changes nothing, sees what a checkup sees, and leaves nothing behind."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from tests.watching.networks import SHAPES, made, train
from torch import nn

import leaky
from leaky.watching.sums import Reading

OPTIMIZERS = {"sgd": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9), "adamw": lambda p: torch.optim.AdamW(p, 0.01)}
COUNTED = ("counts", "fired", "nonfinite")
SUMMED = ("sums", "squares", "minimum", "maximum")


CIRCUMSTANCES = [(name, optimizer, torch.float32) for name in SHAPES for optimizer in OPTIMIZERS] + [
    (name, "adamw", torch.bfloat16) for name in ("mlp", "cnn", "resnet", "transformer", "recurrent")
]


@pytest.mark.parametrize(("name", "optimizer", "dtype"), CIRCUMSTANCES, ids=str)
def test_the_weights_are_those_of_the_unwatched_training_bit_for_bit(
    name: str, optimizer: str, dtype: torch.dtype
) -> None:
    states = []
    for watched in (False, True):
        model, data = made(name)
        optim = OPTIMIZERS[optimizer](model.parameters())
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            if watched:
                with leaky.watch(model, optim, report_every=3, alarms=()) as watch:
                    train(model, optim, data, 40)
                assert len(watch.history.steps) >= 12
                assert not watch.record().notes
            else:
                train(model, optim, data, 40)
        states.append((model.state_dict(), torch.get_rng_state()))
    (plain, plain_random), (seen, seen_random) = states
    assert torch.equal(plain_random, seen_random)
    for key, value in plain.items():
        assert torch.equal(value, seen[key]), key


@pytest.mark.parametrize("name", SHAPES)
def test_it_sees_what_an_observation_of_the_same_passes_sees(name: str) -> None:
    model, data = made(name)
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.modules.batchnorm._BatchNorm)):
            module.p, module.momentum = 0.0, 0.0
    batches = [data[:8], data[8:16], data[16:]]
    expected = leaky.observe(model, batches, mode="train", loss=lambda output, batch: output.square().mean())
    with leaky.watch(model, report_every=2, alarms=()) as watch:
        for batch in batches:
            model(batch).square().mean().backward()
            watch.step()
    got = watch.record()
    assert [site.name.split(" (")[0] for site in got.sites] == [site.name.split(" (")[0] for site in expected.sites]
    for here, there in zip(got.sites, expected.sites, strict=True):
        assert here.samples == there.samples == 24
        mine, theirs = here.statistics, there.statistics
        for figure in COUNTED:
            np.testing.assert_array_equal(getattr(mine, figure), getattr(theirs, figure), figure)
        for figure in SUMMED:
            np.testing.assert_allclose(getattr(mine, figure), getattr(theirs, figure), rtol=1e-6, atol=1e-6)
        if here.smooth:
            np.testing.assert_allclose(mine.output_absolute_sums, theirs.output_absolute_sums, rtol=1e-6)
        assert mine.gradient is not None
        assert theirs.gradient is not None
        np.testing.assert_allclose(mine.gradient.absolute_sums, theirs.gradient.absolute_sums, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(mine.gradient.squares, theirs.gradient.squares, rtol=1e-5, atol=1e-12)
    assert list(watch.checkup().verdicts.values()) == list(leaky.diagnose(expected).verdicts.values())


@pytest.mark.parametrize(("steps", "reports"), [(6, [2, 5]), (7, [2, 5, 6])])
def test_the_last_report_bears_the_last_step_that_was_made(steps: int, reports: list[int]) -> None:
    model, data = made("functional")
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with leaky.watch(model, optimizer, report_every=3, alarms=()) as watch:
        for _ in range(steps):
            model(data[:8]).square().mean().backward()
            optimizer.step()
        if steps == 7:
            watch.report()
    assert watch.history.steps.tolist() == reports
    assert watch.step_number == steps


def hooks_on(model: nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    )


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_when_the_model_raises(error: type[BaseException]) -> None:
    model, data = made("functional")

    class Raises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.armed = model, False

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inner(x)
            if self.armed:
                raise error("mine")
            return y

    outer = Raises()
    for good in (0, 1):  # while it is traced, and later
        with pytest.raises(error, match="mine"):
            watch_and_raise(outer, data, good)
        assert hooks_on(outer) == 0
        assert len(torch.overrides._get_current_function_mode_stack()) == 0
        assert len(torch.utils._python_dispatch._get_current_dispatch_mode_stack()) == 0


def watch_and_raise(model: Any, data: torch.Tensor, good: int) -> None:
    with leaky.watch(model) as watch:
        for _ in range(good):
            model.armed = False
            model(data).sum().backward()
            watch.step()
        model.armed = True
        model(data)


def test_steps_in_between_run_with_nothing_attached() -> None:
    model, data = made("cnn")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    seen = []
    with leaky.watch(model, optimizer, every=3, report_every=1) as watch:
        train(model, optimizer, data, 7, each=lambda step: seen.append(hooks_on(model) > 0))
    assert seen == [False, False, True, False, False, True, False]
    assert watch.history.steps.tolist() == [0, 3, 6]


def test_a_function_says_which_steps_are_observed() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with leaky.watch(model, optimizer, every=lambda step: step in (1, 4), report_every=1) as watch:
        train(model, optimizer, data, 6)
    assert watch.history.steps.tolist() == [1, 4]


def test_an_evaluation_in_between_is_kept_apart() -> None:
    model, data = made("mlp")
    with leaky.watch(model) as watch:
        model(data[:8]).sum().backward()
        model.eval()
        with torch.no_grad():
            model(1000 * data)
        model.train()
        watch.step()
    assert watch.record().samples == 8
    assert watch.record().sites[0].samples == 8


def test_copies_and_pickles_of_a_watched_model_are_not_watched() -> None:
    model, data = made("cnn")
    with leaky.watch(model) as watch:
        model(data[:8])
        average, read = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        for other in (average, read):
            assert torch.equal(other(data[:4]), model(data[:4]).detach())
    assert watch.record().samples == 8 + 4 + 4


def test_longer_batches_and_other_images_are_seen_without_a_new_trace() -> None:
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), nn.ReLU()
    )
    with leaky.watch(model) as watch:
        for shape in ((4, 2, 8, 8), (7, 2, 8, 8), (3, 2, 12, 9)):
            model(torch.randn(*shape)).sum().backward()
            watch.step()
    assert watch.observer.rider.traced == 1
    first, second = watch.record().sites
    assert first.samples == second.samples == 14
    assert first.statistics.elements[0] == 4 * 36 + 7 * 36 + 3 * 70


def test_a_model_that_changes_is_traced_anew() -> None:
    class Grows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = torch.relu(layer(x))
            return x

    model = Grows()
    with leaky.watch(model) as watch:
        for step in range(6):
            if step == 3:
                model.layers.append(nn.Linear(6, 6))
            model(torch.randn(5, 6)).sum().backward()
            watch.step()
    assert watch.observer.rider.traced == 2
    assert [site.samples for site in watch.record().sites] == [30, 30, 10]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "every must be"),
        ({"report_every": 0}, "report_every must be"),
        ({"optimizer": 3}, "optimizer must be"),
        ({"thresholds": {"nope": 1.0}}, "there is no threshold 'nope'"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(leaky.LeakyError, match=message):
        leaky.watch(nn.ReLU(), **arguments)


def test_history_is_plain_arrays_and_a_table() -> None:
    model, data = made("mlp")
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with leaky.watch(model, optimizer, report_every=2) as watch:
        train(model, optimizer, data, 8)
    first = watch.history["1"]
    assert first["rate"].shape == watch.history.steps.shape == (4,)
    assert ((first["rate"] > 0) & (first["rate"] < 1)).all()
    table = pytest.importorskip("pandas") and watch.history.to_pandas()
    assert set(table["site"]) == {"1", "3", "5"}


@pytest.mark.parametrize("name", ["mlp", "cnn", "shared", "recurrent"])
def test_where_torch_hands_out_no_tensors_the_sums_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for plainly in (False, True):
        if plainly:
            monkeypatch.setattr(Reading, "read_for", lambda self, rows, bounds: self)
        model, data = made(name)
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        with leaky.watch(model, optimizer, alarms=()) as watch:
            train(model, optimizer, data, 5)
        found.append(watch.record().sites)
    for here, there in zip(*found, strict=True):
        for figure in (*COUNTED, *SUMMED, "last_fired", "samples"):
            np.testing.assert_array_equal(getattr(here.statistics, figure), getattr(there.statistics, figure), figure)
        np.testing.assert_array_equal(here.statistics.gradient.squares, there.statistics.gradient.squares)


def test_a_branch_that_is_taken_later_is_seen_from_its_second_pass_on_and_both_stay_known() -> None:
    class Forks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act = nn.Linear(6, 6), nn.ReLU()
            self.left, self.right = (nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(2))

        def forward(self, x: torch.Tensor, right: bool) -> torch.Tensor:
            h = self.act(self.first(x))
            return self.right(h) if right else self.left(h)

    model = Forks()
    with leaky.watch(model) as watch:
        for right in (False, False, True, True, False, True, False):
            model(torch.randn(5, 6), right=right).sum().backward()
            watch.step()
    assert watch.observer.rider.traced == 2
    assert {site.name: site.samples for site in watch.record().sites} == {"act": 35, "left.1": 20, "right.1": 10}

"""What goes wrong inside leaky at a step ends the watching and never the training."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import leaky
from leaky.watching.alarms import StandingAlarms
from leaky.watching.observer import Observer
from leaky.watching.optimizers import Updates

STEPS = 12


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = STEPS) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(32, 20, generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()


def fails(*_: Any, **__: Any) -> None:
    raise NotImplementedError("a tensor of a kind that nobody knew")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Updates, "before"), (Updates, "after"), (Observer, "bring"), (StandingAlarms, "look")],
    ids=str,
)
def test_an_error_of_leakys_own_at_a_step_is_told_and_the_training_goes_on(
    owner: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = network()
    train(plain, torch.optim.SGD(plain.parameters(), 0.1))
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    monkeypatch.setattr(owner, name, fails)
    with pytest.warns(RuntimeWarning, match="nobody knew; the training goes on") as told, leaky.watch(model, optimizer):
        train(model, optimizer)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), model.parameters(), strict=True))
    assert len(told) == 1
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_a_users_own_function_raises_at_an_alarm_ends_the_training() -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 50.0)
    with pytest.raises(NotImplementedError, match="nobody knew"), leaky.watch(model, optimizer, on_alarm=fails):
        train(model, optimizer)


@pytest.mark.parametrize(("seed", "rate"), [(3, 50.0), (3, 500.0), (0, 1e20)])
@pytest.mark.filterwarnings("ignore::leaky.watching.alarm.AlarmWarning")
def test_numbers_beyond_all_bounds_make_numpy_say_nothing(seed: int, rate: float) -> None:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model.parameters(), rate)
    with leaky.watch(model, optimizer, report_every=1) as watch:
        train(model, optimizer, 60)
    assert watch.alarms


def test_a_model_without_data_is_a_shape_for_the_parameters_that_somebody_calls_it_with() -> None:
    models = [network() for _ in range(3)]
    values, buffers = torch.func.stack_module_state(models)
    skeleton = copy.deepcopy(models[0]).to("meta")
    optimizer = torch.optim.SGD([each.requires_grad_() for each in values.values()], 0.1)

    def call(values: dict[str, Any], buffers: dict[str, Any], x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.func.functional_call(skeleton, (values, buffers), (x,))
        return found

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "leaky.watch: steps go by and no pass", RuntimeWarning)
        with leaky.watch(skeleton, optimizer):
            for _ in range(STEPS):
                optimizer.zero_grad()
                torch.vmap(call, (0, 0, None))(values, buffers, torch.randn(8, 20)).square().mean().backward()
                optimizer.step()

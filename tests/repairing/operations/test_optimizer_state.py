"""What an optimizer knows of elements that begin anew, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from leaky.repairing.operations.optimizer_state import (
    SECOND_MOMENTS,
    rescale_moments,
    reset_slices,
    unknown_moments,
)

OPTIMIZERS = {
    "Adam": (torch.optim.Adam, {"amsgrad": True}, {"exp_avg": 0, "exp_avg_sq": 1, "max_exp_avg_sq": 1}),
    "SGD": (torch.optim.SGD, {"momentum": 0.9}, {"momentum_buffer": 0}),
    "RMSprop": (torch.optim.RMSprop, {"momentum": 0.9, "centered": True}, {"square_avg": 1, "momentum_buffer": 0}),
    "Adagrad": (torch.optim.Adagrad, {}, {"sum": 1}),
    "Adadelta": (torch.optim.Adadelta, {}, {"square_avg": 1, "acc_delta": 1}),
    "Adamax": (torch.optim.Adamax, {}, {"exp_avg": 0, "exp_inf": 1}),
    "NAdam": (torch.optim.NAdam, {}, {"exp_avg": 0, "exp_avg_sq": 1}),
}


def trained(name: str) -> tuple[torch.optim.Optimizer, nn.Parameter, dict[str, int]]:
    kind, options, state = OPTIMIZERS[name]
    parameter = nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
    optimizer = kind([parameter], lr=0.01, **options)
    for step in range(5):
        parameter.grad = torch.linspace(0.5, 2, 12).reshape(3, 4) * (step + 1)
        optimizer.step()
    return optimizer, parameter, state


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_first_moments_become_0_and_second_ones_the_mean_of_those_that_stay(name: str) -> None:
    optimizer, parameter, state = trained(name)
    before = {key: value.clone() for key, value in optimizer.state[parameter].items() if torch.is_tensor(value)}
    mask = torch.zeros(3, 4, dtype=torch.bool)
    mask[1] = True
    moments = [key for key, value in before.items() if value.shape == (3, 4)]
    assert reset_slices(optimizer, parameter, mask) == len(moments) >= len(state)
    for key in state:
        after = optimizer.state[parameter][key]
        assert torch.equal(after[[0, 2]], before[key][[0, 2]])
        expected = before[key][[0, 2]].mean() if state[key] else torch.zeros(())
        assert torch.equal(after[1], expected.expand(4))
        assert (key in SECOND_MOMENTS) == bool(state[key])
    if "step" in before:
        assert torch.equal(optimizer.state[parameter]["step"], before["step"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_where_all_begins_anew_the_state_is_that_of_a_new_parameter(name: str) -> None:
    optimizer, parameter, state = trained(name)
    reset_slices(optimizer, parameter, torch.ones(3, 4, dtype=torch.bool))
    after = optimizer.state[parameter]
    assert all(not after[key].any() for key in state)
    assert float(after.get("step", 0)) == 0
    assert float(after.get("mu_product", 1)) == 1


def test_a_parameter_that_the_optimizer_does_not_hold_is_passed_over() -> None:
    optimizer, _, _ = trained("Adam")
    assert reset_slices(optimizer, nn.Parameter(torch.ones(2)), torch.ones(2, dtype=torch.bool)) == 0


def after_gradients_over(factor: torch.Tensor, name: str) -> tuple[torch.optim.Optimizer, nn.Parameter]:
    """An optimizer that met the same gradients, each divided by a factor: those of a parameter multiplied by it."""
    kind, options, _ = OPTIMIZERS[name]
    parameter = nn.Parameter(torch.zeros(3, 4, dtype=torch.float64))
    optimizer = kind([parameter], lr=0.01, **options)
    drawn = torch.Generator().manual_seed(0)
    for _ in range(5):
        parameter.grad = 1e6 * torch.randn(3, 4, dtype=torch.float64, generator=drawn) / factor  # far above every ε
        optimizer.step()
    return optimizer, parameter


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"Adadelta"}))
def test_moments_of_a_parameter_multiplied_are_those_of_its_own_gradients(name: str, masked: bool) -> None:
    mask = torch.tensor([True, False, True]).reshape(3, 1).expand(3, 4) if masked else None
    factor = torch.full((3, 4), 8.0) if mask is None else torch.where(mask, 8.0, 1.0)
    optimizer, parameter = after_gradients_over(torch.ones(3, 4), name)
    wanted, other = after_gradients_over(factor, name)
    assert unknown_moments(optimizer, parameter) == ()
    rescale_moments(optimizer, parameter, 8.0, mask)
    kept = {key: value for key, value in wanted.state[other].items() if torch.is_tensor(value)}
    assert kept
    for key, value in kept.items():
        torch.testing.assert_close(optimizer.state[parameter][key], value, rtol=1e-9, atol=0, msg=key)


def test_a_state_whose_scale_is_not_known_is_named() -> None:
    optimizer, parameter = after_gradients_over(torch.ones(3, 4), "Adadelta")
    assert unknown_moments(optimizer, parameter) == ("acc_delta",)
    assert unknown_moments(optimizer, nn.Parameter(torch.ones(2))) == ()
    assert unknown_moments(None, parameter) == ()

"""The pre-activation of a revived unit is that of its healthy neighbours, as float64 statistics of the data say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import leaky
from leaky.repairing.operations.reviving import revive

DEAD = [1, 4]


def network(bias: bool, norm: bool = False, negative_slope: float = 0.0) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(3)
    first = nn.Linear(6, 8, bias=bias)
    layers: list[nn.Module] = [first, *([nn.BatchNorm1d(8)] if norm else []), nn.LeakyReLU(negative_slope)]
    model = nn.Sequential(*layers, nn.Linear(8, 3)).double().eval()
    data = torch.rand(500, 6, dtype=torch.float64) + 0.5  # above 0, so that weights below 0 never fire
    with torch.no_grad():
        first.weight[DEAD] = -first.weight[DEAD].abs()
        if first.bias is not None:
            first.bias[DEAD] = -5.0
        if norm:
            model[1].bias[DEAD] = -50.0
            model.train()(data)
            model.eval()
    return model, data


def pre_activations(model: nn.Module, data: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model[:-2](data).numpy()


def healthy_deviation(z: np.ndarray) -> float:
    return float(np.median(np.delete(z, DEAD, axis=1).std(0)))


def test_with_a_bias_it_is_centred_and_as_wide_as_the_middle_healthy_unit() -> None:
    model, data = network(bias=True)
    before, others = model(data), pre_activations(model, data)
    revive(model, {"1": DEAD}, data, seed=0)
    z = pre_activations(model, data)
    assert z[:, DEAD].mean(0) == pytest.approx([0, 0], abs=1e-6)
    assert z[:, DEAD].std(0) == pytest.approx([healthy_deviation(z)] * 2, rel=1e-3)
    rest = [unit for unit in range(8) if unit not in DEAD]
    assert np.array_equal(z[:, rest], others[:, rest])
    assert torch.allclose(model(data), before, atol=1e-6)


def test_without_a_bias_its_sign_brings_it_above_0() -> None:
    model, data = network(bias=False)
    revive(model, {"1": DEAD}, data, seed=0)
    z = pre_activations(model, data)
    assert (z[:, DEAD].mean(0) > 0).all()
    assert z[:, DEAD].std(0) == pytest.approx([healthy_deviation(z)] * 2, rel=1e-3)


def test_behind_a_norm_the_channel_is_as_a_new_one() -> None:
    model, data = network(bias=True, norm=True)
    revive(model, {"2": DEAD}, data, seed=0)
    z = pre_activations(model, data)
    assert model[1].weight[DEAD].tolist() == [1, 1]
    assert model[1].bias[DEAD].tolist() == [0, 0]
    assert z[:, DEAD].mean(0) == pytest.approx([0, 0], abs=0.1)
    assert z[:, DEAD].std(0) == pytest.approx([1, 1], rel=0.1)


def test_half_of_a_wide_layer_is_revived_at_once() -> None:
    """They are scaled to the middle healthy unit, whatever they were drawn with; every unit fires again."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(400, 60), nn.LeakyReLU(0.5), nn.Linear(60, 2)).double()
    with torch.no_grad():
        model[0].weight[:30] = 0
        model[0].bias[:30] = 0
    data = torch.randn(300, 400, dtype=torch.float64)
    revive(model, {"1": range(30)}, data, seed=0)
    z = model[0](data).detach().numpy()
    assert z[:, :30].std(0) == pytest.approx([np.median(z[:, 30:].std(0))] * 30, rel=1e-3)
    assert leaky.observe(model, data).site("1").firing_rate[:30].min() > 0.3


def test_the_optimizer_forgets_what_it_knew_of_every_weight_into_and_out_of_a_revived_unit() -> None:
    """Two sites in a row share a weight: its rows begin anew for one, its columns for the other."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[0].bias[DEAD] = -50.0
        model[2].bias[3] = -50.0
    optimizer = torch.optim.SGD(model.parameters(), 0.0, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    data = torch.randn(300, 6, generator=torch.Generator().manual_seed(0))
    done = revive(model, {"1": DEAD, "3": [3]}, data, optimizer=optimizer, seed=0)
    assert done.revived == {"1": tuple(DEAD), "3": (3,)}
    known = torch.ones(5, 8)
    known[:, DEAD] = 0
    known[3] = 0
    assert torch.equal(optimizer.state[model[2].weight]["momentum_buffer"], known)
    assert model[2].weight.grad is not None
    assert torch.equal(model[2].weight.grad, known)

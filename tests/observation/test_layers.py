"""What comes into a BatchNorm, against float64 on the same values; whatever lies in memory how."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

import leaky
from leaky.observation.layers import BATCHES, LayerWatch, channel_sums

VALUES = {
    "images": lambda: torch.randn(6, 5, 7, 3) + 2.0,
    "channels last": lambda: (torch.randn(6, 5, 7, 3) + 2.0).to(memory_format=torch.channels_last),
    "features": lambda: torch.randn(9, 5) * 3.0,
    "a part of a larger tensor": lambda: torch.randn(6, 10, 4)[:, ::2],
    "half": lambda: torch.randn(6, 5, 4).bfloat16(),
    "doubles": lambda: torch.randn(6, 5, 4).double(),
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_the_sums_of_a_channel_are_those_of_its_elements(make) -> None:
    torch.manual_seed(0)
    value: Tensor = make()
    x = value.double().movedim(1, 0).flatten(1).numpy()
    expected = np.stack([np.full(5, x.shape[1]), x.sum(axis=1), (x**2).sum(axis=1)])
    np.testing.assert_allclose(channel_sums(value).numpy(), expected, rtol=1e-5, atol=1e-4)


def test_a_value_that_is_not_finite_is_not_left_out() -> None:
    value = torch.ones(4, 3, 2)
    value[1, 2, 0] = torch.nan
    assert torch.isnan(channel_sums(value)[1]).tolist() == [False, False, True]


def test_after_the_first_batches_no_module_is_hooked_any_more() -> None:
    before = len(torch_modules._global_forward_pre_hooks)
    with LayerWatch(nn.Sequential(nn.Linear(2, 2))) as watch:
        for _ in range(BATCHES):
            assert len(torch_modules._global_forward_pre_hooks) == before + 1
            watch.end_pass()
        assert len(torch_modules._global_forward_pre_hooks) == before
    assert len(torch_modules._global_forward_pre_hooks) == before


class Listed(nn.Module):
    """Three layers, held in one way or another."""

    def __init__(self, hold: Any) -> None:
        super().__init__()
        self.layers = hold([nn.Linear(4, 4) for _ in range(3)])
        self.out = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers.values() if isinstance(self.layers, dict) else self.layers:
            x = torch.relu(layer(x))
        return self.out(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("hold", "names"),
    [
        (list, "layers[0], layers[1], layers[2]"),
        (lambda layers: dict(zip("abc", layers, strict=True)), "layers['a'], layers['b'], layers['c']"),
        (lambda layers: [layer.requires_grad_(False) for layer in layers], None),
        (nn.ModuleList, None),
    ],
)
def test_layers_whose_weights_are_no_parameters_of_the_model_are_said(hold: Any, names: str | None) -> None:
    model = Listed(hold)
    record = leaky.observe(model, torch.randn(20, 4))
    found = [f for f in leaky.diagnose(record).findings if f.rule == "unregistered"]
    trained = {id(p) for p in model.parameters()}
    layers = model.layers.values() if isinstance(model.layers, dict) else model.layers
    lost = any(p.requires_grad and id(p) not in trained for layer in layers for p in layer.parameters())
    assert len(found) == lost == (names is not None)
    assert not lost or f"({names})" in found[0].message

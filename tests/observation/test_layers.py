"""What comes into a BatchNorm, against float64 on the same values; whatever lies in memory how."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

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

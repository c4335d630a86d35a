"""What steps and passes a gradient that is not its own (straight through) is listed, however it is spelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 — the field's name for it
from torch import Tensor, nn

import leaky


class Binary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # type: ignore[override]
        return (z > 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class Ternary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # type: ignore[override]
        return torch.round(torch.clamp(z, -1, 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


def soft_step(z: Tensor) -> Tensor:
    soft = torch.sigmoid(z)
    return (soft > 0.5).float() + soft - soft.detach()


def gated_by_clip(z: Tensor) -> Tensor:
    soft = z.clamp(-1, 1)
    return soft + (torch.where(z >= 0, 1.0, -1.0) - soft).detach()


STRAIGHT_THROUGH: dict[str, Callable[[Tensor], Tensor]] = {
    "round": lambda z: z + (torch.round(z) - z).detach(),
    "floor": lambda z: z + (torch.floor(z) - z).detach(),
    "sign": lambda z: (torch.sign(z) - z).detach() + z,
    "a step and its sigmoid": soft_step,
    "a sign by where past a clip": gated_by_clip,
    "a function of autograd's": Binary.apply,
    "another function of autograd's": Ternary.apply,
}
STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "a mask of numbers": lambda z: (z > 0).float(),
    "sign": torch.sign,
    "round": torch.round,
    "ceil": torch.ceil,
    "four levels": lambda z: z + (torch.round(z.clamp(0, 1) * 3) / 3 - z).detach(),
    "truncated": lambda z: z.trunc(),
}


class Net(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 5), nn.Linear(5, 3)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.second(F.relu(self.first(x)))))


@pytest.mark.parametrize("name", STRAIGHT_THROUGH)
def test_what_steps_with_another_gradient_is_listed(name: str) -> None:
    torch.manual_seed(0)
    record = leaky.observe(Net(STRAIGHT_THROUGH[name]), torch.randn(50, 6), batch_size=20)
    assert [site.name.split("#")[0] for site in record.sites] == ["relu"]
    assert [("step" in item.name, "it steps" in item.reason) for item in record.not_examined] == [(True, True)]


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_is_left_as_it_is_is_a_site_or_listed(name: str) -> None:
    torch.manual_seed(0)
    record = leaky.observe(Net(STEPS[name]), torch.randn(50, 6), batch_size=20)
    assert len(record.sites) + len(record.not_examined) >= 2  # the ReLU before it is one


def test_an_activation_past_a_detach_that_does_not_step_is_no_step() -> None:
    record = leaky.observe(Net(lambda z: z + (torch.tanh(z) - z).detach()), torch.randn(50, 6))
    assert not any("it steps" in item.reason for item in record.not_examined)
    assert len(record.sites) + len(record.not_examined) == 2

"""Fans and followers of the layers of a pass, against counts made by brute force on ones."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import leaky
from leaky.observation.following import follow
from leaky.structure.layers import layers_of

CONVOLUTIONS = {
    "plain": nn.Conv2d(4, 6, 3, bias=False),
    "strided": nn.Conv2d(4, 6, 4, stride=2, bias=False),
    "grouped": nn.Conv2d(4, 6, 3, groups=2, bias=False),
    "grouped and strided": nn.Conv1d(4, 8, 6, stride=3, groups=4, bias=False),
    "transposed": nn.ConvTranspose2d(4, 6, 3, bias=False),
    "transposed and strided": nn.ConvTranspose2d(4, 6, 4, stride=2, bias=False),
    "transposed, grouped, strided": nn.ConvTranspose1d(4, 8, 6, stride=3, groups=2, bias=False),
    "a stride for each axis": nn.ConvTranspose2d(4, 6, (4, 3), stride=(2, 1), bias=False),
}


def counted(layer: nn.Module, size: int = 36) -> tuple[float, float]:
    """Products into an output element and out of an input element, on average, away from the border."""
    rank = layer.weight.ndim - 2  # type: ignore[union-attr, operator]
    with torch.no_grad():
        layer.weight.fill_(1.0)  # type: ignore[union-attr, operator]
    x = torch.ones(1, 4, *(size,) * rank, requires_grad=True)
    output = layer(x)
    gradient = torch.autograd.grad(output.sum(), x)[0]

    def middle(values: Tensor) -> float:
        inner = values.detach()
        for dim in range(2, values.ndim):
            inner = inner.narrow(dim, values.shape[dim] // 2 - 3, 6)
        return float(inner.double().mean())

    return middle(output), middle(gradient)


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_fans_of_a_convolution_are_what_ones_count(kind: str) -> None:
    model = nn.Sequential(CONVOLUTIONS[kind])
    rank = model[0].weight.ndim - 2
    (layer,) = layers_of(model, follow(model, torch.ones(2, 4, *(36,) * rank)))
    fan_in, fan_out = counted(model[0])
    assert (layer.fan_in, layer.fan_out) == (pytest.approx(fan_in), pytest.approx(fan_out))


class Stack(nn.Module):
    """Three maps of 5 inputs to 7 units."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 5, 7))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(torch.bmm(x.expand(3, *x.shape), self.weight))


def test_fans_of_a_stack_of_matrices_are_those_of_one() -> None:
    (layer,) = layers_of(model := Stack(), follow(model, torch.randn(4, 5)))
    assert (layer.fan_in, layer.fan_out) == (5, 7)
    assert layer.follows is not None
    assert layer.follows.name == "ReLU"


def test_what_initialize_set_is_what_check_reads_off() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.ConvTranspose2d(16, 32, 4, stride=2), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU())
    start = leaky.initialize(model, torch.randn(2, 16, 6, 6), seed=0)
    record = leaky.observe(model, torch.randn(8, 16, 6, 6))
    for layer, site in zip(start.layers, record.sites, strict=True):
        (producer,) = site.producers
        assert producer.fan_in == layer.fan
        assert producer.weight_rms * producer.fan_in**0.5 == pytest.approx(2**0.5, rel=0.05)
